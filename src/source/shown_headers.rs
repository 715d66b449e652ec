//! The headers of a refused request as they can be shown (pure): all names, and the values of those that
//! hold no secret.
//!
//! Of a signature only the form is shown, which tells a wrong encoding from a wrong secret; of every other
//! value, such as a password or a cookie, only the length.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::provider::Definition;

/// Most headers that are shown.
const HEADERS_MAX: usize = 40;
/// Most bytes of a value that is shown; a longer one is cut.
const VALUE_BYTES_MAX: usize = 255;
/// The headers whose values every sender states and that hold no secret.
const SHOWN: [HeaderName; 5] = [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, USER_AGENT, DATE];
/// What providers write in front of a signature. Any other text could be a part of a secret.
const KNOWN_NAMES: [&str; 12] =
    ["t", "ts", "timestamp", "s", "sig", "signature", "v0", "v1", "v2", "sha1", "sha256", "sha512"];

/// The headers by name, each with its value or with what can be said of it.
pub(super) fn shown_headers<'h>(
    headers: &'h HeaderMap,
    definition: Option<&Definition>,
) -> Vec<(&'h str, String)> {
    let named = |name: Option<&str>, header: &HeaderName| name == Some(header.as_str());
    let signature = definition.and_then(Definition::signature_header);
    let event_type = definition.and_then(Definition::type_header);
    let delivery = definition.and_then(Definition::delivery_header).map(|(header, _)| header);
    let shown = |(name, value): (&'h HeaderName, &HeaderValue)| {
        let is_shown = SHOWN.contains(name) || named(event_type, name) || named(delivery, name);
        let text = match value.to_str() {
            Ok(text) if named(signature, name) => signature_form(text),
            Ok(text) if is_shown => text[..text.len().min(VALUE_BYTES_MAX)].to_owned(),
            _ => length(value.as_bytes()),
        };
        (name.as_str(), text)
    };
    headers.iter().take(HEADERS_MAX).map(shown).collect()
}

fn length(value: &[u8]) -> String {
    format!("({} bytes)", value.len())
}

/// How a signature is written: `hex, 64 digits`, `base64, 44`, `sha256= and hex, 64 digits`,
/// `v1, and base64, 44`, `fields t,v1`.
fn signature_form(text: &str) -> String {
    if let Some(encoding) = encoding(text) {
        return encoding;
    }
    let fields: Vec<_> = text.split(',').map(|field| field.trim_matches(' ').split_once('=')).collect();
    if let [Some((name, value))] = fields[..] {
        return match encoding(value) {
            Some(encoding) if KNOWN_NAMES.contains(&name) => format!("{name}= and {encoding}"),
            _ => length(text.as_bytes()),
        };
    }
    if fields.len() <= KNOWN_NAMES.len() && fields.iter().all(Option::is_some) {
        let name = |field: &Option<(&str, &str)>| {
            field.and_then(|(name, _)| KNOWN_NAMES.into_iter().find(|known| *known == name)).unwrap_or("?")
        };
        return format!("fields {}", fields.iter().map(name).collect::<Vec<_>>().join(","));
    }
    match text.split(' ').next().and_then(|first| first.split_once(',')) {
        Some((version, value)) if KNOWN_NAMES.contains(&version) => match encoding(value) {
            Some(encoding) => format!("{version}, and {encoding}"),
            None => length(text.as_bytes()),
        },
        _ => length(text.as_bytes()),
    }
}

/// The encoding that a whole text is written in, if it is one of those that signatures have.
fn encoding(text: &str) -> Option<String> {
    let all = |is_digit: fn(u8) -> bool| text.bytes().all(is_digit);
    let count = text.len();
    if text.len() < 16 {
        return None;
    }
    if all(|byte| byte.is_ascii_hexdigit()) {
        return Some(format!("hex, {count} digits"));
    }
    let unpadded = text.trim_end_matches('=');
    let is_base64 = |more: [u8; 2]| {
        count - unpadded.len() <= 2
            && unpadded.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let forms = [([b'+', b'/'], "base64"), ([b'-', b'_'], "base64 for URLs")];
    forms.into_iter().find(|(more, _)| is_base64(*more)).map(|(_, form)| format!("{form}, {count}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::provider::{SigningSecret, builtin, builtin_named, sign};

    const HEX: &str = "408ab27d58b18a584d29f2801dde0d5ad20e5f5965039ac88d2ef49014a2c4a7";
    const BASE64: &str = "SXTZYhjRshplUTerYmYX0D3d2LSTG3PWD2lY6XFLzd0=";

    #[test]
    fn a_signature_shows_its_form_and_none_of_its_characters() {
        for (text, form) in [
            (HEX.to_owned(), "hex, 64 digits"),
            (BASE64.to_owned(), "base64, 44"),
            (BASE64.replace('h', "-"), "base64 for URLs, 44"),
            (format!("sha256={HEX}"), "sha256= and hex, 64 digits"),
            (format!("t=1778198400,v1={HEX}"), "fields t,v1"),
            (format!("t=1778198400, v1={HEX},mine={HEX}"), "fields t,v1,?"),
            (format!("v1,{BASE64} v1,{BASE64}"), "v1, and base64, 44"),
            (format!("hunter2={HEX}"), "(72 bytes)"),
            (format!("hunter2,{HEX}"), "(72 bytes)"),
            ("hunter2".to_owned(), "(7 bytes)"),
            ("hunter2==".to_owned(), "(9 bytes)"),
            (format!("{HEX}!"), "(65 bytes)"),
            (String::new(), "(0 bytes)"),
        ] {
            assert_eq!(signature_form(&text), form, "{text}");
        }
    }

    #[test]
    fn no_header_value_of_a_stranger_is_shown_but_those_that_hold_no_secret() {
        let definition = builtin_named("github").unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "application/json"),
            ("user-agent", "GitHub-Hookshot/1"),
            ("x-github-event", "push"),
            ("x-github-delivery", "72d3162e"),
            ("x-hub-signature-256", "sha256=hunter2"),
            ("authorization", "Bearer hunter2"),
            ("cookie", "session=hunter2"),
            ("x-forwarded-for", "hunter2"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("date", HeaderValue::from_bytes(b"\xffhunter2").unwrap());
        let shown = shown_headers(&headers, Some(&definition));
        let of = |name: &str| &*shown.iter().find(|(shown, _)| *shown == name).unwrap().1;
        assert_eq!((of("x-github-event"), of("x-github-delivery")), ("push", "72d3162e"));
        assert_eq!((of("authorization"), of("date")), ("(14 bytes)", "(8 bytes)"));
        assert_eq!(of("x-hub-signature-256"), "(14 bytes)");
        assert_eq!(shown.len(), headers.len());
        assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
        let of_no_source = shown_headers(&headers, None);
        assert!(!format!("{of_no_source:?}").contains("72d3162e"), "{of_no_source:?}");
    }

    #[test]
    fn the_form_of_what_each_provider_signs_is_told_and_the_signature_is_not() {
        // A text of 32 characters, and base64 of 24 bytes: whichever the provider has.
        let text = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        for definition in builtin().iter().filter(|definition| definition.is_verified()) {
            let secret = SigningSecret::parse(text, definition.secret_form(), None, None).unwrap();
            let headers = sign(definition, &secret, b"{}", crate::event::Timestamp(0), "msg_1");
            let name = definition.signature_header().unwrap();
            let shown = shown_headers(&headers, Some(definition));
            let form = &shown.iter().find(|(shown, _)| *shown == name).unwrap().1;
            assert!(["hex", "base64", "fields"].iter().any(|word| form.contains(word)), "{name}: {form}");
        }
    }

    #[test]
    fn many_and_long_headers_are_cut() {
        let mut headers = HeaderMap::new();
        for _ in 0..100 {
            headers.append("x-a", HeaderValue::from_static("b"));
        }
        assert_eq!(shown_headers(&headers, None).len(), HEADERS_MAX);
        let long = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_str(&"x".repeat(9000)).unwrap())]);
        assert_eq!(shown_headers(&long, None)[0].1.len(), VALUE_BYTES_MAX);
    }
}
