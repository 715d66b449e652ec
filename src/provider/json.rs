//! One strict pass over a body: is it the JSON that every consumer will read alike, and where in
//! it are the values that the definition names?
//!
//! The grammar is RFC 8259 to the letter. Beyond it the pass refuses what parsers disagree about:
//! a key twice at top level, a name on the path of a place twice or beside itself in another case,
//! deep nesting. Values are found as byte spans, so what is passed on is never re-rendered. The
//! pass is iterative and its memory does not depend on the nesting.

mod cursor;
mod keys;

use std::borrow::Cow;
use std::ops::Range;

use self::cursor::Cursor;
pub(super) use self::cursor::unescape;
use self::keys::Keys;
use super::pointer::{NodeId, POINTERS_MAX, Pointers, ROOT, STEPS_MAX, Slot, Wanted};

/// How deep objects and arrays may nest.
const DEPTH_MAX: u32 = 64;
/// How many keys of the top level, and how many values to redact, are remembered. A small body can
/// inflate to millions of either, each of which costs more memory than it has bytes.
const COUNT_MAX: usize = 10_000;

/// Why a body cannot be used, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{flaw} at byte {at}")]
pub struct Defect {
    /// What is wrong.
    pub flaw: Flaw,
    /// Where it was noticed, in bytes from the start of the body.
    pub at: usize,
}

/// What can be wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nothing but white space.
    #[error("empty body, expected a JSON object")]
    Empty,
    /// A byte order mark, which RFC 8259 forbids to add and some parsers refuse.
    #[error("byte order mark, expected plain UTF-8")]
    Bom,
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// Not JSON.
    #[error("invalid JSON")]
    Json,
    /// JSON, but no object.
    #[error("not an object, expected a JSON object")]
    NotObject,
    /// A key that occurs twice, where that matters.
    #[error("duplicate key")]
    DuplicateKey,
    /// A key that differs from a meaningful one beside it in case only.
    #[error("key that differs from another one in case only")]
    CaseCollision,
    /// Nested too deeply.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    Depth,
    /// More than can be remembered.
    #[error("more than {COUNT_MAX} keys at top level, or values to redact")]
    TooMany,
}

impl Flaw {
    /// The flaw as a short, bounded word for metrics and grouping.
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

/// The bytes that a value takes up in the body.
pub(super) type Span = Range<usize>;

/// Where the wanted values are.
pub(super) struct Captures {
    slots: [(usize, usize); POINTERS_MAX / 2],
    /// Values to redact, with one bit for each redaction that leads there, in the order in which they end.
    pub redactions: Vec<(u64, Span)>,
}

impl Captures {
    /// Where a slot's value is, if the body has one.
    pub fn span(&self, slot: Slot) -> Option<Span> {
        // No value ends at 0.
        let (start, end) = self.slots[usize::from(slot)];
        (end > 0).then_some(start..end)
    }
}

/// Checks a body and finds the wanted values in it.
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
        keys: Keys::new(),
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

/// An open object or array on the path of a place. Such containers are always the outermost ones
/// that are open: what is not on a path holds nothing that is.
#[derive(Clone, Copy, Default)]
struct Frame {
    node: NodeId,
    start: usize,
    /// The names seen in an object, one bit each, whatever their case.
    names: u64,
    /// Those of them that were spelled like a step of a place.
    exact: u64,
    /// The elements seen in an array.
    elements: usize,
}

struct Scanner<'a> {
    cursor: Cursor<'a>,
    pointers: &'a Pointers,
    depth: u32,
    /// The open containers, the innermost lowest: 1 for an object, 0 for an array.
    objects: u64,
    path: [Frame; STEPS_MAX + 1],
    path_len: usize,
    /// The keys of the top level.
    keys: Keys<'a>,
    found: Captures,
}

impl<'a> Scanner<'a> {
    /// One value with all that is in it.
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

    /// After a value: closes what ends here and steps on to the next value, if there is one.
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

    /// Enters an object (1) or array (0), and passes the white space behind its bracket.
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

    /// Whether the innermost container is on the path of a place.
    #[inline]
    fn on_path(&self) -> bool {
        self.path_len == self.depth as usize
    }

    /// A key with its colon. Returns where its value leads.
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

    /// The name of a member of an object on a path: refused when it could be taken for another.
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

    /// The next element of the innermost array. Returns where it leads.
    fn element(&mut self) -> Option<NodeId> {
        if !self.on_path() {
            return None;
        }
        let frame = &mut self.path[self.path_len - 1];
        let index = frame.elements;
        frame.elements += 1;
        self.pointers.element(frame.node, index)
    }

    /// Remembers a value that ends here, if it is wanted.
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
