//! Reads the headers of a delivery from a file, as other tools write them.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Exit, Failure};

/// The headers in a file: lines of `Name: value`, as `curl -v` and `curl -D` write them, or JSON, as an
/// object or as a list of pairs.
///
/// # Errors
/// When the file cannot be read, or a line is no header. A value is never shown.
pub fn read_headers(path: &Path) -> Result<HeaderMap, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))?;
    parse(&text).map_err(|wrong| {
        let expected = "expected lines of `Name: value`, or JSON";
        Failure::new(Exit::Usage, format!("{}: {wrong}, {expected}", path.display()))
    })
}

fn parse(text: &str) -> Result<HeaderMap, String> {
    match serde_json::from_str(text) {
        Ok(document) => of_json(&document).ok_or_else(|| "this JSON has other things than headers".into()),
        Err(_) => of_lines(text),
    }
}

fn of_json(document: &Value) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &Value| {
        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        values.iter().try_for_each(|value| append(&mut headers, name, value.as_str()?))
    };
    match document {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| add(name, value))?,
        Value::Array(pairs) => pairs.iter().try_for_each(|pair| match pair.as_array()?.as_slice() {
            [name, value] => add(name.as_str()?, value),
            _ => None,
        })?,
        _ => return None,
    }
    Some(headers)
}

fn of_lines(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.strip_prefix("> ").or(line.strip_prefix("< ")).unwrap_or(line).trim();
        let is_first_line = line.contains("HTTP/") && !line.contains(": ");
        if line.is_empty() || line == ">" || line == "<" || is_first_line {
            continue;
        }
        let header = line.split_once(':').and_then(|(name, value)| append(&mut headers, name, value.trim()));
        header.ok_or_else(|| format!("line {number} is no header"))?;
    }
    Ok(headers)
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) -> Option<()> {
    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    headers.append(name, HeaderValue::from_str(value).ok()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_curl_and_as_programs_write_them() {
        for text in [
            "X-Signature: abc\r\nContent-Type: application/json\r\n",
            "> POST /in/a HTTP/1.1\n> x-signature: abc\n> content-type: application/json\n>\n",
            r#"{"X-Signature": "abc", "content-type": ["application/json"]}"#,
            r#"[["x-signature", "abc"], ["Content-Type", "application/json"]]"#,
        ] {
            let headers = parse(text).expect("headers");
            assert_eq!(
                (headers.len(), &headers["x-signature"]),
                (2, &"abc".parse().expect("a value")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_header_is_refused_and_not_shown() {
        for text in ["x-signature CANARY", "[1]", r#"{"a": {"b": "CANARY"}}"#, "a b: CANARY", "7"] {
            let wrong = parse(text).expect_err(text);
            assert!(!wrong.contains("CANARY"), "{wrong}");
        }
    }
}
