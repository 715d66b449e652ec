//! Texts as YAML, for what is pasted into a configuration.

use serde_json::Value;

/// A text as a scalar, quoted unless it is certain to be read as this text. JSON is YAML.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:-@".contains(&byte);
    let words = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];
    let is_certain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.bytes().all(is_plain)
        && !text.ends_with(':')
        && !words.contains(&text.to_lowercase().as_str());
    if is_certain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_unless_it_is_certain_what_it_is() {
        for text in ["env:S", "call.created", "orders/create", "/var/lib/fanbridge", "localhost:9092", "a_b"]
        {
            assert_eq!(scalar(text), text);
        }
        for text in [
            "",
            "no",
            "True",
            "Null",
            "20 GiB",
            "0123",
            "1e3",
            "{family}",
            "a: b",
            "a:",
            "-",
            "- a",
            "a #b",
            "é",
            "~",
            "*",
            "it's",
            "deploy to prod",
            "\"a\\",
        ] {
            let read: Vec<String> = serde_saphyr::from_str(&format!("- {}", scalar(text))).expect("YAML");
            assert_eq!(read, [text]);
            assert!(scalar(text).starts_with('"'), "{text}");
        }
    }
}
