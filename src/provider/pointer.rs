//! The places in a body that a definition names, compiled into one trie, so that a single pass
//! over a body finds them all.
//!
//! A place is a JSON pointer (RFC 6901). A *slot* captures one value; a *redaction* any number of
//! them, because there `*` stands for every element of an array. The bounds below keep the
//! scanner's state in fixed arrays, whatever a body holds.

/// The number of slots, and of redactions, that one definition may have.
pub(super) const POINTERS_MAX: usize = 64;
/// The number of steps in one pointer.
pub(super) const STEPS_MAX: usize = 16;

/// The number of a captured value.
pub(super) type Slot = u8;
/// A place in the trie.
pub(super) type NodeId = u16;
/// The trie's root: the whole body.
pub(super) const ROOT: NodeId = 0;

/// All places of one definition.
#[derive(Clone, Debug)]
pub(super) struct Pointers {
    nodes: Vec<Node>,
    slots: Vec<String>,
    redactions: Vec<String>,
}

/// One step of the trie.
#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<Child>,
    /// One bit for each shape of the children's names: most keys are told apart by it at once.
    shapes: u64,
    /// What every element of an array leads to.
    elements: Option<NodeId>,
    slot: Option<Slot>,
    redaction: Option<u8>,
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
    /// Where it leads, if it is spelled exactly like a name in the trie.
    pub node: Option<NodeId>,
    /// The bit of the name that it is spelled like, if there is one.
    pub own: u64,
    /// The bit of its name among its siblings, letters of either case taken for the same.
    pub fold: u64,
}

impl Pointers {
    /// No places yet.
    pub fn new() -> Self {
        Self { nodes: vec![Node::default()], slots: Vec::new(), redactions: Vec::new() }
    }

    /// The slot that captures what a pointer leads to; the same one for the same pointer.
    pub fn slot(&mut self, pointer: &str) -> Result<Slot, String> {
        let steps = steps(pointer)?;
        if steps.iter().any(|step| step == "*") {
            return Err("`*` stands for array elements in redactions only".into());
        }
        if let Some(known) = self.slots.iter().position(|known| known == pointer) {
            return Ok(known as Slot);
        }
        let number = vacant(&self.slots)?;
        let node = self.grow(steps);
        self.slots.push(pointer.into());
        self.nodes[usize::from(node)].slot = Some(number);
        Ok(number)
    }

    /// The number of the redaction of what a pointer leads to; the same one for the same pointer.
    pub fn redaction(&mut self, pointer: &str) -> Result<u8, String> {
        let steps = steps(pointer)?;
        if let Some(known) = self.redactions.iter().position(|known| known == pointer) {
            return Ok(known as u8);
        }
        let number = vacant(&self.redactions)?;
        let node = self.grow(steps);
        self.redactions.push(pointer.into());
        self.nodes[usize::from(node)].redaction = Some(number);
        Ok(number)
    }

    fn grow(&mut self, steps: Vec<String>) -> NodeId {
        steps.into_iter().fold(ROOT, |node, step| self.descend(node, step))
    }

    fn descend(&mut self, node: NodeId, step: String) -> NodeId {
        let new = self.nodes.len() as NodeId;
        let parent = &mut self.nodes[usize::from(node)];
        if step == "*" {
            let elements = *parent.elements.get_or_insert(new);
            if elements == new {
                self.nodes.push(Node::default());
            }
            return elements;
        }
        if let Some(child) = parent.children.iter().find(|child| child.name == step) {
            return child.node;
        }
        let twin = parent.children.iter().find(|child| child.name.eq_ignore_ascii_case(&step));
        let own = 1 << parent.children.len();
        let fold = twin.map_or(own, |twin| twin.fold);
        parent.shapes |= shape(step.as_bytes());
        parent.children.push(Child { name: step, node: new, own, fold });
        self.nodes.push(Node::default());
        new
    }

    /// What a key means in the object at `node`; `None` if no place goes by it in any case.
    pub fn member(&self, node: NodeId, key: &[u8]) -> Option<Member> {
        if !key.is_ascii()
            && let Some(plain) = without_lookalikes(key)
        {
            return self.member(node, plain.as_bytes()).map(|member| Member { node: None, own: 0, ..member });
        }
        let node = &self.nodes[usize::from(node)];
        if node.shapes & shape(key) == 0 {
            return None;
        }
        let alike = |child: &&Child| child.name.as_bytes().eq_ignore_ascii_case(key);
        let exact = node.children.iter().find(|child| child.name.as_bytes() == key);
        let fold = exact.or_else(|| node.children.iter().find(alike))?.fold;
        Some(Member { node: exact.map(|child| child.node), own: exact.map_or(0, |child| child.own), fold })
    }

    /// Where the element with this index leads, in the array at `node`.
    pub fn element(&self, node: NodeId, index: usize) -> Option<NodeId> {
        let node = &self.nodes[usize::from(node)];
        let named = || node.children.iter().find(|child| child.name.parse() == Ok(index));
        node.elements.or_else(|| named().map(|child| child.node))
    }

    /// What is wanted of the value at `node`: its slot and its redaction.
    pub fn wanted(&self, node: NodeId) -> (Option<Slot>, Option<u8>) {
        let node = &self.nodes[usize::from(node)];
        (node.slot, node.redaction)
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
