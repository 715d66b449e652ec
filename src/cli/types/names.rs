//! Names of types, topics and providers as other notations have them (pure).
//!
//! A provider of one's own and an event can name a type whatever they like. No such name gets out of the
//! text, the identifier or the path in which it stands, and two names never become one.

use sha2::{Digest, Sha256};

use crate::telemetry::Shown;

/// Longest identifier, in bytes; it is also the name of a directory, which has 255 at the most.
const IDENTIFIER_BYTES_MAX: usize = 120;
/// Bytes of the digest at the end of an identifier that would be longer.
const DIGEST_BYTES: usize = 8;

/// The identifier of a thing with these names, from the outermost to the innermost: letters, digits, `.`, `-`
/// and `_`. Any other character becomes `_x`, its number and `_`; so do a dot that would look like the one
/// between two names or begin the identifier, and an underscore that would look like the beginning of a
/// number.
pub(super) fn identifier(names: &[&str]) -> String {
    let mut whole = String::new();
    for (index, name) in names.iter().enumerate() {
        let is_last = index + 1 == names.len();
        if index > 0 {
            whole.push('.');
        }
        if name.is_empty() {
            whole.push_str("_x_");
        }
        let mut rest = name.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '.' if is_last && !whole.is_empty() => whole.push(c),
                '_' if rest.peek() != Some(&'x') => whole.push(c),
                'a'..='z' | 'A'..='Z' | '0'..='9' | '-' => whole.push(c),
                other => whole.push_str(&format!("_x{:x}_", u32::from(other))),
            }
        }
    }
    if (1..=IDENTIFIER_BYTES_MAX).contains(&whole.len()) {
        return whole;
    }
    let digest = Sha256::digest(whole.as_bytes());
    let end = hex::encode(&digest[..DIGEST_BYTES]);
    // Every character of it is one byte.
    whole.truncate(IDENTIFIER_BYTES_MAX - end.len() - 3);
    format!("{whole}_x-{end}")
}

/// A text as a YAML scalar on one line, in double quotes. Letters stay as they are; what else is not plain
/// ASCII is written as its number, because readers of YAML refuse some of it.
pub(super) fn yaml(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            letter if letter.is_alphanumeric() => quoted.push(letter),
            other => quoted.push_str(&format!("\\U{:08x}", u32::from(other))),
        }
    }
    quoted + "\""
}

/// A text in MDX: as code if it is plain, else with a character reference for each character that could mean
/// something to Markdown, JSX or JavaScript, and for the first one: a line that begins with the word `import`
/// or `export` is JavaScript. What steers a terminal is shown as an escape.
pub(super) fn mdx(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let shown = Shown(text).to_string();
    if !shown.is_empty() && shown.chars().all(is_plain) {
        return format!("`{shown}`");
    }
    let mut escaped = String::new();
    for c in shown.chars() {
        let is_first = escaped.trim().is_empty();
        match c {
            ' ' => escaped.push(' '),
            plain if plain.is_alphanumeric() && !is_first => escaped.push(plain),
            other => escaped.push_str(&format!("&#{};", u32::from(other))),
        }
    }
    if escaped.trim().is_empty() { "(an empty name)".into() } else { escaped }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Names that try to get out of where they stand.
    const WILD: &[&str] = &[
        "",
        ".",
        "..",
        "/",
        "../../etc/passwd",
        "a/b",
        "a\\b",
        "a b",
        "a_20b",
        "a_x20_b",
        "_x",
        "__x20_",
        "_",
        "x_",
        "a.b",
        "A",
        "\u{0}",
        "a\nb: c",
        "---",
        "\"",
        "'",
        "\\",
        "{a}",
        "{import('fs')}",
        "<script>",
        "`",
        "[[a|b]]",
        "é",
        "\u{2028}",
        "\u{202e}",
        "\u{1f600}",
        "\u{7f}",
        "\u{85}",
        "\u{feff}",
        "#",
        "*",
        "&amp;",
        "export const a",
        "versioned",
        "node_modules",
        "con",
    ];

    #[test]
    fn an_identifier_is_a_safe_name_of_a_directory_and_belongs_to_one_name_only() {
        let long = ["ü".repeat(400), "ü".repeat(401), "a".repeat(120), "a".repeat(121), "a".repeat(122)];
        let names: Vec<&str> = WILD.iter().copied().chain(long.iter().map(String::as_str)).collect();
        let mut owners = BTreeMap::new();
        for outer in &names {
            for inner in &names {
                let whole = identifier(&[outer, inner]);
                let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
                assert!(whole.bytes().all(is_safe), "{whole}");
                assert!((1..=IDENTIFIER_BYTES_MAX).contains(&whole.len()), "{whole}");
                assert!(![".", ".."].contains(&whole.as_str()), "{outer:?} {inner:?}");
                let owner = owners.insert(whole.clone(), (outer, inner));
                assert_eq!(owner, None, "{whole} of {outer:?} {inner:?}");
            }
        }
        for name in &names {
            let alone = identifier(&[name]);
            assert!(!alone.starts_with('.') && !alone.is_empty(), "{name:?} {alone}");
        }
        assert_eq!(identifier(&["stream", "call.recording_ready"]), "stream.call.recording_ready");
        assert_eq!(identifier(&["my.shop", "orders/create"]), "my_x2e_shop.orders_x2f_create");
    }

    #[test]
    fn a_yaml_scalar_is_read_as_the_same_text() {
        for name in WILD {
            let text = format!("name: {}\n", yaml(name));
            assert_eq!(text.lines().count(), 1, "{text}");
            let read: BTreeMap<String, String> = serde_saphyr::from_str(&text).expect("YAML");
            assert_eq!(read["name"], *name, "{text}");
        }
    }

    #[test]
    fn a_name_in_mdx_has_no_syntax_of_its_own() {
        for name in WILD {
            let text = mdx(name);
            let inside = text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or(&text);
            assert!(!inside.contains(['<', '>', '{', '}', '`', '[', '*', '\n', '"', '\\', '|']), "{text}");
        }
        assert_eq!(mdx("call.recording_ready"), "`call.recording_ready`");
        assert_eq!(mdx("a {b}"), "&#97; &#123;b&#125;");
        assert_eq!(mdx("export const a"), "&#101;xport const a");
    }
}
