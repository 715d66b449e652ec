//! The documents are kept true: what they link to, name and list is there, and they stay readable.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{read, rust_files};

/// The README meets a reader before anything has run, and so is short.
const README_BYTES_MAX: usize = 9_000;
/// The documents that stand where a reader looks for them first.
const AT_THE_ROOT: &[&str] = &["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
/// Columns of a line that is no table and no code.
const COLUMNS_MAX: usize = 110;

#[test]
fn every_link_of_a_document_leads_to_a_file_and_a_heading() {
    let mut broken = Vec::new();
    for (document, text) in documents() {
        let dir = document.parent().expect("a file is in a directory");
        for link in links(&text).filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { document.clone() } else { plain(&dir.join(path)) };
            let there = root().join(&target);
            let found = if anchor.is_empty() {
                there.exists()
            } else {
                there.is_file() && anchors(&read(&target)).contains(anchor)
            };
            if !found {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

#[test]
fn every_guarantee_names_tests_and_each_of_them_exists() {
    let guarantees = read(Path::new("docs/GUARANTEES.md"));
    let all: String = ["src", "tests"].iter().flat_map(|dir| rust_files(dir)).map(|(_, text)| text).collect();
    let promises: Vec<&str> = guarantees
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| What holds |"))
        .collect();
    assert!(promises.len() >= 60, "one row for each guarantee, found {}", promises.len());
    let bare: Vec<_> = promises.iter().filter(|row| tests_in(row).next().is_none()).collect();
    assert!(bare.is_empty(), "guarantees that no test proves: {bare:#?}");
    let missing: Vec<_> =
        tests_in(&guarantees).filter(|name| !all.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "named in docs/GUARANTEES.md and not there: {missing:#?}");
}

#[test]
fn every_test_that_is_to_stop_a_threat_exists() {
    let security = read(Path::new("SECURITY.md"));
    let all: String = ["src", "tests"].iter().flat_map(|dir| rust_files(dir)).map(|(_, text)| text).collect();
    let named: Vec<&str> = tests_in(&security).collect();
    assert!(named.len() >= 30, "found only {named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !all.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "named in SECURITY.md and not there: {missing:#?}");
    // Sentences of scripts stand in quotes behind the script's name; `…` is for what is left out.
    let scripts: String = scripts_in(Path::new("tests/deploy")).concat();
    let rows = security.lines().filter(|line| line.contains("`tests/deploy/"));
    let sentences: Vec<&str> = rows.flat_map(|row| row.split('"').skip(1).step_by(2)).collect();
    assert!(sentences.len() >= 8, "found only {sentences:?}");
    let missing: Vec<_> = sentences
        .iter()
        .map(|sentence| sentence.trim_end_matches([' ', '…']))
        .filter(|sentence| !scripts.contains(&format!("\"{sentence}")))
        .collect();
    assert!(missing.is_empty(), "no script of tests/deploy checks: {missing:#?}");
}

fn scripts_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(root().join(dir)).expect("a directory of scripts");
    let paths = entries.map(|entry| dir.join(entry.expect("an entry").file_name()));
    paths
        .flat_map(|path| match path.extension() {
            Some(ending) if ending == "sh" => vec![read(&path)],
            None if root().join(&path).is_dir() => scripts_in(&path),
            _ => Vec::new(),
        })
        .collect()
}

#[test]
fn every_file_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for (document, text) in documents() {
        let named = inline_code(&text).filter(|word| names_a_file(word));
        missing.extend(
            named.filter(|path| !is_there(path)).map(|path| format!("{}: {path}", document.display())),
        );
    }
    assert!(missing.is_empty(), "neither below the repository nor below src/: {missing:#?}");
}

#[test]
fn every_room_of_the_source_is_on_the_map_and_no_other() {
    let readme = read(Path::new("README.md"));
    let map =
        readme.split("## The map").nth(1).and_then(|rest| rest.split("```").nth(1)).expect("it has a map");
    let left = |line: &str| line.chars().take(29).collect::<String>();
    let left: Vec<String> = map.lines().skip(1).map(left).collect();
    let named: Vec<&str> = left.iter().flat_map(|line| line.split_whitespace()).collect();
    let missing: Vec<_> = named.iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "on the map and not there: {missing:?}");
    let unnamed: Vec<_> =
        rooms().into_iter().filter(|room| !named.iter().any(|name| name.ends_with(room))).collect();
    assert!(unnamed.is_empty(), "not on the map: {unnamed:?}");
}

#[test]
fn the_readme_is_short_and_no_line_of_a_document_is_wide() {
    let bytes = read(Path::new("README.md")).len();
    assert!(bytes <= README_BYTES_MAX, "README.md has {bytes} bytes; what is for one reader goes into docs/");
    let mut wide = Vec::new();
    for (document, text) in documents() {
        for (number, line) in prose(&text).filter(|(_, line)| line.chars().count() > COLUMNS_MAX) {
            wide.push(format!("{}:{number}: {line}", document.display()));
        }
    }
    assert!(wide.is_empty(), "wrap these at {COLUMNS_MAX} columns: {wide:#?}");
}

/// The documents of the repository, by their paths from its root.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<_> = AT_THE_ROOT.iter().map(PathBuf::from).collect();
    let docs = fs::read_dir(root().join("docs")).expect("the documents");
    paths.extend(docs.map(|entry| Path::new("docs").join(entry.expect("readable").file_name())));
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "md"));
    paths.sort();
    assert!(paths.len() >= 9, "found only {paths:?}");
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A path without its `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
        plain
    })
}

/// The lines of a document outside of its code blocks, counted from 1.
fn text_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!in_code && !fence).then_some((index + 1, line))
    })
}

/// The lines that are wrapped: tables are as wide as they are.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text_lines(text).filter(|(_, line)| !line.starts_with('|'))
}

/// Where the links of a document lead to.
fn links(text: &str) -> impl Iterator<Item = String> {
    // A link may be wrapped between its words, never within its target.
    let text: Vec<&str> = text_lines(text).map(|(_, line)| line).collect();
    let text = text.join("\n");
    let targets: Vec<String> = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(to, _)| to.to_owned())
        .collect();
    targets.into_iter()
}

/// The anchors of a document's headings, made as the usual renderers make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text_lines(text).filter_map(|(_, line)| line.strip_prefix('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// What stands in backticks in a document, outside of its code blocks.
fn inline_code(text: &str) -> impl Iterator<Item = String> {
    let words: Vec<String> = text_lines(text)
        .flat_map(|(_, line)| line.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    words.into_iter()
}

/// The names of tests in a text: sentences in backticks.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|word| {
        word.matches('_').count() >= 3
            && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
    })
}

/// Whether a word is the path of a file of this repository, and not a name that a user gives.
fn names_a_file(word: &str) -> bool {
    let ending = Path::new(word).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    word.contains('/')
        // Such a path is one of the machine that runs a bridge.
        && !word.starts_with('/')
        && ["rs", "yaml", "json", "sh", "tsv", "md"].contains(&ending)
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-'))
}

/// Whether a path leads somewhere from the root of the repository or from `src/`.
fn is_there(path: &str) -> bool {
    root().join(path).exists() || root().join("src").join(path).exists()
}

/// What is directly under `src/`: a file, or a directory that has no file of its name beside it.
fn rooms() -> Vec<String> {
    let entries = fs::read_dir(root().join("src")).expect("the source");
    let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let own = |name: &String| !["lib.rs", "main.rs"].contains(&name.as_str());
    let has_file = |name: &String| root().join("src").join(format!("{name}.rs")).exists();
    let rooms = names.filter(own).filter(|name| !has_file(name));
    rooms.map(|name| if name.ends_with(".rs") { name } else { name + "/" }).collect()
}
