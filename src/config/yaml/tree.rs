//! Parses YAML into a tree in which every key and value knows where it is written.
//!
//! Scalars stay text until a schema says what they are, so that `no`, `1.10` and `0123` are not
//! converted by accident. Aliases are followed. Tags other than `!!str`, keys that are not text, and
//! further documents are refused. Depth and number of nodes are bounded, so that an alias bomb is an
//! error. Only this file knows the YAML parser.

use std::collections::HashMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, options};

/// Deepest nesting; no configuration has more.
const DEPTH_MAX: usize = 64;

/// Most values; no configuration has more. An alias counts as often as it is used.
const NODES_MAX: usize = 100_000;

/// A value and where it is written.
#[derive(Clone, Debug)]
pub struct Node {
    /// The bytes of the value in the text.
    pub span: Range<usize>,
    /// The value as written.
    pub value: NodeValue,
}

/// A value as written, without a type.
#[derive(Clone, Debug)]
pub enum NodeValue {
    /// A word, number or text.
    Scalar {
        /// The text after unquoting.
        text: String,
        /// Whether it was written without quotes, and so can be a number, a boolean or null.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text; a key can occur twice.
    Map(Vec<NodeEntry>),
}

/// A key of a mapping and its value.
#[derive(Clone, Debug)]
pub struct NodeEntry {
    /// The key.
    pub key: String,
    /// The bytes of the key in the text.
    pub key_span: Range<usize>,
    /// The key's value.
    pub node: Node,
}

/// Text that is not YAML, or YAML with parts that a configuration cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// The bytes at which the error was found.
    pub span: Range<usize>,
    /// What was found or expected. Contains no part of the text.
    pub message: String,
}

impl Node {
    /// The value of a key, if this is a mapping that has it and the value is not empty.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let NodeValue::Map(entries) = &self.value else { return None };
        let entry = entries.iter().find(|entry| entry.key == key)?;
        Some(&entry.node).filter(|node| !node.is_null())
    }

    /// Whether the value is empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        let is_null = |text: &str| matches!(text, "" | "~" | "null" | "Null" | "NULL");
        matches!(&self.value, NodeValue::Scalar { text, plain: true } if is_null(text))
    }

    /// The value as JSON; plain scalars follow the core rules of YAML 1.2.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            NodeValue::Scalar { text, plain: true } => plain_to_json(text),
            NodeValue::Scalar { text, .. } => text.clone().into(),
            NodeValue::List(items) => items.iter().map(Self::to_json).collect(),
            NodeValue::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
            }
        }
    }

    fn count(&self) -> usize {
        1 + match &self.value {
            NodeValue::Scalar { .. } => 0,
            NodeValue::List(items) => items.iter().map(Self::count).sum(),
            NodeValue::Map(entries) => entries.iter().map(|entry| entry.node.count()).sum(),
        }
    }

    fn depth(&self) -> usize {
        1 + match &self.value {
            NodeValue::Scalar { .. } => 0,
            NodeValue::List(items) => items.iter().map(Self::depth).max().unwrap_or(0),
            NodeValue::Map(entries) => entries.iter().map(|entry| entry.node.depth()).max().unwrap_or(0),
        }
    }
}

fn plain_to_json(text: &str) -> serde_json::Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => serde_json::Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        number => match number.parse::<i64>() {
            Ok(whole) => whole.into(),
            Err(_) if number.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) => {
                number
                    .parse::<f64>()
                    .ok()
                    .and_then(serde_json::Number::from_f64)
                    .map_or_else(|| number.into(), serde_json::Value::Number)
            }
            Err(_) => number.into(),
        },
    }
}

/// Parses one YAML document. An empty text is an empty mapping.
///
/// # Errors
/// At the first syntax error: the meaning of the text after it is not certain.
pub fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options! { emit_comments: false }) {
        let (event, span) = event.map_err(|error| {
            let start = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
            SyntaxError { span: start..start, message: error.kind().to_string() }
        })?;
        builder.take(event, range(span, text.len()))?;
    }
    Ok(builder.root.unwrap_or(Node { span: 0..0, value: NodeValue::Map(Vec::new()) }))
}

fn range(span: Span, end: usize) -> Range<usize> {
    span.byte_range().map_or(end..end, |range| range.start.min(end)..range.end.min(end))
}

/// A list or mapping whose end was not reached.
struct Open {
    start: usize,
    anchor: usize,
    /// The key whose value comes next.
    key: Option<(String, Range<usize>)>,
    value: NodeValue,
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Range<usize>) -> Result<(), SyntaxError> {
        let refuse = |message: &str| Err(SyntaxError { span: span.clone(), message: message.into() });
        if let Some(tag) = event.tag()
            && !tag.is_yaml_core_schema_tag("str")
        {
            return refuse("a configuration has no tags: remove it");
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                self.add(Node { span, value: NodeValue::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(node) => self.add(Node { span, value: node.value.clone() }, 0),
                None => refuse("an alias cannot be inside the value that it stands for"),
            },
            Event::SequenceStart(_, anchor, _) => self.begin(span, anchor, NodeValue::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => self.begin(span, anchor, NodeValue::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { start, anchor, value, .. }) => {
                    self.add(Node { span: start..span.end.max(start), value }, anchor)
                }
                None => refuse("an end without a beginning"),
            },
            Event::DocumentStart(..) if self.root.is_some() => refuse("a configuration has one document"),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, span: Range<usize>, anchor: usize, value: NodeValue) -> Result<(), SyntaxError> {
        if self.open.len() == DEPTH_MAX {
            return Err(SyntaxError { span, message: format!("nested deeper than {DEPTH_MAX} levels") });
        }
        self.open.push(Open { start: span.start, anchor, key: None, value });
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), SyntaxError> {
        self.check_bounds(&node)?;
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.value, open.key.take()) {
            (NodeValue::List(items), _) => items.push(node),
            (NodeValue::Map(entries), Some((key, key_span))) => {
                entries.push(NodeEntry { key, key_span, node })
            }
            (NodeValue::Map(_), None) => match node.value {
                NodeValue::Scalar { text, .. } => open.key = Some((text, node.span)),
                _ => return Err(SyntaxError { span: node.span, message: "a key must be text".into() }),
            },
            (NodeValue::Scalar { .. }, _) => unreachable!("only collections are opened"),
        }
        Ok(())
    }

    /// Checks the bounds. Collections are counted again when they close, which is exact enough for a
    /// bound.
    fn check_bounds(&mut self, node: &Node) -> Result<(), SyntaxError> {
        self.nodes += node.count();
        if self.nodes > NODES_MAX {
            return Err(SyntaxError {
                span: node.span.clone(),
                message: format!("more than {NODES_MAX} values, repetitions by aliases included"),
            });
        }
        if self.open.len() + node.depth() > DEPTH_MAX + 1 {
            return Err(SyntaxError {
                span: node.span.clone(),
                message: format!("nested deeper than {DEPTH_MAX} levels"),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        parse(text).expect("readable").to_json().to_string()
    }

    #[test]
    fn every_value_knows_where_it_stands() {
        let text = "a: 1\nb: [x, \"y\"]\n";
        let NodeValue::Map(entries) = parse(text).expect("readable").value else { panic!("a mapping") };
        assert_eq!(&text[entries[1].key_span.clone()], "b");
        let NodeValue::List(items) = &entries[1].node.value else { panic!("a list") };
        assert_eq!(&text[items[1].span.clone()], "\"y\"");
    }

    #[test]
    fn words_that_look_like_other_types_stay_text_when_quoted_or_not_of_yaml_1_2() {
        assert_eq!(
            json("[no, on, \"true\", true, '5', 5, 1.5, 0x10, ~, 2026-01-01]"),
            r#"["no","on","true",true,"5",5,1.5,"0x10",null,"2026-01-01"]"#
        );
    }

    #[test]
    fn an_alias_repeats_what_its_anchor_holds() {
        assert_eq!(json("a: &x [1, 2]\nb: *x\n"), r#"{"a":[1,2],"b":[1,2]}"#);
    }

    #[test]
    fn an_alias_bomb_is_an_error() {
        let mut text = String::from("l0: &l0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let before = level - 1;
            let uses = vec![format!("*l{before}"); 10].join(", ");
            text.push_str(&format!("l{level}: &l{level} [{uses}]\n"));
        }
        assert!(parse(&text).expect_err("too many").message.contains("aliases"));
    }

    #[test]
    fn nesting_is_bounded() {
        let text = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(parse(&text).expect_err("too deep").message, "nested deeper than 64 levels");
    }

    #[test]
    fn what_a_configuration_has_no_use_for_is_refused() {
        for text in ["a: !env X", "[a]: b", "a: 1\n---\nb: 2\n", "a: [1", "a: b: c"] {
            assert!(parse(text).is_err(), "{text:?} should be refused");
        }
    }
}
