//! Checks a tree of YAML against the JSON Schema of the configuration file: reports every problem with keys
//! and forms, and returns the usable part.
//!
//! Unlike a derived parser it does not stop at the first problem: an unusable part is reported and
//! left out, so that the rest can be checked for meaning. It supports only the parts of JSON Schema
//! that the generator uses for the types of `config::file` and of provider definitions.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Value as Json};

use super::spans::{KeySpan, Path, Spans};
use super::tree::{Node, NodeEntry, NodeValue};
use crate::config::report::{Problem, Report, Severity};
use crate::provider::nearest;
use crate::reference::FORMS;
use crate::scalars::{bounds_problem, form_expected, form_problem};

/// Checks `tree` against `schema` and adds problems to `report`. Returns the usable values, and where
/// everything is written.
pub fn check(tree: &Node, schema: &Json, report: &mut Report) -> (Json, Spans) {
    let mut walk = Walk { schema, report, places: Spans::default() };
    let json = walk.read(tree, schema, &Path::default(), 0..0).unwrap_or_else(|| Json::Object(Map::new()));
    (json, walk.places)
}

struct Walk<'w> {
    schema: &'w Json,
    report: &'w mut Report,
    places: Spans,
}

impl<'w> Walk<'w> {
    /// Reads a node by its schema; `None` if no part of it is usable. `owner` is the key or element
    /// to mark if the node itself spans lines.
    fn read(&mut self, node: &Node, schema: &'w Json, path: &Path, owner: Range<usize>) -> Option<Json> {
        let branches = self.branches(schema);
        match &node.value {
            NodeValue::Map(entries) => match branches.iter().find(|branch| admits(branch, "object")) {
                Some(branch) => Some(self.read_map(entries, branch, path, owner)),
                None => self.misplaced("a mapping", &branches, path, owner),
            },
            NodeValue::List(items) => match branches.iter().find(|branch| admits(branch, "array")) {
                Some(branch) => Some(self.read_list(items, branch, path)),
                None => self.misplaced("a list", &branches, path, owner),
            },
            // A key without a value, such as `http:`, is an empty block.
            NodeValue::Scalar { .. } if node.is_null() => {
                if let Some(branch) = branches.iter().find(|branch| admits(branch, "object")) {
                    Some(self.read_map(&[], branch, path, owner))
                } else if branches.iter().any(|branch| admits(branch, "array")) {
                    Some(Json::Array(Vec::new()))
                } else {
                    self.misplaced("nothing", &branches, path, owner)
                }
            }
            NodeValue::Scalar { text, plain } => self.read_scalar(text, *plain, node, &branches, path),
        }
    }

    fn read_map(
        &mut self,
        entries: &[NodeEntry],
        schema: &'w Json,
        path: &Path,
        owner: Range<usize>,
    ) -> Json {
        let mut read = Map::new();
        let mut seen: HashMap<&str, &Range<usize>> = HashMap::new();
        for NodeEntry { key, key_span, node } in entries {
            let inner = path.key(key);
            if let Some(first) = seen.insert(key, key_span) {
                let (line, _) = self.report.position_of(first.start);
                let label = format!("`{}` was given before", shown(key, path));
                let problem = self.error_at_key(key_span, path, &inner, "duplicate key", label);
                problem.notes.push(format!("first given on line {line}"));
                continue;
            }
            let Some(expected) = self.property(schema, key, key_span, path) else { continue };
            let multiline = matches!(node.value, NodeValue::Map(_) | NodeValue::List(_));
            let value = if multiline || node.is_null() { key_span.clone() } else { node.span.clone() };
            self.places.insert(inner.clone(), KeySpan { key: Some(key_span.clone()), value });
            // A known key without a value has its default, like a missing key.
            let is_default = node.is_null() && is_optional(schema, key) && !self.is_collection(expected);
            if is_default {
                continue;
            }
            if let Some(value) = self.read(node, expected, &inner, key_span.clone()) {
                read.insert(key.clone(), value);
            }
        }
        self.report_missing(schema, &seen, path, owner);
        Json::Object(read)
    }

    /// Reports a problem of a key in `path`. Where secrets belong, the key itself could be one and is
    /// not shown.
    fn error_at_key(
        &mut self,
        span: &Range<usize>,
        path: &Path,
        inner: &Path,
        title: &str,
        label: String,
    ) -> &mut Problem {
        let path = if path.holds_secrets() { path } else { inner };
        self.error(span.clone(), path, title, label)
    }

    /// The schema of a key's value. Reports an unknown key.
    fn property(
        &mut self,
        schema: &'w Json,
        key: &str,
        span: &Range<usize>,
        path: &Path,
    ) -> Option<&'w Json> {
        let known = schema.get("properties").and_then(Json::as_object);
        if let Some(property) = known.and_then(|known| known.get(key)) {
            return Some(property);
        }
        match schema.get("additionalProperties") {
            Some(Json::Bool(false)) => {
                let names: Vec<&str> =
                    known.into_iter().flat_map(|known| known.keys().map(String::as_str)).collect();
                let label = match nearest(key, names.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known keys: {}", names.join(", ")),
                };
                let title = format!("unknown key `{}`", shown(key, path));
                self.error_at_key(span, path, &path.key(key), &title, label);
                None
            }
            Some(values) => Some(values),
            None => Some(&Json::Bool(true)),
        }
    }

    fn report_missing(
        &mut self,
        schema: &Json,
        seen: &HashMap<&str, &Range<usize>>,
        path: &Path,
        owner: Range<usize>,
    ) {
        let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
        for key in required.filter_map(Json::as_str).filter(|key| !seen.contains_key(key)) {
            let here =
                if *path == Path::default() { "the configuration".into() } else { format!("`{path}`") };
            let title = format!("missing key `{key}`");
            self.error(owner.clone(), &path.key(key), &title, format!("{here} needs `{key}`"));
        }
    }

    fn read_list(&mut self, items: &[Node], schema: &'w Json, path: &Path) -> Json {
        let expected = schema.get("items").unwrap_or(&Json::Bool(true));
        let mut read = Vec::new();
        for item in items {
            // Usable elements are numbered; unusable ones are left out.
            let inner = path.index(read.len());
            self.places.insert(inner.clone(), KeySpan { key: None, value: item.span.clone() });
            read.extend(self.read(item, expected, &inner, item.span.clone()));
        }
        Json::Array(read)
    }

    fn read_scalar(
        &mut self,
        text: &str,
        plain: bool,
        node: &Node,
        branches: &[&'w Json],
        path: &Path,
    ) -> Option<Json> {
        let span = node.span.clone();
        if text.contains("${") {
            self.error(span, path, "text is not substituted", "`${…}` would be taken literally".into())
                .notes
                .push(format!("write the whole value as {FORMS} where a reference is allowed"));
            return None;
        }
        let words_here = || branches.iter().flat_map(|branch| words(branch));
        if words_here().any(|word| word == text) {
            return Some(text.into());
        }
        let open = branches.iter().find(|branch| words(branch).next().is_none() && admits_scalar(branch));
        let Some(branch) = open else {
            let label = match nearest(text, words_here()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("expected {}", describe(branches)),
            };
            self.error(span, path, "unknown value", label);
            return None;
        };
        match scalar(text, plain, node, branch, path) {
            Ok(value) => Some(value),
            Err((title, label)) => {
                let title = title.map_or_else(|| format!("invalid value for `{path}`"), str::to_owned);
                self.error(span, path, &title, label);
                None
            }
        }
    }

    fn misplaced(
        &mut self,
        found: &str,
        branches: &[&Json],
        path: &Path,
        owner: Range<usize>,
    ) -> Option<Json> {
        let label = format!("expected {}, found {found}", describe(branches));
        self.error(owner, path, &format!("invalid value for `{path}`"), label);
        None
    }

    fn error(&mut self, span: Range<usize>, path: &Path, title: &str, label: String) -> &mut Problem {
        self.report.add(Problem {
            severity: Severity::Error,
            title: title.into(),
            label,
            notes: Vec::new(),
            span,
            path: path.to_string(),
            passes: false,
        })
    }

    /// The alternatives of a schema, with references followed.
    fn branches(&self, schema: &'w Json) -> Vec<&'w Json> {
        let schema = self.follow(schema);
        let alternatives = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array);
        match alternatives {
            Some(alternatives) => alternatives.iter().flat_map(|branch| self.branches(branch)).collect(),
            None => vec![schema],
        }
    }

    fn follow(&self, schema: &'w Json) -> &'w Json {
        match schema.get("$ref").and_then(Json::as_str).and_then(|name| name.strip_prefix('#')) {
            Some(pointer) => self.schema.pointer(pointer).unwrap_or(&Json::Null),
            None => schema,
        }
    }

    fn is_collection(&self, schema: &'w Json) -> bool {
        self.branches(schema).iter().any(|branch| admits(branch, "object") || admits(branch, "array"))
    }
}

/// Whether a key is known here and not required.
fn is_optional(schema: &Json, key: &str) -> bool {
    let required = schema.get("required").and_then(Json::as_array);
    let is_required = required.is_some_and(|keys| keys.iter().any(|name| name == key));
    schema.get("properties").is_some_and(|known| known.get(key).is_some()) && !is_required
}

/// A key as it is shown in messages. Where secrets belong it is hidden, because it could be one.
fn shown<'k>(key: &'k str, path: &Path) -> &'k str {
    if path.holds_secrets() { "…" } else { key }
}

/// Whether a branch accepts values of this JSON type.
fn admits(branch: &Json, kind: &str) -> bool {
    match branch.get("type") {
        Some(Json::String(only)) => only == kind,
        Some(Json::Array(kinds)) => kinds.iter().any(|one| one == kind),
        _ => *branch == Json::Bool(true),
    }
}

fn admits_scalar(branch: &Json) -> bool {
    ["string", "integer", "number", "boolean"].iter().any(|kind| admits(branch, kind))
}

/// The words to which a branch is limited.
fn words(branch: &Json) -> impl Iterator<Item = &str> + Clone {
    let listed = branch.get("enum").and_then(Json::as_array).into_iter().flatten();
    listed.chain(branch.get("const")).filter_map(Json::as_str)
}

/// A scalar in the type of the branch, or what is wrong with it, with a title if the general one says less.
fn scalar(
    text: &str,
    plain: bool,
    node: &Node,
    branch: &Json,
    path: &Path,
) -> Result<Json, (Option<&'static str>, String)> {
    let format = branch.get("format").and_then(Json::as_str).unwrap_or_default();
    if let Some(problem) = form_problem(format, text) {
        return Err((None, problem));
    }
    if let Some((title, problem)) = bounds_problem(format, text, branch, &path.to_string()) {
        return Err((Some(title), problem));
    }
    if *branch == Json::Bool(true) {
        return Ok(node.to_json());
    }
    if form_expected(format).is_some() || admits(branch, "string") {
        return Ok(text.into());
    }
    let value = if plain { node.to_json() } else { Json::Null };
    let wrong = || format!("expected {}, found `{}`", describe(&[branch]), text.escape_debug());
    match &value {
        Json::Bool(_) if admits(branch, "boolean") => Ok(value),
        Json::Number(number) if number.is_i64() && admits(branch, "integer") => {
            in_range(number, branch).map(|()| value).map_err(|problem| (None, problem))
        }
        Json::Number(_) if admits(branch, "number") => Ok(value),
        _ => Err((None, wrong())),
    }
}

fn in_range(number: &serde_json::Number, branch: &Json) -> Result<(), String> {
    let bound = |name: &str| branch.get(name).and_then(Json::as_i64);
    let (low, high) = (bound("minimum").unwrap_or(i64::MIN), bound("maximum").unwrap_or(i64::MAX));
    match number.as_i64() {
        Some(value) if (low..=high).contains(&value) => Ok(()),
        _ if high == i64::MAX => Err(format!("expected at least {low}, found {number}")),
        _ => Err(format!("expected {low} to {high}, found {number}")),
    }
}

/// A phrase for the values that the branches accept.
fn describe(branches: &[&Json]) -> String {
    let mut kinds: Vec<String> = Vec::new();
    for branch in branches {
        let format = branch.get("format").and_then(Json::as_str).and_then(form_expected);
        let words: Vec<String> = words(branch).map(|word| format!("`{word}`")).collect();
        if !words.is_empty() {
            kinds.extend(words);
        } else if let Some(form) = format {
            kinds.push(form.into());
        } else {
            let of_type = [
                ("object", "a mapping"),
                ("array", "a list"),
                ("string", "text"),
                ("integer", "a whole number"),
                ("number", "a number"),
                ("boolean", "`true` or `false`"),
            ];
            kinds.extend(
                of_type.iter().filter(|(kind, _)| admits(branch, kind)).map(|(_, name)| (*name).into()),
            );
        }
    }
    kinds.dedup();
    match kinds.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".into(),
    }
}
