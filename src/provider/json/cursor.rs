//! The terminals of JSON: strings, numbers and words, exactly as in RFC 8259.
//!
//! A cursor moves over bytes that are known to be UTF-8. It passes valid JSON and stops at the first
//! invalid byte; the scanner gives the values a meaning.

use super::{Defect, Flaw};

/// A position in a body.
pub(in crate::provider) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl Cursor<'_> {
    /// Passes a string, a number or a word.
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

    /// Passes one digit or more.
    fn digits(&mut self) -> Result<(), Defect> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fail(Flaw::Json) } else { Ok(()) }
    }

    /// Passes the next byte if it is one of these. Returns whether it did.
    fn pass(&mut self, any: &[u8]) -> bool {
        let passed = self.peek().is_some_and(|byte| any.contains(&byte));
        self.at += usize::from(passed);
        passed
    }

    /// Passes a string, whose opening quote is next. Returns whether it has escapes.
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

    /// Passes the rest of a string from the first character that is special.
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

    /// Passes a backslash and its escape.
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
                // Half of a surrogate pair is no character: some parsers refuse it, others replace
                // it.
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

    /// The next byte, `None` at the end.
    #[inline(always)]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// A defect at this position.
    pub fn fail<T>(&self, flaw: Flaw) -> Result<T, Defect> {
        Err(Defect { flaw, at: self.at })
    }
}

/// Number of leading bytes of a string that stand for themselves, up to a quote, a backslash, a
/// control character or the end. Checks eight bytes at a time.
#[inline(always)]
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // After the second bit is flipped, the quote is the next code above the control characters,
        // so one comparison finds both. A byte above ASCII stands for itself.
        let quote_or_control = (word ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
        let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
        // The lowest marked byte is exact; a borrow can wrongly mark bytes above it only.
        let special = (quote_or_control | backslash) & !word & HIGHS;
        if special != 0 {
            return n * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1F);
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// The text of the inside of a string that the scanner has passed.
pub(in crate::provider) fn unescape(raw: &[u8]) -> String {
    let mut quoted = Vec::with_capacity(raw.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(raw);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).expect("the scanner has passed this very string")
}
