//! The pointers of a definition, compiled into one automaton, so that a single pass over a body finds
//! all places.
//!
//! A place is a JSON pointer (RFC 6901). A *slot* captures one value. A *redaction* captures any
//! number of values, because `*` in it stands for every element of an array and every member of an
//! object. A node of the automaton stands for all places that agree with the steps so far, by name or
//! by `*`; so a pass is at one node at a time, and without `*` the nodes form a trie. The limits
//! below keep the scanner's state in fixed arrays, whatever the body.

use std::collections::HashMap;

/// Most slots plus redactions of one definition.
pub(super) const POINTERS_MAX: usize = 64;
/// The step that matches any name and any index.
const ANY: &str = "*";
/// Most steps in one pointer.
pub(super) const STEPS_MAX: usize = 16;

/// Number of a captured value.
pub(super) type Slot = u8;
/// Number of a node.
pub(super) type NodeId = u16;
/// The first node, which is the whole body.
pub(super) const ROOT: NodeId = 0;
/// Most nodes: places with many `*` can agree in very many ways.
const NODES_MAX: usize = 4096;

/// The pointers of one definition.
#[derive(Clone, Debug)]
pub(super) struct Pointers {
    nodes: Vec<Node>,
    places: Vec<PointerPlace>,
    slots: Vec<String>,
    redactions: Vec<String>,
}

/// A place, and whether it is captured or redacted.
#[derive(Clone, Debug)]
struct PointerPlace {
    steps: Vec<String>,
    wanted: Wanted,
}

/// What to do with a value: capture it, redact it (one bit per redaction), or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub slot: Option<Slot>,
    pub redactions: u64,
}

/// A state of the automaton.
#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<Child>,
    /// One bit per shape of the children's names, which excludes most keys at once.
    shapes: u64,
    /// The next node for elements and members that match no name.
    any: Option<NodeId>,
    wanted: Wanted,
}

/// A named step to the next node.
#[derive(Clone, Debug)]
struct Child {
    name: String,
    node: NodeId,
    /// One bit per name of the parent node.
    own: u64,
    /// One bit per name of the parent node, shared by names that differ in case only.
    fold: u64,
}

/// What a key of an object on a path means.
pub(super) struct Member {
    /// The next node: that of exactly this name, or else that of `*`.
    pub node: Option<NodeId>,
    /// The bit of this name in exactly this spelling, 0 if there is none.
    pub own: u64,
    /// The bit of this name in any case. 0 if only a `*` matches: a repeated member is then redacted
    /// twice.
    pub fold: u64,
}

impl Pointers {
    /// No pointers.
    pub fn new() -> Self {
        Self { nodes: vec![Node::default()], places: Vec::new(), slots: Vec::new(), redactions: Vec::new() }
    }

    /// The slot that captures the value at a pointer. The same pointer gets the same slot.
    pub fn slot(&mut self, pointer: &str) -> Result<Slot, String> {
        let steps = steps(pointer)?;
        if steps.iter().any(|step| step == ANY) {
            return Err("`*` is for redactions only, expected the name of a member".into());
        }
        if let Some(known) = self.slots.iter().position(|known| known == pointer) {
            return Ok(known as Slot);
        }
        let number = vacant(&self.slots)?;
        self.add(steps, Wanted { slot: Some(number), redactions: 0 })?;
        self.slots.push(pointer.into());
        Ok(number)
    }

    /// The number of the redaction at a pointer. The same pointer gets the same number.
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

    /// Adds a place, unless the automaton would have too many nodes.
    fn add(&mut self, steps: Vec<String>, wanted: Wanted) -> Result<(), String> {
        self.places.push(PointerPlace { steps, wanted });
        match automaton(&self.places) {
            Some(nodes) => self.nodes = nodes,
            None => {
                self.places.pop();
                return Err("too many pointers with `*` that match the same values".into());
            }
        }
        Ok(())
    }

    /// What a key means in the object at `node`; `None` if no place depends on it, in any case.
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

    /// The node of the element with this index, in the array at `node`.
    pub fn element(&self, node: NodeId, index: usize) -> Option<NodeId> {
        let node = &self.nodes[usize::from(node)];
        let named = node.children.iter().find(|child| child.name.parse() == Ok(index));
        named.map(|child| child.node).or(node.any)
    }

    /// What to do with the value at `node`.
    pub fn wanted(&self, node: NodeId) -> Wanted {
        self.nodes[usize::from(node)].wanted
    }

    /// The pointer of a slot, as written.
    pub fn text(&self, slot: Slot) -> &str {
        &self.slots[usize::from(slot)]
    }

    /// The pointers of the redactions, as written.
    pub fn redactions(&self) -> &[String] {
        &self.redactions
    }
}

impl Node {
    /// The child whose name is the same, apart from the case of its letters.
    fn alike(&self, name: &[u8]) -> Option<&Child> {
        self.children.iter().find(|child| child.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// What a key means that is no child's name, but might differ from one in case only.
    fn unnamed(&self, fold: Option<u64>) -> Option<Member> {
        (fold.is_some() || self.any.is_some()).then(|| Member {
            node: self.any,
            own: 0,
            fold: fold.unwrap_or(0),
        })
    }

    /// Adds a named child.
    fn name(&mut self, name: &str, node: NodeId) {
        let twin = self.alike(name.as_bytes());
        let own = 1 << self.children.len();
        let fold = twin.map_or(own, |twin| twin.fold);
        self.shapes |= shape(name.as_bytes());
        self.children.push(Child { name: name.into(), node, own, fold });
    }
}

/// The nodes for these places; `None` if there are too many.
fn automaton(places: &[PointerPlace]) -> Option<Vec<Node>> {
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

/// An automaton under construction. Each node is a number of steps and the places that agree with
/// them.
struct Automaton<'a> {
    places: &'a [PointerPlace],
    numbers: HashMap<(usize, Vec<usize>), NodeId>,
    agreeing: Vec<(usize, Vec<usize>)>,
}

impl Automaton<'_> {
    /// The number of a node, which is assigned when it is first needed.
    fn node(&mut self, depth: usize, agreeing: Vec<usize>) -> NodeId {
        let next = self.agreeing.len() as NodeId;
        let state = (depth, agreeing);
        *self.numbers.entry(state.clone()).or_insert_with(|| {
            self.agreeing.push(state);
            next
        })
    }

    /// The node with its purpose and its next nodes.
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

/// Whether a redaction applies to the value at these steps or to one around it.
pub(super) fn covers(redaction: &[String], steps: &[String]) -> bool {
    redaction.len() <= steps.len()
        && redaction.iter().zip(steps).all(|(redacted, step)| redacted == ANY || redacted == step)
}

/// The number of the next pointer in a list. Each list has at most half of [`POINTERS_MAX`], so that
/// both together need fewer than 64 names below one node.
fn vacant(taken: &[String]) -> Result<u8, String> {
    if taken.len() >= POINTERS_MAX / 2 {
        return Err(format!("too many different pointers, expected at most {}", POINTERS_MAX / 2));
    }
    Ok(taken.len() as u8)
}

/// The steps of a pointer, unescaped.
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

/// A key with ASCII letters for the two other characters that Unicode folds to them, `None` if it has
/// neither: some consumers, such as those in Go, match `uſer` with `user`.
fn without_lookalikes(key: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(key).ok().filter(|text| text.contains(['\u{17f}', '\u{212a}']))?;
    Some(text.replace('\u{17f}', "s").replace('\u{212a}', "k"))
}

/// A bit that depends on a name's length and first letter, whatever its case.
fn shape(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |byte| usize::from(byte | 0x20));
    1 << ((name.len() * 7 + first) % 64)
}
