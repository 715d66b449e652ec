//! Reads a recorded delivery: its body, and its headers as HTTP and curl write them, or as JSON of a log.
//!
//! A problem names its place and repeats nothing: a header can hold a secret.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::{Exit, Failure};

/// The name of stdin in place of a file's.
pub const STDIN: &str = "-";
/// Largest file that is read, in bytes. No larger body can be stored.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Most headers that are read.
const HEADERS_MAX: usize = 1000;

/// The content of a file, or of stdin if the path is `-`.
///
/// # Errors
/// When it cannot be read, or is larger than any delivery.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: &io::Error| Failure::io(format_args!("cannot read {}", path.display()), error);
    let mut content = Vec::new();
    let mut input: Box<dyn Read> = match path == Path::new(STDIN) {
        true => Box::new(io::stdin().lock()),
        false => Box::new(File::open(path).map_err(|error| failed(&error))?),
    };
    input.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(|error| failed(&error))?;
    match content.len() as u64 > FILE_BYTES_MAX {
        true => Err(failed(&io::Error::other("it is larger than 64 MiB, and no more is read"))),
        false => Ok(content),
    }
}

/// The headers in a file, or in stdin if the path is `-`.
///
/// # Errors
/// When the file cannot be read or is no text, a line of it is no header, or its JSON has another form.
pub fn read_headers(path: &Path) -> Result<HeaderMap, Failure> {
    let wrong = |problem: &str| Failure::new(Exit::Usage, format!("--headers {}: {problem}", path.display()));
    let text = String::from_utf8(read(path)?).map_err(|_| wrong("it is no UTF-8 text"))?;
    parse_headers(&text).map_err(|problem| wrong(&problem))
}

/// The headers in a text, in any of the forms.
///
/// # Errors
/// Where no header is, without repeating what is there.
pub fn parse_headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    match text.trim_start().chars().next() {
        Some('{' | '[') => {
            let json = serde_json::from_str(text)
                .map_err(|error| format!("it is no JSON at line {}", error.line()))?;
            of_json(&json, &mut headers)?;
        }
        _ => of_lines(text, &mut headers)?,
    }
    Ok(headers)
}

/// Reads `Name: value` lines. Of what `curl -v` prints, those that it sent count, else those that it got.
fn of_lines(text: &str, headers: &mut HeaderMap) -> Result<(), String> {
    let marked = |mark: &str| text.lines().any(|line| line.starts_with(mark));
    let mark = ["> ", "< "].into_iter().find(|mark| marked(mark));
    for (index, line) in text.lines().enumerate() {
        let line = match mark {
            Some(mark) => line.strip_prefix(mark).unwrap_or_default(),
            None => line,
        };
        if is_header(line) {
            let add = |(name, value): (&str, &str)| add(headers, name.trim(), value.trim().as_bytes());
            line.split_once(':')
                .and_then(add)
                .ok_or_else(|| format!("line {} is no header, expected `Name: value`", index + 1))?;
        }
    }
    Ok(())
}

/// Whether a line ought to be a header: it is not empty, not the line of the request or of the answer, no
/// remark of curl's and no pseudo-header of HTTP/2.
fn is_header(line: &str) -> bool {
    let is_first = line.starts_with("HTTP/") || line.contains(" HTTP/") && !line.contains(": ");
    let is_remark = ["* ", "{ [", "} ["].iter().any(|mark| line.starts_with(mark));
    !(line.trim().is_empty() || is_first || is_remark || line.starts_with(':'))
}

/// Reads `{"name": "value"}`, in which a value can be a list; `[["name", "value"]]`; `[{"name": "…", "value":
/// "…"}]`; or any of these under `headers`.
fn of_json(json: &Value, headers: &mut HeaderMap) -> Result<(), String> {
    let wrong = || "expected `{\"name\": \"value\"}` or `[[\"name\", \"value\"]]`".to_owned();
    match json {
        Value::Object(members) => match members.get("headers") {
            Some(inside @ (Value::Object(_) | Value::Array(_))) => of_json(inside, headers),
            _ => members.iter().try_for_each(|(name, value)| add_json(headers, name, value)),
        },
        Value::Array(pairs) => pairs.iter().try_for_each(|pair| match pair {
            Value::Array(pair) => match &pair[..] {
                [Value::String(name), value] => add_json(headers, name, value),
                _ => Err(wrong()),
            },
            Value::Object(pair) => match (pair.get("name"), pair.get("value")) {
                (Some(Value::String(name)), Some(value)) => add_json(headers, name, value),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }),
        _ => Err(wrong()),
    }
}

fn add_json(headers: &mut HeaderMap, name: &str, value: &Value) -> Result<(), String> {
    let added = match value {
        Value::Null => return Ok(()),
        Value::String(text) => add(headers, name, text.as_bytes()),
        Value::Number(number) => add(headers, name, number.to_string().as_bytes()),
        Value::Array(values) => return values.iter().try_for_each(|value| add_json(headers, name, value)),
        Value::Bool(_) | Value::Object(_) => None,
    };
    added.ok_or_else(|| {
        let number = headers.len() + 1;
        format!("header {number} is none, expected a name and a text or a list of texts")
    })
}

fn add(headers: &mut HeaderMap, name: &str, value: &[u8]) -> Option<()> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let value = HeaderValue::from_bytes(value).ok()?;
    (headers.len() < HEADERS_MAX).then(|| headers.append(name, value))?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The headers as lines, in the order of their names.
    fn read(text: &str) -> Vec<String> {
        let headers = parse_headers(text).expect("headers");
        let line =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().expect("text"));
        let mut lines: Vec<String> = headers.iter().map(line).collect();
        lines.sort();
        lines
    }

    #[test]
    fn headers_are_read_as_http_curl_and_gateways_write_them() {
        let expected = ["content-type: application/json", "x-signature: a:b"];
        for text in [
            "Content-Type: application/json\r\nX-Signature: a:b\r\n",
            "POST /in/stream HTTP/1.1\ncontent-type: application/json\nx-signature:a:b\n\n",
            "* Connected\n> POST /in/a HTTP/1.1\n> Content-Type: application/json\n> X-Signature: a:b\n>\n\
             { [5 bytes data]\n< HTTP/1.1 401 Unauthorized\n< x-signature: other\n<",
            "< HTTP/2 200\n< content-type: application/json\n< x-signature: a:b\n",
            "HTTP/1.1 200 OK\nContent-Type: application/json\nX-Signature: a:b\n",
            ":method: POST\n:path: /in/a\ncontent-type: application/json\nx-signature: a:b",
            r#"{"Content-Type": "application/json", "X-Signature": ["a:b"], "x-none": null}"#,
            r#"[["Content-Type", "application/json"], ["X-Signature", "a:b"]]"#,
            r#"[{"name": "Content-Type", "value": "application/json"}, {"name": "x-signature", "value": "a:b"}]"#,
            r#"{"headers": {"Content-Type": "application/json", "X-Signature": "a:b"}, "body": "{}"}"#,
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read("a: 1\na: 2\n"), ["a: 1", "a: 2"], "both of two");
        assert_eq!(read(r#"{"a": ["1", 2]}"#), ["a: 1", "a: 2"], "both of two");
        assert_eq!(read("user-agent: curl HTTP/2: yes\n"), ["user-agent: curl HTTP/2: yes"]);
        assert!(read("").is_empty());
    }

    #[test]
    fn what_is_no_header_is_refused_by_its_place_and_not_repeated() {
        for (text, place) in [
            ("a: 1\ncanary without a colon\n", "line 2"),
            ("canary canary: 1\n", "line 1"),
            ("a: canary\u{1}\n", "line 1"),
            ("{\"canary\": ", "line 1"),
            ("[\"canary\"]", "expected"),
            ("[[\"canary\"]]", "expected"),
            ("{\"canary\": true}", "header 1"),
            ("{\"a\": \"1\", \"canary canary\": \"2\"}", "header 2"),
        ] {
            let problem = parse_headers(text).expect_err(text);
            assert!(problem.contains(place) && !problem.contains("canary"), "{text}: {problem}");
        }
        assert!(parse_headers(&"a: 1\n".repeat(HEADERS_MAX)).is_ok());
        assert!(parse_headers(&"a: 1\n".repeat(HEADERS_MAX + 1)).is_err());
    }
}
