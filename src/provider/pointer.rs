//! The places in a body that a definition names, compiled into one automaton, so that a single pass
//! over a body finds them all.
//!
//! A place is a JSON pointer (RFC 6901). A *slot* captures one value; a *redaction* any number of
//! them, because there `*` stands for every element of an array and every member of an object. Each
//! node stands for all places that agree with the steps that led to it, by name or by `*`; so a pass
//! is at one node at a time, and where no place has a `*` the nodes are a trie. The bounds below keep
//! the scanner's state in fixed arrays, whatever a body holds.

use std::collections::HashMap;

/// The number of slots, and of redactions, that one definition may have.
pub(super) const POINTERS_MAX: usize = 64;
/// The step that any name and any index agrees with.
const ANY: &str = "*";
/// The number of steps in one pointer.
pub(super) const STEPS_MAX: usize = 16;

/// The number of a captured value.
pub(super) type Slot = u8;
/// The number of a node.
pub(super) type NodeId = u16;
/// The first node: the whole body.
pub(super) const ROOT: NodeId = 0;
/// The number of nodes. Places with many `*` can agree in very many ways.
const NODES_MAX: usize = 4096;

/// All places of one definition.
#[derive(Clone, Debug)]
pub(super) struct Pointers {
    nodes: Vec<Node>,
    places: Vec<Place>,
    slots: Vec<String>,
    redactions: Vec<String>,
}

/// A place, and what is wanted of it.
#[derive(Clone, Debug)]
struct Place {
    steps: Vec<String>,
    wanted: Wanted,
}

/// What is wanted of a value: to be captured, to be redacted (one bit for each redaction), or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub slot: Option<Slot>,
    pub redactions: u64,
}

/// Where a pass can be.
#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<Child>,
    /// One bit for each shape of the children's names: most keys are told apart by it at once.
    shapes: u64,
    /// What every element and every member leads to that no name does.
    any: Option<NodeId>,
    wanted: Wanted,
}

/// A named step down.
#[derive(Clone, Debug)]
struct Child {
    name: String,
    node: NodeId,
    /// One bit for each name of the node.
    own: u64,
    /// The same, but one bit for names that differ in case only.
    fold: u64,
}

/// What a key of an object on the path of a place is.
pub(super) struct Member {
    /// Where it leads: by a name that it is spelled exactly like, else by a `*`.
    pub node: Option<NodeId>,
    /// The bit of the name that it is spelled like, if there is one.
    pub own: u64,
    /// The bit of its name among its siblings, letters of either case taken for the same; 0 if it is
    /// known by a `*` only, because what stands twice there is redacted twice.
    pub fold: u64,
}

impl Pointers {
    /// No places yet.
    pub fn new() -> Self {
        Self { nodes: vec![Node::default()], places: Vec::new(), slots: Vec::new(), redactions: Vec::new() }
    }

    /// The slot that captures what a pointer leads to; the same one for the same pointer.
    pub fn slot(&mut self, pointer: &str) -> Result<Slot, String> {
        let steps = steps(pointer)?;
        if steps.iter().any(|step| step == ANY) {
            return Err("`*` stands for any element or member in redactions only".into());
        }
        if let Some(known) = self.slots.iter().position(|known| known == pointer) {
            return Ok(known as Slot);
        }
        let number = vacant(&self.slots)?;
        self.add(steps, Wanted { slot: Some(number), redactions: 0 })?;
        self.slots.push(pointer.into());
        Ok(number)
    }

    /// The number of the redaction of what a pointer leads to; the same one for the same pointer.
    pub fn redaction(&mut self, pointer: &str) -> Result<u8, String> {
        let steps = steps(pointer)?;
        if let Some(known) = self.redactions.iter().position(|known| known == pointer) {
            return Ok(known as u8);
        }
        let number = vacant(&self.redactions)?;
        self.add(steps, Wanted { slot: None, redactions: 1 << number })?;
        self.redactions.push(pointer.into());
        Ok(number)
    }

    /// Adds a place, unless it can be told from the others in too many ways.
    fn add(&mut self, steps: Vec<String>, wanted: Wanted) -> Result<(), String> {
        self.places.push(Place { steps, wanted });
        match automaton(&self.places) {
            Some(nodes) => self.nodes = nodes,
            None => {
                self.places.pop();
                return Err("too many pointers with `*` that can lead to the same value".into());
            }
        }
        Ok(())
    }

    /// What a key means in the object at `node`; `None` if no place goes by it in any case.
    pub fn member(&self, node: NodeId, key: &[u8]) -> Option<Member> {
        let node = &self.nodes[usize::from(node)];
        if !key.is_ascii()
            && let Some(plain) = without_lookalikes(key)
        {
            let fold = node.alike(plain.as_bytes()).map(|child| child.fold);
            return node.unnamed(fold);
        }
        if node.shapes & shape(key) == 0 {
            return node.unnamed(None);
        }
        match node.children.iter().find(|child| child.name.as_bytes() == key) {
            Some(child) => Some(Member { node: Some(child.node), own: child.own, fold: child.fold }),
            None => node.unnamed(node.alike(key).map(|child| child.fold)),
        }
    }

    /// Where the element with this index leads, in the array at `node`.
    pub fn element(&self, node: NodeId, index: usize) -> Option<NodeId> {
        let node = &self.nodes[usize::from(node)];
        let named = node.children.iter().find(|child| child.name.parse() == Ok(index));
        named.map(|child| child.node).or(node.any)
    }

    /// What is wanted of the value at `node`.
    pub fn wanted(&self, node: NodeId) -> Wanted {
        self.nodes[usize::from(node)].wanted
    }

    /// A slot's pointer, as written.
    pub fn text(&self, slot: Slot) -> &str {
        &self.slots[usize::from(slot)]
    }

    /// The redactions' pointers, as written.
    pub fn redactions(&self) -> &[String] {
        &self.redactions
    }
}

impl Node {
    /// The child whose name is spelled like this but for the case of its letters.
    fn alike(&self, name: &[u8]) -> Option<&Child> {
        self.children.iter().find(|child| child.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// What a key means that is no child's name, but may differ from one in case only.
    fn unnamed(&self, fold: Option<u64>) -> Option<Member> {
        (fold.is_some() || self.any.is_some()).then(|| Member {
            node: self.any,
            own: 0,
            fold: fold.unwrap_or(0),
        })
    }

    /// Adds a child.
    fn name(&mut self, name: &str, node: NodeId) {
        let twin = self.alike(name.as_bytes());
        let own = 1 << self.children.len();
        let fold = twin.map_or(own, |twin| twin.fold);
        self.shapes |= shape(name.as_bytes());
        self.children.push(Child { name: name.into(), node, own, fold });
    }
}

/// The nodes for these places; `None` if there are too many.
fn automaton(places: &[Place]) -> Option<Vec<Node>> {
    let mut built = Automaton { places, numbers: HashMap::new(), agreeing: Vec::new() };
    built.node(0, (0..places.len()).collect());
    let mut nodes = Vec::new();
    while let Some((depth, agreeing)) = built.agreeing.get(nodes.len()).cloned() {
        nodes.push(built.describe(depth, &agreeing));
        if built.agreeing.len() > NODES_MAX {
            return None;
        }
    }
    Some(nodes)
}

/// Nodes in the making: each is a number of steps and the places that agree with them.
struct Automaton<'a> {
    places: &'a [Place],
    numbers: HashMap<(usize, Vec<usize>), NodeId>,
    agreeing: Vec<(usize, Vec<usize>)>,
}

impl Automaton<'_> {
    /// The number of a node, which is given when it is first asked for.
    fn node(&mut self, depth: usize, agreeing: Vec<usize>) -> NodeId {
        let next = self.agreeing.len() as NodeId;
        let state = (depth, agreeing);
        *self.numbers.entry(state.clone()).or_insert_with(|| {
            self.agreeing.push(state);
            next
        })
    }

    /// What a node wants, and where it leads.
    fn describe(&mut self, depth: usize, agreeing: &[usize]) -> Node {
        let mut node = Node::default();
        let places = self.places;
        let step = |place: &usize| places[*place].steps.get(depth).map(String::as_str);
        for place in agreeing.iter().filter(|place| step(place).is_none()) {
            let Wanted { slot, redactions } = places[*place].wanted;
            node.wanted.slot = node.wanted.slot.or(slot);
            node.wanted.redactions |= redactions;
        }
        for name in agreeing.iter().filter_map(step).filter(|name| *name != ANY) {
            if node.children.iter().all(|child| child.name != name) {
                let follows = |place: &&usize| [Some(name), Some(ANY)].contains(&step(place));
                let next = self.node(depth + 1, agreeing.iter().filter(follows).copied().collect());
                node.name(name, next);
            }
        }
        let any: Vec<usize> = agreeing.iter().filter(|place| step(place) == Some(ANY)).copied().collect();
        node.any = (!any.is_empty()).then(|| self.node(depth + 1, any));
        node
    }
}

/// Whether a redaction's steps lead to a value, or to one that it lies within.
pub(super) fn covers(redaction: &[String], steps: &[String]) -> bool {
    redaction.len() <= steps.len()
        && redaction.iter().zip(steps).all(|(redacted, step)| redacted == ANY || redacted == step)
}

/// The number of the next pointer on a list. Both lists together have fewer than 64 names below
/// one node only if each has at most half, so that is the bound.
fn vacant(taken: &[String]) -> Result<u8, String> {
    if taken.len() >= POINTERS_MAX / 2 {
        return Err(format!("too many different pointers, expected at most {}", POINTERS_MAX / 2));
    }
    Ok(taken.len() as u8)
}

/// A pointer's steps, unescaped.
pub(super) fn steps(pointer: &str) -> Result<Vec<String>, String> {
    let rest = pointer
        .strip_prefix('/')
        .ok_or_else(|| format!("`{pointer}` is not a JSON pointer, expected one such as `/user/id`"))?;
    let steps: Vec<String> = rest.split('/').map(unescape).collect::<Option<_>>().ok_or_else(|| {
        format!("`{pointer}` has a stray `~`, expected `~0` for a tilde and `~1` for a slash")
    })?;
    if steps.len() > STEPS_MAX {
        return Err(format!("`{pointer}` has {} steps, expected at most {STEPS_MAX}", steps.len()));
    }
    Ok(steps)
}

fn unescape(step: &str) -> Option<String> {
    let mut text = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

/// A key with ASCII letters for the two others that Unicode takes for the same in either case, if
/// it has any: consumers in Go, for one, match `uſer` with `user`.
fn without_lookalikes(key: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(key).ok().filter(|text| text.contains(['\u{17f}', '\u{212a}']))?;
    Some(text.replace('\u{17f}', "s").replace('\u{212a}', "k"))
}

/// A bit that depends on a name's length and first letter, but not on its case.
fn shape(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |byte| usize::from(byte | 0x20));
    1 << ((name.len() * 7 + first) % 64)
}
