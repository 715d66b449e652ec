//! The terminals of JSON: strings, numbers and words, to the letter of RFC 8259.
//!
//! A cursor moves over bytes that are known to be UTF-8. It passes what is right and stops at what
//! is not; what a value means is the scanner's business.

use super::{Defect, Flaw};

/// A place in a body.
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl Cursor<'_> {
    /// A string, a number or a word.
    pub fn scalar(&mut self) -> Result<(), Defect> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => self.fail(Flaw::Json),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Defect> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.fail(Flaw::Json);
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Defect> {
        self.pass(b"-");
        if !self.pass(b"0") {
            self.digits()?;
        }
        if self.pass(b".") {
            self.digits()?;
        }
        if self.pass(b"eE") {
            self.pass(b"+-");
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Defect> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail(Flaw::Json) } else { Ok(()) }
    }

    /// Passes one byte if it is one of these.
    fn pass(&mut self, any: &[u8]) -> bool {
        let passed = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(passed);
        passed
    }

    /// A string with its quotes, the first of which is next. Returns whether it has escapes.
    #[inline(always)]
    pub fn string(&mut self) -> Result<bool, Defect> {
        let inside = &self.bytes[self.at + 1..];
        let run = plain_run(inside);
        self.at += 1 + run;
        if inside.get(run) == Some(&b'"') {
            self.at += 1;
            return Ok(false);
        }
        self.string_from_escape()
    }

    /// The rest of a string that goes on with something else than a character that means itself.
    #[cold]
    fn string_from_escape(&mut self) -> Result<bool, Defect> {
        let mut escaped = false;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.fail(Flaw::Json),
            }
            self.at += plain_run(&self.bytes[self.at..]);
        }
    }

    /// A backslash and what it makes special.
    fn escape(&mut self) -> Result<(), Defect> {
        self.at += 1;
        if !self.pass(b"\"\\/bfnrtu") {
            return self.fail(Flaw::Json);
        }
        if self.bytes[self.at - 1] != b'u' {
            return Ok(());
        }
        match self.hex4()? {
            0xD800..=0xDBFF => {
                // A half of a pair is no character: half the parsers refuse it, half replace it.
                let pair = self.pass(b"\\") && self.pass(b"u");
                if !pair || !matches!(self.hex4()?, 0xDC00..=0xDFFF) {
                    return self.fail(Flaw::Json);
                }
                Ok(())
            }
            0xDC00..=0xDFFF => self.fail(Flaw::Json),
            _ => Ok(()),
        }
    }

    fn hex4(&mut self) -> Result<u32, Defect> {
        let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
        let value =
            digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?));
        match value.filter(|_| !digits.is_empty()) {
            Some(value) => {
                self.at += 4;
                Ok(value)
            }
            None => self.fail(Flaw::Json),
        }
    }

    /// Passes white space.
    #[inline(always)]
    pub fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The next byte, if there is one.
    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A defect here.
    pub fn fail<T>(&self, flaw: Flaw) -> Result<T, Defect> {
        Err(Defect { flaw, at: self.at })
    }
}

/// The number of leading bytes of a string that mean themselves: up to a quote, a backslash, a
/// control character or the end. Eight bytes at a time.
#[inline(always)]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // With the second bit turned over, the quote stands right behind the control characters, so
        // one comparison finds both. A byte beyond ASCII means itself.
        let quote_or_control = (word ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        // The lowest marked byte is exact; a borrow can only mark bytes above it by mistake.
        let special = (quote_or_control | backslash) & !word & HIGHS;
        if special != 0 {
            return n * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// The text of a string's inside, which the scanner has passed.
pub(in crate::provider) fn unescape(raw: &[u8]) -> String {
    let mut quoted = Vec::with_capacity(raw.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(raw);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).expect("the scanner has passed this very string")
}
