//! Writes JSON anew as common libraries write it.
//!
//! The body stays what it says: numbers keep their digits and members their order, unless a style sorts them.
//! What a library has lost on its way, as the digits of a number, cannot be found again.

use crate::provider::json::{Cursor, unescape};

/// Deepest nesting that is written anew, as deep as an event can be.
const DEPTH_MAX: usize = 64;

/// A way of writing JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonStyle {
    pub(super) space: JsonSpace,
    pub(super) escapes: JsonEscapes,
    /// Whether the members of objects are sorted by name. Needs a `space` other than the present one.
    pub(super) sorted: bool,
}

/// The white space between the parts of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonSpace {
    /// As it is.
    Present,
    /// None.
    Compact,
    /// One space behind each comma and colon.
    Spaced,
    /// A line for each member and element, indented by this many spaces for each level.
    Indented(usize),
}

/// What is written as an escape within strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JsonEscapes {
    /// What is now.
    Present,
    /// Also `/`.
    Slashes,
    /// Not `/`.
    NoSlashes,
    /// Also everything that is not ASCII.
    Ascii,
    /// Also `/` and everything that is not ASCII.
    SlashesAndAscii,
    /// Also `<`, `>` and `&`.
    Html,
    /// Only what has to be.
    Fewest,
}

impl JsonStyle {
    /// JSON that differs from the present one in its white space only.
    pub(super) const fn spaced(space: JsonSpace) -> Self {
        Self { space, escapes: JsonEscapes::Present, sorted: false }
    }

    /// The style in words, as what has to be done to a body.
    pub(super) fn phrase(self) -> String {
        let space = match self.space {
            JsonSpace::Present => None,
            JsonSpace::Compact => Some("when its white space is removed".to_owned()),
            JsonSpace::Spaced => Some("with one space behind each `,` and `:` and no other".to_owned()),
            JsonSpace::Indented(spaces) => Some(format!("when it is indented by {spaces} spaces")),
        };
        let escapes = match self.escapes {
            JsonEscapes::Present => None,
            JsonEscapes::Slashes => Some(r"with `\/` in place of `/`"),
            JsonEscapes::NoSlashes => Some(r"with `/` in place of `\/`"),
            JsonEscapes::Ascii => Some(r"with `\u…` in place of all that is not ASCII"),
            JsonEscapes::SlashesAndAscii => {
                Some(r"with `\/` in place of `/` and `\u…` in place of all that is not ASCII")
            }
            JsonEscapes::Html => Some(r"with `\u…` in place of `<`, `>` and `&`"),
            JsonEscapes::Fewest => Some("with no escape that JSON does not need"),
        };
        let sorted = self.sorted.then(|| "with the members of its objects sorted by name".to_owned());
        let words: Vec<String> = space.into_iter().chain(escapes.map(str::to_owned)).chain(sorted).collect();
        words.join(", ")
    }
}

/// The body in this style, `None` if it is not JSON or nested too deeply.
pub(super) fn rewritten(body: &[u8], style: JsonStyle) -> Option<Vec<u8>> {
    std::str::from_utf8(body).ok()?;
    let cursor = Cursor { bytes: body, at: 0 };
    let mut writer = JsonWriter { cursor, style, out: Vec::with_capacity(body.len()) };
    writer.pass_space();
    writer.value(0)?;
    writer.pass_space();
    writer.cursor.peek().is_none().then_some(writer.out)
}

struct JsonWriter<'a> {
    cursor: Cursor<'a>,
    style: JsonStyle,
    out: Vec<u8>,
}

impl<'a> JsonWriter<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.cursor.peek()? {
            b'{' => self.container(b'}', depth),
            b'[' => self.container(b']', depth),
            b'"' => self.string().map(drop),
            _ => {
                let start = self.cursor.at;
                self.cursor.scalar().ok()?;
                self.out.extend_from_slice(&self.cursor.bytes[start..self.cursor.at]);
                Some(())
            }
        }
    }

    /// Writes an object or array, whose opening bracket is next.
    fn container(&mut self, close: u8, depth: usize) -> Option<()> {
        if depth == DEPTH_MAX {
            return None;
        }
        self.pass();
        self.pass_space();
        if self.cursor.peek() == Some(close) {
            self.pass();
            return Some(());
        }
        let sorts = self.style.sorted && close == b'}';
        let mut members: Vec<(String, Vec<u8>)> = Vec::new();
        loop {
            let start = self.out.len();
            self.break_line(depth + 1);
            let name = if close == b'}' { self.name()? } else { &[] };
            self.value(depth + 1)?;
            self.pass_space();
            if sorts {
                members.push((unescape(name), self.out.split_off(start)));
            }
            match self.cursor.peek() {
                Some(b',') if sorts => self.cursor.at += 1,
                Some(b',') => self.pass_comma(),
                Some(next) if next == close => break,
                _ => return None,
            }
            self.pass_space();
        }
        self.write_sorted(members);
        self.break_line(depth);
        self.pass();
        Some(())
    }

    fn write_sorted(&mut self, mut members: Vec<(String, Vec<u8>)>) {
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (number, (_, member)) in members.iter().enumerate() {
            if number > 0 {
                self.write_comma();
            }
            self.out.extend_from_slice(member);
        }
    }

    /// Writes a member's name and colon. Returns the name as it is written, without its quotes.
    fn name(&mut self) -> Option<&'a [u8]> {
        if self.cursor.peek() != Some(b'"') {
            return None;
        }
        let name = self.string()?;
        self.pass_space();
        if self.cursor.peek() != Some(b':') {
            return None;
        }
        self.pass();
        if matches!(self.style.space, JsonSpace::Spaced | JsonSpace::Indented(_)) {
            self.out.push(b' ');
        }
        self.pass_space();
        Some(name)
    }

    /// Writes a string, whose opening quote is next. Returns what is between its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.cursor.at;
        self.cursor.string().ok()?;
        let bytes: &'a [u8] = self.cursor.bytes;
        let inside = &bytes[start + 1..self.cursor.at - 1];
        if self.style.escapes == JsonEscapes::Present {
            self.out.extend_from_slice(&bytes[start..self.cursor.at]);
        } else {
            self.out.push(b'"');
            write_string(std::str::from_utf8(inside).ok()?, self.style.escapes, &mut self.out);
            self.out.push(b'"');
        }
        Some(inside)
    }

    /// Passes and writes one byte.
    fn pass(&mut self) {
        self.out.extend(self.cursor.peek());
        self.cursor.at += 1;
    }

    fn pass_comma(&mut self) {
        self.cursor.at += 1;
        self.write_comma();
    }

    fn write_comma(&mut self) {
        self.out.push(b',');
        if self.style.space == JsonSpace::Spaced {
            self.out.push(b' ');
        }
    }

    /// Passes white space, and writes it if it stays as it is.
    fn pass_space(&mut self) {
        let start = self.cursor.at;
        self.cursor.skip_space();
        if self.style.space == JsonSpace::Present {
            self.out.extend_from_slice(&self.cursor.bytes[start..self.cursor.at]);
        }
    }

    fn break_line(&mut self, depth: usize) {
        if let JsonSpace::Indented(spaces) = self.style.space {
            self.out.push(b'\n');
            self.out.resize(self.out.len() + spaces * depth, b' ');
        }
    }
}

/// Writes the inside of a string, which is known to be valid, with other escapes.
fn write_string(inside: &str, escapes: JsonEscapes, out: &mut Vec<u8>) {
    let slashes = matches!(escapes, JsonEscapes::Slashes | JsonEscapes::SlashesAndAscii);
    let no_slashes = matches!(escapes, JsonEscapes::NoSlashes | JsonEscapes::Fewest);
    let ascii = matches!(escapes, JsonEscapes::Ascii | JsonEscapes::SlashesAndAscii);
    let mut rest = inside;
    while let Some(c) = rest.chars().next() {
        let len = if c == '\\' { escape_len(rest) } else { c.len_utf8() };
        let (written, behind) = rest.split_at(len);
        rest = behind;
        match (c, written) {
            ('/', _) if slashes => out.extend_from_slice(br"\/"),
            ('\\', r"\/") if no_slashes => out.push(b'/'),
            ('\\', escape) if escapes == JsonEscapes::Fewest && escape.starts_with(r"\u") => {
                write_shortest(escape, out);
            }
            (c, _) if ascii && !c.is_ascii() => write_escape(c, out),
            ('<' | '>' | '&' | '\u{2028}' | '\u{2029}', _) if escapes == JsonEscapes::Html => {
                write_escape(c, out);
            }
            _ => out.extend_from_slice(written.as_bytes()),
        }
    }
}

/// Length of the escape at the beginning of a text, both halves of a surrogate pair included.
fn escape_len(text: &str) -> usize {
    let is_high = |digits: &str| matches!(u16::from_str_radix(digits, 16), Ok(0xD800..=0xDBFF));
    match text.as_bytes().get(1) {
        Some(b'u') if text.get(2..6).is_some_and(is_high) => 12,
        Some(b'u') => 6,
        _ => 2,
    }
}

/// Writes the character of a `\u` escape, or the escape if the character needs one.
fn write_shortest(escape: &str, out: &mut Vec<u8>) {
    let text = unescape(escape.as_bytes());
    let needs_escape = |c: char| c < ' ' || matches!(c, '"' | '\\');
    let shortest = if text.contains(needs_escape) { escape } else { text.as_str() };
    out.extend_from_slice(shortest.as_bytes());
}

fn write_escape(c: char, out: &mut Vec<u8>) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"b": [1.50, {"x":"a\/b"},[ ] ],"a":"é/<\u00e9\"\n","c":{}}"#;

    fn written(style: JsonStyle) -> String {
        String::from_utf8(rewritten(BODY.as_bytes(), style).expect("it is JSON")).expect("UTF-8")
    }

    fn escaped(escapes: JsonEscapes) -> String {
        written(JsonStyle { space: JsonSpace::Compact, escapes, sorted: false })
    }

    #[test]
    fn white_space_is_written_as_libraries_write_it_and_nothing_else_changes() {
        let spaced = |space| written(JsonStyle::spaced(space));
        assert_eq!(spaced(JsonSpace::Present), BODY);
        assert_eq!(spaced(JsonSpace::Compact), r#"{"b":[1.50,{"x":"a\/b"},[]],"a":"é/<\u00e9\"\n","c":{}}"#);
        assert_eq!(
            spaced(JsonSpace::Spaced),
            r#"{"b": [1.50, {"x": "a\/b"}, []], "a": "é/<\u00e9\"\n", "c": {}}"#
        );
        assert_eq!(
            spaced(JsonSpace::Indented(2)),
            "{\n  \"b\": [\n    1.50,\n    {\n      \"x\": \"a\\/b\"\n    },\n    []\n  ],\n  \
             \"a\": \"é/<\\u00e9\\\"\\n\",\n  \"c\": {}\n}"
        );
    }

    #[test]
    fn strings_are_written_with_the_escapes_of_a_style() {
        for (escapes, x, a) in [
            (JsonEscapes::Slashes, r"a\/b", r#"é\/<\u00e9\"\n"#),
            (JsonEscapes::NoSlashes, "a/b", r#"é/<\u00e9\"\n"#),
            (JsonEscapes::Ascii, r"a\/b", r#"\u00e9/<\u00e9\"\n"#),
            (JsonEscapes::SlashesAndAscii, r"a\/b", r#"\u00e9\/<\u00e9\"\n"#),
            (JsonEscapes::Html, r"a\/b", r#"é/\u003c\u00e9\"\n"#),
            (JsonEscapes::Fewest, "a/b", r#"é/<é\"\n"#),
        ] {
            let expected = format!(r#"{{"b":[1.50,{{"x":"{x}"}},[]],"a":"{a}","c":{{}}}}"#);
            assert_eq!(escaped(escapes), expected, "{escapes:?}");
        }
        let pair = |body: &str, escapes| {
            let style = JsonStyle { space: JsonSpace::Present, escapes, sorted: false };
            String::from_utf8(rewritten(body.as_bytes(), style).expect("JSON")).expect("UTF-8")
        };
        assert_eq!(pair(r#"["\ud83d\ude00","\u0001"]"#, JsonEscapes::Fewest), r#"["😀","\u0001"]"#);
        assert_eq!(pair(r#"["😀"]"#, JsonEscapes::Ascii), r#"["\ud83d\ude00"]"#);
    }

    #[test]
    fn members_are_sorted_at_every_level_and_elements_are_not() {
        let style = JsonStyle { space: JsonSpace::Compact, escapes: JsonEscapes::Present, sorted: true };
        let sorted = rewritten(br#"{"b":[{"d":1,"c":2},0],"a":3}"#, style);
        assert_eq!(sorted.as_deref(), Some(&br#"{"a":3,"b":[{"c":2,"d":1},0]}"#[..]));
        let spaced = rewritten(br#"{"b":1,"a":3}"#, JsonStyle { space: JsonSpace::Spaced, ..style });
        assert_eq!(spaced.as_deref(), Some(&br#"{"a": 3, "b": 1}"#[..]));
        let indented = rewritten(br#"{"b":1,"a":3}"#, JsonStyle { space: JsonSpace::Indented(2), ..style });
        assert_eq!(indented.as_deref(), Some(&b"{\n  \"a\": 3,\n  \"b\": 1\n}"[..]));
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_not_written() {
        let compact = JsonStyle::spaced(JsonSpace::Compact);
        for body in ["", "{", "{}x", "{\"a\"}", "[1,]", "{\"a\":}", "\"a", "{a:1}", "nul"] {
            assert_eq!(rewritten(body.as_bytes(), compact), None, "{body}");
        }
        assert_eq!(rewritten(b"\"\xff\"", compact), None);
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(rewritten(nested(DEPTH_MAX).as_bytes(), compact).is_some());
        assert!(rewritten(nested(DEPTH_MAX + 1).as_bytes(), compact).is_none());
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_anew_says_the_same(values in proptest::collection::vec(".{0,12}", 0..6)) {
            let body = serde_json::json!({ "b": values, "a": { "n": 1, "ü/": null } }).to_string();
            let same = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).expect("JSON");
            for space in [JsonSpace::Present, JsonSpace::Compact, JsonSpace::Spaced, JsonSpace::Indented(4)] {
                for escapes in [JsonEscapes::Slashes, JsonEscapes::SlashesAndAscii, JsonEscapes::Html] {
                    let sorted = space != JsonSpace::Present;
                    let style = JsonStyle { space, escapes, sorted };
                    let text = rewritten(body.as_bytes(), style).expect("JSON");
                    proptest::prop_assert_eq!(same(&text), same(body.as_bytes()), "{:?}", style);
                    let fewest = JsonStyle { escapes: JsonEscapes::Fewest, ..style };
                    let back = rewritten(&text, fewest).expect("JSON");
                    proptest::prop_assert_eq!(same(&back), same(body.as_bytes()), "{:?}", style);
                }
            }
        }
    }
}
