//! `--set PATH=VALUE`: sets a value in a body and, in a sample, in everything that refers to it.

use serde_json::Value;

/// A path in the body and the value to set there.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Assignment {
    path: Vec<String>,
    value: Value,
}

/// Parses one `--set` argument.
pub(in crate::cli) fn assignment(text: &str) -> Result<Assignment, String> {
    let (path, value) = text.split_once('=').ok_or("expected PATH=VALUE, such as `call.id=abc`")?;
    if path.split('.').any(str::is_empty) {
        return Err(format!("`{path}` is not a path, expected names with dots between them"));
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok(Assignment { path: path.split('.').map(Into::into).collect(), value })
}

impl Assignment {
    /// Sets the value in a document. With `follow`, a new id also replaces the former one everywhere
    /// else.
    pub(in crate::cli) fn apply(&self, mut document: Value, follow: bool) -> Result<Value, String> {
        let place = place(&mut document, &self.path)?;
        let former = std::mem::replace(place, self.value.clone());
        if follow
            && self.is_of_an_id()
            && let (Value::String(former), Value::String(id)) = (&former, &self.value)
        {
            refer(&mut document, former, id);
        }
        Ok(document)
    }

    /// Whether the last name in the path says that the value is an id: `id`, `cid`, `user_id`,
    /// `streamId`.
    fn is_of_an_id(&self) -> bool {
        let name = self.path.last().map_or("", String::as_str);
        name.ends_with("id") || name.ends_with("Id")
    }
}

/// The value at a path in a document. Missing objects on the way are created.
fn place<'d>(document: &'d mut Value, path: &[String]) -> Result<&'d mut Value, String> {
    path.iter().try_fold(document, |value, step| {
        let index: Option<usize> = step.parse().ok();
        match value {
            Value::Array(values) => index.and_then(|index| values.get_mut(index)),
            Value::Object(members) => {
                Some(members.entry(step).or_insert(Value::Object(serde_json::Map::new())))
            }
            _ => None,
        }
        .ok_or_else(|| format!("--set: the body has no value that could be set at `{}`", path.join(".")))
    })
}

/// Replaces the former id in every text that is the id or ends with `:` and the id (`default:abc`).
fn refer(value: &mut Value, former: &str, id: &str) {
    match value {
        Value::String(text) => {
            let before =
                text.strip_suffix(former).filter(|before| before.is_empty() || before.ends_with(':'));
            if let Some(before) = before {
                *text = format!("{before}{id}");
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| refer(value, former, id)),
        Value::Object(members) => members.values_mut().for_each(|value| refer(value, former, id)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(document: Value, text: &str, follow: bool) -> Value {
        assignment(text).and_then(|assignment| assignment.apply(document, follow)).expect("a place")
    }

    #[test]
    fn a_value_is_set_where_its_path_says() {
        let mut document = json!({ "call": { "id": "a" }, "members": [{ "id": "b" }] });
        for text in ["call.id=c", "call.custom.deep=5", "members.0.id=\"7\"", "new=text"] {
            document = set(document, text, false);
        }
        let expected = json!({
            "call": { "id": "c", "custom": { "deep": 5 } }, "members": [{ "id": "7" }], "new": "text",
        });
        assert_eq!(document, expected);
    }

    #[test]
    fn what_refers_to_an_id_follows_it() {
        let document = json!({
            "call": { "id": "a", "cid": "default:a", "type": "a" }, "call_cid": "default:a",
            "members": ["a", "ba", "a:b"],
        });
        let expected = json!({
            "call": { "id": "b", "cid": "default:b", "type": "b" }, "call_cid": "default:b",
            "members": ["b", "ba", "a:b"],
        });
        assert_eq!(set(document.clone(), "call.id=b", true), expected);
        assert_eq!(set(document.clone(), "call_cid=x", true)["call"]["cid"], "x");
        assert_eq!(set(document.clone(), "call.type=b", true)["call"]["id"], "a", "this is no id");
        assert_eq!(set(document, "call.id=b", false)["call_cid"], "default:a", "what was given stays");
    }

    #[test]
    fn a_path_that_leads_nowhere_is_refused() {
        assert!(
            assignment("no-value").is_err() && assignment("a..b=1").is_err() && assignment("=1").is_err()
        );
        assert!(place(&mut json!({ "a": 1 }), &["a".into(), "b".into()]).is_err());
        assert!(place(&mut json!({ "a": [] }), &["a".into(), "0".into()]).is_err());
    }
}
