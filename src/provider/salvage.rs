//! Redaction of bodies that cannot be read: not JSON, undecodable, or not examined.
//!
//! The place of a value is not known there, so its name alone decides: the value of every key
//! with which a redaction ends is replaced, wherever it is. That replaces more than the definition
//! says, never less. A body inside a text (a message in an SNS envelope) is handled too, where each
//! quote has backslashes before it. Compressed or base64 parts cannot be examined.

use bytes::{Bytes, BytesMut};

use super::pointer::steps;

/// Replacement of a redacted value.
pub(super) const REDACTED: &[u8] = b"\"[redacted]\"";

/// A body with the values replaced whose keys are the last names of these redactions.
pub(crate) fn salvage(body: &Bytes, redactions: &[String]) -> Bytes {
    let steps = redactions.iter().filter_map(|pointer| steps(pointer).ok());
    // A redaction that is all `*` has no name: the whole body is replaced then.
    let names: Vec<_> = steps.map(|steps| steps.into_iter().rfind(|step| step != "*")).collect();
    if names.contains(&None) {
        return Bytes::from_static(REDACTED);
    }
    let names: Vec<String> = names.into_iter().flatten().collect();
    if is_form(body) && names.iter().any(|name| in_form(body, name)) {
        return Bytes::from_static(REDACTED);
    }
    let mut kept = BytesMut::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = quote(body, at) {
        at = found.after;
        if !names.iter().any(|name| found.ends(body, name)) {
            continue;
        }
        if let Some((start, end)) = value(body, &found) {
            kept.extend_from_slice(&body[copied..start]);
            for part in [found.escapes(body), &REDACTED[..REDACTED.len() - 1], found.escapes(body), b"\""] {
                kept.extend_from_slice(part);
            }
            (copied, at) = (end, end);
        }
    }
    if copied == 0 {
        return body.clone();
    }
    kept.extend_from_slice(&body[copied..]);
    kept.freeze()
}

/// Whether a body is probably a form, which is GitHub's default: its JSON has all quotes written as
/// `%22`.
fn is_form(body: &[u8]) -> bool {
    !body.trim_ascii_start().starts_with(b"{") && !body.trim_ascii_start().starts_with(b"[")
}

/// Whether a form has a member of this name. The end of its value is not searched for.
fn in_form(body: &[u8], name: &str) -> bool {
    let quoted = format!("%22{name}%22");
    body.windows(quoted.len()).any(|window| window.eq_ignore_ascii_case(quoted.as_bytes()))
}

/// A quote with the backslashes before it.
struct Quote {
    start: usize,
    after: usize,
}

impl Quote {
    fn escapes<'b>(&self, body: &'b [u8]) -> &'b [u8] {
        &body[self.start..self.after - 1]
    }

    /// Whether this quote ends a string with this text, whose opening quote has as many backslashes.
    fn ends(&self, body: &[u8], text: &str) -> bool {
        let before = body[..self.start].strip_suffix(text.as_bytes());
        let opening = before.and_then(|before| before.strip_suffix(b"\""));
        opening.is_some_and(|opening| opening.ends_with(self.escapes(body)))
    }
}

/// The next quote from this offset.
fn quote(body: &[u8], from: usize) -> Option<Quote> {
    let at = from + body[from..].iter().position(|byte| *byte == b'"')?;
    let escapes = body[from..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    Some(Quote { start: at - escapes, after: at + 1 })
}

/// The start and end of the value after a key; `None` if this is no key, or the value is `null`.
fn value(body: &[u8], key: &Quote) -> Option<(usize, usize)> {
    let colon = spaces(body, key.after);
    let start = spaces(body, colon + 1);
    let rest = body.get(start..).filter(|rest| body[colon] == b':' && !rest.is_empty())?;
    let opening = [key.escapes(body), b"\""].concat();
    let len = if rest.starts_with(&opening) {
        string(rest, opening.len(), key)
    } else if matches!(rest[0], b'{' | b'[') {
        container(rest, key)
    } else {
        rest.iter().position(|byte| b",}] \t\r\n\\\"".contains(byte)).unwrap_or(rest.len())
    };
    (len > 0 && &rest[..len] != b"null").then_some((start, start + len))
}

fn spaces(body: &[u8], from: usize) -> usize {
    let space = |byte: &&u8| b" \t\r\n".contains(byte);
    from + body.get(from..).unwrap_or_default().iter().take_while(space).count()
}

/// Length of a string: it ends at a quote with as many backslashes as the key's quote, or with
/// further pairs of them if the text itself ends with backslashes.
fn string(text: &[u8], opened: usize, key: &Quote) -> usize {
    let mut at = opened;
    while let Some(found) = quote(text, at) {
        let (escapes, own) = (found.after - found.start - 1, key.after - key.start - 1);
        if escapes < own || escapes % (2 * (own + 1)) == own {
            return found.after;
        }
        at = found.after;
    }
    text.len()
}

/// Length of an object or array, whose strings are quoted like the key.
fn container(text: &[u8], key: &Quote) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => at = string(text, at + 1, key) - 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salvaged(body: &str) -> String {
        let redactions = ["/data/key", "/list/*/secret", "/held/*"].map(String::from);
        String::from_utf8(salvage(&Bytes::from(body.to_owned()), &redactions).to_vec()).expect("text")
    }

    #[test]
    fn a_named_value_is_replaced_wherever_it_stands() {
        for (body, expected) in [
            (r#"{"key":"a","key":"b"} {"#, r#"{"key":"[redacted]","key":"[redacted]"} {"#),
            (r#"{"x":{"secret" : 7.5e3, "n":1"#, r#"{"x":{"secret" : "[redacted]", "n":1"#),
            (r#"[{"key":{"a":[1,"}"]},"n":2}"#, r#"[{"key":"[redacted]","n":2}"#),
            (r#"{"key":["a"],"held":{"a":"b"},"#, r#"{"key":"[redacted]","held":"[redacted]","#),
            (r#"{"key":"a\"b\\c","n":1"#, r#"{"key":"[redacted]","n":1"#),
            (r#"{"key":"C:\\","n":1"#, r#"{"key":"[redacted]","n":1"#),
            (r#"{"held":{"path":"C:\\","q":"}","pw":"s"},"n":1"#, r#"{"held":"[redacted]","n":1"#),
            (r#"{"key":"cut off"#, r#"{"key":"[redacted]""#),
            (r#"{"key":true}"#, r#"{"key":"[redacted]"}"#),
            (r#"{"Message":"{\"key\":\"a\",\"n\":1}"}"#, r#"{"Message":"{\"key\":\"[redacted]\",\"n\":1}"}"#),
            (r#"{"M":"{\"key\":{\"a\":\"}\"},\"n\":1"#, r#"{"M":"{\"key\":\"[redacted]\",\"n\":1"#),
            (r#"{"Message":"{\"key\":7}","n":1}"#, r#"{"Message":"{\"key\":\"[redacted]\"}","n":1}"#),
        ] {
            assert_eq!(salvaged(body), expected, "{body}");
        }
    }

    #[test]
    fn a_form_with_a_named_member_is_redacted_whole() {
        assert_eq!(salvaged("payload=%7B%22x%22%3A%7B%22key%22%3A%22s%22%7D%7D"), "\"[redacted]\"");
        let other = "payload=%7B%22monkey%22%3A%22s%22%7D";
        assert_eq!(salvaged(other), other);
    }

    #[test]
    fn all_else_stays_as_it_came() {
        for body in [
            "",
            "\"",
            "key: a",
            r#"{"key":null,"monkey":"a","keys":"b","n":"key"}"#,
            r#"{"n":"the \"key\" is here","key"#,
            r#"{"key":"#,
            r#"{"key": ,"#,
        ] {
            assert_eq!(salvaged(body), body);
        }
    }

    #[test]
    fn what_has_no_name_takes_everything_with_it() {
        let salvaged = salvage(&Bytes::from_static(b"{\"a\":1,"), &["/*".into()]);
        assert_eq!(salvaged, REDACTED);
    }
}
