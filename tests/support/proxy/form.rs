//! The protocol of SNS: a form goes in, XML comes out. As much of both as the proxy needs to take
//! entries out of a batch and to word an outcome.

use std::collections::BTreeMap;

use super::call::Refusal;

/// What an error that the proxy made says of itself.
pub(super) const MESSAGE: &str = "refused by a test";
const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
/// What the names of a batch's fields have in common: `PublishBatchRequestEntries.member.3.Message`.
const LIST: &str = "Entries.member.";

/// Names and values in the order in which they were written.
pub(super) type Form = Vec<(String, String)>;

pub(super) fn read(body: &[u8]) -> Form {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        (unescape(&pair[..at]), unescape(pair.get(at + 1..).unwrap_or_default()))
    });
    pairs.collect()
}

/// The fields of each member of the batch, by its number.
pub(super) fn members(form: &Form) -> BTreeMap<usize, BTreeMap<String, String>> {
    let mut members: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
    for (key, value) in form {
        if let Some((_, number, field)) = member(key) {
            members.entry(number).or_default().insert(field.to_owned(), value.clone());
        }
    }
    members
}

/// The form without some members of its batch, the others numbered without a gap.
pub(super) fn without(form: &Form, ids: &[String]) -> String {
    let gone: Vec<usize> = members(form)
        .into_iter()
        .filter(|(_, fields)| fields.get("Id").is_some_and(|id| ids.contains(id)))
        .map(|(number, _)| number)
        .collect();
    let pairs = form.iter().filter_map(|(key, value)| {
        let key = match member(key) {
            Some((_, number, _)) if gone.contains(&number) => return None,
            Some((list, number, field)) => {
                let before = gone.iter().filter(|other| **other < number).count();
                format!("{list}{LIST}{}.{field}", number - before)
            }
            None => key.clone(),
        };
        Some(format!("{}={}", escape(&key), escape(value)))
    });
    pairs.collect::<Vec<_>>().join("&")
}

pub(super) fn refusal(fault: &str, code: &str) -> String {
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{fault}</Type><Code>{code}</Code>\
         <Message>{MESSAGE}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
    )
}

pub(super) fn outcome<'i>(action: &str, taken: impl Iterator<Item = &'i str>) -> String {
    let member = |id| format!("<member><Id>{id}</Id><MessageId>{id}</MessageId></member>");
    let taken: String = taken.map(member).collect();
    format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result><Successful>{taken}</Successful><Failed/>\
         </{action}Result></{action}Response>"
    )
}

pub(super) fn with_failures(body: &[u8], ids: &[String], refusal: Refusal) -> String {
    let text = std::str::from_utf8(body).expect("an outcome is text");
    let kept = |list: &str| -> String {
        let inner = between(text, &format!("<{list}>"), &format!("</{list}>")).unwrap_or_default();
        let members = inner.split_inclusive("</member>").filter(|member| {
            between(member, "<Id>", "</Id>").is_some_and(|id| !ids.iter().any(|chosen| chosen == id))
        });
        members.collect()
    };
    let Refusal { code, sender_fault, .. } = refusal;
    let failures: String = ids
        .iter()
        .map(|id| {
            format!(
                "<member><Id>{id}</Id><Code>{code}</Code><Message>{MESSAGE}</Message>\
                 <SenderFault>{sender_fault}</SenderFault></member>"
            )
        })
        .collect();
    let (head, rest) = text.split_once("Result>").expect("an outcome has a result");
    let action = head.rsplit('<').next().expect("a split has a last part");
    let (_, tail) = rest.split_once(&format!("</{action}Result>")).expect("an outcome's result ends");
    let (successful, failed) = (kept("Successful"), kept("Failed"));
    format!(
        "{head}Result><Successful>{successful}</Successful><Failed>{failed}{failures}</Failed></{action}Result>{tail}"
    )
}

/// Splits a field's name into its list, the member's number and the field: `PublishBatchRequest`,
/// 3 and `Message`.
fn member(key: &str) -> Option<(&str, usize, &str)> {
    let (list, rest) = key.split_once(LIST)?;
    let (number, field) = rest.split_once('.')?;
    Some((list, number.parse().ok()?, field))
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(inner, _)| inner)
}

fn unescape(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let digits =
            tail.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(match (escaped, byte) {
            (Some(decoded), _) => decoded,
            (None, b'+') => b' ',
            (None, byte) => byte,
        });
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
