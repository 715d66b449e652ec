//! The rooms of the house: which stands on which, and that nobody looks up.

use std::collections::{BTreeMap, BTreeSet};

use super::{is_code, rust_files, sources};

/// The floors from the top down: a room uses rooms of lower floors only, and none of its own floor.
/// `docs/ARCHITECTURE.md` draws them.
const FLOORS: &[&[&str]] = &[
    &["cli"],
    &["bridge"],
    &["config"],
    &["admin"],
    &["dead_letter", "explain", "replay"],
    &["dispatch", "source"],
    &["sink"],
    &["state"],
    &["spool", "ack"],
    &["dedup", "disk", "admit", "timeline"],
    &["scalars"],
    &["provider", "selection", "routing", "aws", "health", "files", "clock", "shape"],
    &["event", "telemetry", "scarce", "trust", "backoff", "problem", "reference"],
];

/// Names that several public types may have, because their module says whose they are.
const SHARED_NAMES: &[&str] = &["Args", "Options", "Error"];

const COLUMNS_MAX: usize = 110;

#[test]
fn a_room_uses_rooms_below_it_and_none_beside_or_above() {
    let floor = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room));
    let mut strays = Vec::new();
    for (path, code) in sources() {
        let room = path.split(['/', '.']).next().unwrap_or_default();
        if room == "lib" || room == "main" {
            continue;
        }
        let Some(here) = floor(room) else {
            strays.push(format!("src/{path} is on no floor"));
            continue;
        };
        for used in rooms_named(&code).into_iter().filter(|used| used != room) {
            match floor(&used) {
                Some(there) if there > here => {}
                _ => strays.push(format!("src/{path} uses {used}, which does not stand below {room}")),
            }
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn what_tests_of_several_rooms_work_on_is_in_testing() {
    let borrowed = |(path, text): (String, String)| {
        let room = path.split(['/', '.']).next().unwrap_or_default().to_owned();
        let paths = text.match_indices("crate::").map(|(at, _)| {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            text[at..].split(|c| !is_path(c)).next().unwrap_or_default().to_owned()
        });
        let is_borrowed =
            |used: &String| used.contains("::tests::") && !used.starts_with(&format!("crate::{room}::"));
        paths.filter(is_borrowed).map(|used| format!("src/{path} names {used}")).collect::<Vec<_>>()
    };
    let borrowed: Vec<_> = rust_files("src").into_iter().flat_map(borrowed).collect();
    assert!(borrowed.is_empty(), "move these to src/testing/: {borrowed:#?}");
}

#[test]
fn no_two_public_types_have_one_name() {
    let mut homes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in sources() {
        for name in code.lines().filter_map(public_type) {
            homes.entry(name.to_owned()).or_default().insert(path.clone());
        }
    }
    homes.retain(|name, homes| homes.len() > 1 && !SHARED_NAMES.contains(&&**name));
    assert!(homes.is_empty(), "one name for several things: {homes:#?}");
}

#[test]
fn no_line_of_code_is_wide() {
    let files = ["src", "tests", "benches"].map(|dir| (dir, rust_files(dir)));
    let wide: Vec<_> = files
        .iter()
        .flat_map(|(dir, files)| files.iter().map(move |(path, text)| (dir, path, text)))
        .flat_map(|(dir, path, text)| {
            // What a test sends or expects stands as it is.
            let is_data = |line: &str| {
                let is_json = line.trim_start().starts_with('"') && line.contains("\":");
                is_json || line.contains("r#\"") || (*dir != "src" && line.contains('"') && is_code(line))
            };
            let lines = text.lines().enumerate();
            let wide = lines.filter(move |(_, line)| line.chars().count() > COLUMNS_MAX && !is_data(line));
            wide.map(move |(number, _)| format!("{dir}/{path}:{}", number + 1))
        })
        .collect();
    assert!(wide.is_empty(), "over {COLUMNS_MAX} columns: {wide:#?}");
}

/// The top-level modules that code names.
fn rooms_named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned);
    code.match_indices("crate::").filter_map(|(at, mark)| word(&code[at + mark.len()..])).collect()
}

/// The name of the type that a line begins to define, if it is public, however far.
fn public_type(line: &str) -> Option<&str> {
    let line = line.trim_start().strip_prefix("pub")?;
    let line = match line.strip_prefix('(') {
        Some(scope) => scope.split_once(')')?.1,
        None => line,
    };
    let (kind, rest) = line.trim_start().split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    matches!(kind, "struct" | "enum" | "trait" | "type" | "union").then_some(name)
}
