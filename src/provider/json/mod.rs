//! One strict pass over a body: it checks that every consumer will read the JSON alike, and finds the
//! values that the definition names.
//!
//! The grammar is exactly RFC 8259. Beyond it the pass refuses JSON that parsers disagree about: a
//! repeated key at top level, a name on a path that occurs twice or in two cases, and deep nesting.
//! Values are byte spans, so published bytes are never rendered anew. The pass is iterative, and its
//! memory does not depend on the nesting.

mod cursor;
mod keys;

use std::borrow::Cow;
use std::ops::Range;

pub(super) use self::cursor::{Cursor, unescape};
use self::keys::SeenKeys;
use super::pointer::{NodeId, POINTERS_MAX, Pointers, ROOT, STEPS_MAX, Slot, Wanted};

/// Deepest nesting of objects and arrays.
const DEPTH_MAX: u32 = 64;
/// Most top-level keys, and most values to redact. A small body can decompress to millions of either,
/// each of which takes more memory than its bytes.
const COUNT_MAX: usize = 10_000;

/// Why a body cannot be used, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flaw} at byte {at}")]
pub struct Defect {
    /// The kind of defect.
    pub flaw: Flaw,
    /// The byte of the body at which it was found, counted from 0.
    pub at: usize,
}

/// The kinds of defects of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The body has no byte other than white space.
    #[error("empty body, expected a JSON object")]
    Empty,
    /// The body begins with a byte order mark, which RFC 8259 forbids and some parsers refuse.
    #[error("byte order mark, expected plain UTF-8")]
    Bom,
    /// The body is not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// The body is not JSON.
    #[error("invalid JSON")]
    Json,
    /// The body is JSON, but not an object.
    #[error("JSON that is not an object, expected a JSON object")]
    NotObject,
    /// A key occurs twice, at top level or on a path.
    #[error("duplicate key")]
    DuplicateKey,
    /// A key on a path differs from another one in case only.
    #[error("key that differs from another one in case only")]
    CaseCollision,
    /// Objects or arrays are nested too deeply.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// The body has too many top-level keys or values to redact.
    #[error("more than {COUNT_MAX} keys at top level, or values to redact")]
    TooMany,
}

impl Flaw {
    /// The defect as a reason from a fixed list, for metrics and grouping.
    pub fn word(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Bom => "bom",
            Self::Utf8 => "utf8",
            Self::Json => "json",
            Self::NotObject => "not_object",
            Self::DuplicateKey => "duplicate_key",
            Self::CaseCollision => "case_collision",
            Self::Depth => "depth",
            Self::TooMany => "too_many",
        }
    }
}

/// The bytes of a value in the body.
pub(super) type Span = Range<usize>;

/// The values that were found.
pub(super) struct Captures {
    slots: [(usize, usize); POINTERS_MAX / 2],
    /// Values to redact, each with one bit per redaction, in the order of their ends.
    pub redactions: Vec<(u64, Span)>,
}

impl Captures {
    /// The value of a slot, `None` if the body has none.
    pub fn span(&self, slot: Slot) -> Option<Span> {
        // No value ends at offset 0.
        let (start, end) = self.slots[usize::from(slot)];
        (end > 0).then_some(start..end)
    }
}

/// Checks a body and finds the values that the pointers name.
pub(super) fn scan(body: &[u8], pointers: &Pointers) -> Result<Captures, Defect> {
    let fail = |flaw, at| Err(Defect { flaw, at });
    if body.starts_with(b"\xEF\xBB\xBF") {
        return fail(Flaw::Bom, 0);
    }
    if let Err(error) = std::str::from_utf8(body) {
        return fail(Flaw::Utf8, error.valid_up_to());
    }
    let mut scanner = Scanner {
        cursor: Cursor { bytes: body, at: 0 },
        pointers,
        depth: 0,
        objects: 0,
        path: [Frame::default(); STEPS_MAX + 1],
        path_len: 0,
        keys: SeenKeys::new(),
        found: Captures { slots: [(0, 0); POINTERS_MAX / 2], redactions: Vec::new() },
    };
    scanner.cursor.skip_space();
    let first = scanner.cursor.peek();
    if first.is_none() {
        return fail(Flaw::Empty, 0);
    }
    scanner.document()?;
    scanner.cursor.skip_space();
    if scanner.cursor.peek().is_some() {
        return fail(Flaw::Json, scanner.cursor.at);
    }
    if first != Some(b'{') {
        return fail(Flaw::NotObject, 0);
    }
    Ok(scanner.found)
}

/// An open object or array on a path. Such containers are always the outermost open ones: a container
/// off the path contains no value on it.
#[derive(Clone, Copy, Default)]
struct Frame {
    node: NodeId,
    start: usize,
    /// The names seen in an object, one bit each, in any case.
    names: u64,
    /// Those of `names` that were spelled exactly like a step of a place.
    exact: u64,
    /// Number of elements seen in an array.
    elements: usize,
}

struct Scanner<'a> {
    cursor: Cursor<'a>,
    pointers: &'a Pointers,
    depth: u32,
    /// The open containers, the innermost in the lowest bit: 1 for an object, 0 for an array.
    objects: u64,
    path: [Frame; STEPS_MAX + 1],
    path_len: usize,
    /// The keys seen at top level.
    keys: SeenKeys<'a>,
    found: Captures,
}

impl<'a> Scanner<'a> {
    /// Passes one value with everything in it.
    fn document(&mut self) -> Result<(), Defect> {
        let mut node = Some(ROOT);
        loop {
            self.cursor.skip_space();
            let start = self.cursor.at;
            match self.cursor.peek() {
                Some(b'{') => {
                    self.open(node, 1)?;
                    if self.cursor.peek() != Some(b'}') {
                        node = self.key()?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open(node, 0)?;
                    if self.cursor.peek() != Some(b']') {
                        node = self.element();
                        continue;
                    }
                }
                _ => {
                    self.cursor.scalar()?;
                    self.capture(node, start)?;
                }
            }
            match self.close_and_advance()? {
                Some(next) => node = next,
                None => return Ok(()),
            }
        }
    }

    /// After a value: closes the containers that end here and goes to the next value, if there is
    /// one.
    #[inline]
    fn close_and_advance(&mut self) -> Result<Option<Option<NodeId>>, Defect> {
        while self.depth > 0 {
            self.cursor.skip_space();
            match (self.cursor.peek(), self.objects & 1) {
                (Some(b','), 1) => {
                    self.cursor.at += 1;
                    self.cursor.skip_space();
                    return self.key().map(Some);
                }
                (Some(b','), _) => {
                    self.cursor.at += 1;
                    return Ok(Some(self.element()));
                }
                (Some(b'}'), 1) | (Some(b']'), 0) => self.close()?,
                _ => return self.cursor.fail(Flaw::Json),
            }
        }
        Ok(None)
    }

    /// Enters an object (1) or array (0), and passes the white space after its bracket.
    fn open(&mut self, node: Option<NodeId>, object: u64) -> Result<(), Defect> {
        if self.depth == DEPTH_MAX {
            return self.cursor.fail(Flaw::Depth);
        }
        if let Some(node) = node {
            self.path[self.path_len] = Frame { node, start: self.cursor.at, ..Frame::default() };
            self.path_len += 1;
        }
        self.depth += 1;
        self.objects = self.objects << 1 | object;
        self.cursor.at += 1;
        self.cursor.skip_space();
        Ok(())
    }

    /// Leaves the innermost container, whose closing bracket is next.
    fn close(&mut self) -> Result<(), Defect> {
        self.cursor.at += 1;
        if self.on_path() {
            self.path_len -= 1;
            let Frame { node, start, .. } = self.path[self.path_len];
            self.capture(Some(node), start)?;
        }
        self.depth -= 1;
        self.objects >>= 1;
        Ok(())
    }

    /// Whether the innermost container is on a path.
    #[inline]
    fn on_path(&self) -> bool {
        self.path_len == self.depth as usize
    }

    /// Passes a key and its colon. Returns the node of its value.
    #[inline]
    fn key(&mut self) -> Result<Option<NodeId>, Defect> {
        if self.cursor.peek() != Some(b'"') {
            return self.cursor.fail(Flaw::Json);
        }
        let start = self.cursor.at;
        let escaped = self.cursor.string()?;
        let raw: &'a [u8] = &self.cursor.bytes[start + 1..self.cursor.at - 1];
        self.cursor.skip_space();
        if self.cursor.peek() != Some(b':') {
            return self.cursor.fail(Flaw::Json);
        }
        self.cursor.at += 1;
        if !self.on_path() {
            return Ok(None);
        }
        let name = if escaped { Cow::Owned(unescape(raw).into_bytes()) } else { Cow::Borrowed(raw) };
        self.name(name).map_err(|flaw| Defect { flaw, at: start })
    }

    /// Looks up the name of a member on a path. Refuses a name that could be taken for another one.
    fn name(&mut self, name: Cow<'a, [u8]>) -> Result<Option<NodeId>, Flaw> {
        let frame = &mut self.path[self.path_len - 1];
        let member = self.pointers.member(frame.node, &name);
        if self.depth == 1 {
            self.keys.insert(name)?;
        }
        let Some(member) = member else { return Ok(None) };
        if frame.names & member.fold != 0 {
            return Err(if frame.exact & member.own != 0 { Flaw::DuplicateKey } else { Flaw::CaseCollision });
        }
        frame.names |= member.fold;
        frame.exact |= member.own;
        Ok(member.node)
    }

    /// Goes to the next element of the innermost array. Returns its node.
    fn element(&mut self) -> Option<NodeId> {
        if !self.on_path() {
            return None;
        }
        let frame = &mut self.path[self.path_len - 1];
        let index = frame.elements;
        frame.elements += 1;
        self.pointers.element(frame.node, index)
    }

    /// Records the value that ends here, if the definition names it.
    #[inline]
    fn capture(&mut self, node: Option<NodeId>, start: usize) -> Result<(), Defect> {
        let Some(node) = node else { return Ok(()) };
        let Wanted { slot, redactions } = self.pointers.wanted(node);
        if let Some(slot) = slot {
            self.found.slots[usize::from(slot)] = (start, self.cursor.at);
        }
        if redactions != 0 {
            if self.found.redactions.len() == COUNT_MAX {
                return self.cursor.fail(Flaw::TooMany);
            }
            self.found.redactions.push((redactions, start..self.cursor.at));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
