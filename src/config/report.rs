//! The report of all problems of a configuration, each with its place, for people and for programs.
//!
//! The text that is shown around a problem passes through [`mask`], so that a secret pasted instead
//! of a reference reaches no terminal, log or build output.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Whether a problem makes the configuration unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but is probably not what was meant.
    Warning,
}

/// A problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the problem makes the configuration unusable.
    pub severity: Severity,
    /// The kind of problem, in a few words.
    pub title: String,
    /// What was found at the marked place, and what was expected.
    pub label: String,
    /// What to do, and further facts.
    pub notes: Vec<String>,
    /// The bytes of the text to mark.
    pub span: Range<usize>,
    /// Path of the key, such as `sources.stream.provider`.
    pub path: String,
    /// Whether it can be over without a change of the configuration, as an outage of AWS is.
    pub passes: bool,
}

impl Problem {
    /// Whether the problem makes the configuration unusable.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// All problems of one configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    origin: String,
    text: String,
    problems: Vec<Problem>,
}

impl Report {
    /// A report without problems. `origin` names the text, usually by its file; `known_keys` are those of
    /// a configuration, at which a secret in a one-line mapping ends.
    pub fn new(origin: &str, text: &str, known_keys: &HashSet<String>) -> Self {
        Self { origin: origin.into(), text: mask(text, known_keys), problems: Vec::new() }
    }

    /// Whether nothing is wrong but what can be over by itself.
    pub fn passes(&self) -> bool {
        self.has_errors() && self.problems.iter().all(|problem| problem.passes || !problem.is_error())
    }

    /// Adds a problem. A span over several lines is cut to the first line.
    pub fn add(&mut self, mut problem: Problem) -> &mut Problem {
        let start = self.text.floor_char_boundary(problem.span.start);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |length| start + length);
        let end = self.text.floor_char_boundary(problem.span.end);
        problem.span = start..end.clamp(start, line_end);
        let at = self.problems.partition_point(|other| other.span.start <= start);
        self.problems.insert(at, problem);
        &mut self.problems[at]
    }

    /// Takes the problems of a key at the top, and of what is in it, out into a report of their own.
    pub(super) fn split_off(&mut self, key: &str) -> Self {
        let is_of_key = |problem: &Problem| problem.path.split('.').next() == Some(key);
        let (taken, left) = self.problems.drain(..).partition(is_of_key);
        self.problems = left;
        Self { origin: self.origin.clone(), text: self.text.clone(), problems: taken }
    }

    /// Adds the problems of another report on the same text.
    pub fn join(&mut self, other: Self) {
        for problem in other.problems {
            self.add(problem);
        }
    }

    /// The problems in the order of their places.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether a problem makes the configuration unusable.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// Line and column of a problem, both counted from 1, the column in characters.
    pub fn position(&self, problem: &Problem) -> (usize, usize) {
        self.position_of(problem.span.start)
    }

    /// Line and column of a byte of the text, counted from 1, the column in characters.
    pub(super) fn position_of(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The problems for people: title, `file:line:column`, the marked line, and notes.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let groups: Vec<String> =
            self.problems.iter().map(|problem| renderer.render(&[self.group(problem)])).collect();
        groups.join("\n\n")
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let level = match problem.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        // A span without a width, such as the end of a line, is marked with one character.
        let end = self.text.ceil_char_boundary(problem.span.end.max(problem.span.start + 1));
        let mark = AnnotationKind::Primary.span(problem.span.start..end).label(&problem.label);
        let snippet = Snippet::source(&self.text).path(&self.origin).fold(true).annotation(mark);
        let group = level.primary_title(&problem.title).element(snippet);
        group.elements(problem.notes.iter().map(|note| Level::NOTE.no_name().message(note)))
    }

    /// The problems for programs, as a JSON array.
    pub fn to_json(&self) -> serde_json::Value {
        let problem = |problem: &Problem| {
            let (line, column) = self.position(problem);
            serde_json::json!({
                "severity": problem.severity, "file": self.origin, "line": line, "column": column,
                "path": problem.path, "title": problem.title, "label": problem.label, "notes": problem.notes,
            })
        };
        self.problems.iter().map(problem).collect()
    }
}

impl fmt::Debug for Report {
    /// The rendered form, in which the text is masked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// Words in a key whose value is expected to be a secret.
const SENSITIVE: [&str; 7] = ["secret", "password", "passwd", "token", "credential", ".pem", "headers"];

/// Beginnings of words after such a key that belong to the form and are not masked.
const HARMLESS: [&str; 8] =
    ["env:", "file:", "aws-sm:", "aws-ssm:", "secret:", "secrets:", "not_before:", "not_after:"];

/// Replacements for characters of 1, 2, 3 and 4 bytes, so that no byte offset changes.
const FILLERS: [char; 4] = ['*', '·', '•', '🞄'];

/// Replaces every character where a secret is expected.
///
/// Works on lines and needs no valid YAML, because a text that cannot be parsed is shown as well.
/// Masks everything after a sensitive key: its line up to the next known key of the same mapping,
/// and the lines that belong to it. It masks too much rather than too little.
fn mask(text: &str, known_keys: &HashSet<String>) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut sensitive_indent = None;
    for line in text.split_inclusive('\n') {
        let body = line.trim_start_matches([' ', '-', '?']);
        let indent = line.len() - line.trim_start_matches(' ').len();
        let belongs = sensitive_indent.is_some_and(|outer| {
            indent > outer
                || (indent == outer && line[indent..].starts_with(['-', ']', '}']))
                || body.trim().is_empty()
        });
        if belongs {
            mask_words(line, &mut masked);
            continue;
        }
        let mut rest = line;
        sensitive_indent = None;
        while let Some(key_end) = sensitive_key_end(rest) {
            sensitive_indent = Some(indent);
            let (shown, behind) = rest.split_at(key_end);
            let in_mapping = line[..line.len() - behind.len()].contains('{');
            let (hidden, next) =
                behind.split_at(if in_mapping { value_end(behind, known_keys) } else { behind.len() });
            masked.push_str(shown);
            mask_words(hidden, &mut masked);
            rest = next;
        }
        masked.push_str(rest);
    }
    masked
}

/// The offset after the first sensitive key of a line and its colon.
fn sensitive_key_end(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let at = SENSITIVE.iter().filter_map(|word| lower.find(word)).min()?;
    line[at..].find(':').map(|colon| at + colon + 1)
}

/// The longest possible value at the beginning of a line: it ends at the next key that a
/// configuration knows, in the same one-line mapping or one around it. Text after any other comma
/// can be part of the secret.
fn value_end(line: &str, known_keys: &HashSet<String>) -> usize {
    let (mut depth, mut quote, mut escaped) = (0_i32, None, false);
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some('"'), '\\') => escaped = true,
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, ',') if depth <= 0 && begins_with_known_key(&line[at + 1..], known_keys) => return at,
            (None, _) => {}
        }
    }
    line.len()
}

fn begins_with_known_key(text: &str, known: &HashSet<String>) -> bool {
    text.starts_with(' ') && text.trim_start().split_once(": ").is_some_and(|(key, _)| known.contains(key))
}

fn mask_words(text: &str, masked: &mut String) {
    const BETWEEN: [char; 10] = [' ', '\t', '\r', '\n', ',', '[', ']', '{', '}', '#'];
    for piece in text.split_inclusive(BETWEEN) {
        let word = piece.trim_end_matches(BETWEEN);
        let bare = word.trim_start_matches(['"', '\'']);
        if bare == "-" || HARMLESS.iter().any(|harmless| bare.starts_with(harmless)) {
            masked.push_str(piece);
        } else {
            masked.extend(word.chars().map(|c| FILLERS[c.len_utf8() - 1]));
            masked.push_str(&piece[word.len()..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::known_keys;

    #[test]
    fn a_problem_is_rendered_with_its_place_and_advice() {
        let mut report = Report::new("fanbridge.yaml", "select:\n  - call.ringg\n", known_keys());
        report.add(Problem {
            severity: Severity::Error,
            title: "unknown event type".into(),
            label: "did you mean `call.ring`?".into(),
            notes: vec!["see `fanbridge types`".into()],
            span: 12..22,
            path: "select[0]".into(),
            passes: false,
        });
        let rendered = report.to_string();
        assert!(rendered.contains("--> fanbridge.yaml:2:5"), "{rendered}");
        assert!(
            rendered.contains("2 |   - call.ringg\n  |     ^^^^^^^^^^ did you mean `call.ring`?"),
            "{rendered}"
        );
        assert!(rendered.contains("= see `fanbridge types`"), "{rendered}");
    }

    #[test]
    fn what_stands_where_a_secret_belongs_is_never_shown() {
        let shapes = [
            "secrets: [CANARY, env:A]",
            "secrets:\n  - CANARY\n  - \"CANARY\"\n",
            "secrets:\n- CANARY\nselect: all\n",
            "secrets: [\n  CANARY,\n  ]\n",
            "traces:\n  headers:\n    authorization: CANARY CANARY\n",
            "traces: { endpoint: x, headers: { authorization: CANARY } }",
            "a: { secret: CANARY, b: c }",
            "sasl.password: CANARY # CANARY",
            "TOKEN : CANARY",
            "secrets: |\n  CANARY\n\n  CANARY\n",
            "secrets: [\"CANARY",
            "secrets: [é€𝄞CANARY] # é",
            // What looks like the next key and is a part of the value, or of another one.
            "a: { password: CANARY,CANARY, CANARY, CANARY: CANARY, provider: x }",
            "a: { password: \"CANARY\\\", app: CANARY\", provider: x }",
            "a: { password: 'CANARY'', app: CANARY', provider: x }",
            "a: { secrets: [CANARY, app: CANARY], provider: x, token: CANARY }",
            "a: { secrets: [CANARY, { app: CANARY }, app: CANARY",
            "a: { password: CANARY[, app: CANARY }",
            "a: { password: CANARY,app: CANARY }",
            "password: CANARY, app: CANARY",
            "a: { secrets: [x], app: b, secrets: [CANARY], sasl: { password: CANARY } }",
        ];
        for text in shapes {
            let masked = mask(text, known_keys());
            assert!(!masked.contains("CANARY"), "{masked}");
            let places = |text: &str| text.char_indices().map(|(place, _)| place).collect::<Vec<_>>();
            assert_eq!(places(&masked), places(text), "places must stay where they are");
        }
    }

    #[test]
    fn references_and_everything_else_stay_readable() {
        let text = "secrets: [env:A, \"file:/b\", { secret: env:C, not_before: 2026-01-01 }]\nselect: all\n";
        let shown = "secrets: [env:A, \"file:/b\", { secret: env:C, not_before: ********** }]\nselect: all\n";
        assert_eq!(mask(text, known_keys()), shown);
    }

    #[test]
    fn what_stands_beside_a_secret_in_a_one_line_mapping_stays_readable() {
        for (text, shown) in [
            ("a: { secrets: [whsec_abc], provider: strem }", "a: { secrets: [*********], provider: strem }"),
            ("a: { provider: strem, secrets: [whsec_abc] }", "a: { provider: strem, secrets: [*********] }"),
            (
                "b: { kafka: { sasl: { password: \"a, b\", username: me }, brokers: x }, topic: y }",
                "b: { kafka: { sasl: { password: **, **, username: me }, brokers: x }, topic: y }",
            ),
            (
                "{ token: abc, listen: d }, http: { listen: e }",
                "{ token: ***, listen: d }, http: { listen: e }",
            ),
        ] {
            assert_eq!(mask(text, known_keys()), shown);
        }
    }
}
