//! Text for people whose lines break between words.

use std::fmt::Display;
use std::io::{self, IsTerminal};

use crate::telemetry::steers_terminal;

/// Widest line, in characters. A word that is longer stays whole.
pub const COLUMNS_MAX: usize = 80;

/// Adds words behind what the line begins with. A line that gets too wide goes on below it, indented by so
/// many characters. Control characters are shown as escapes.
pub fn add_wrapped(text: &mut String, begin: &str, words: &str, indent: usize) {
    let mut line = harmless(begin);
    let mut is_begun = false;
    for word in words.split(' ') {
        let word = harmless(word);
        let width = line.chars().count() + word.chars().count() + 1;
        if is_begun && width > COLUMNS_MAX {
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(indent);
            is_begun = false;
        }
        if is_begun || (!line.is_empty() && !line.ends_with(' ')) {
            line.push(' ');
        }
        line.push_str(&word);
        is_begun = true;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// Says something to whoever runs the program: on stderr, and on a terminal in lines that it does not break.
pub fn notice(words: impl Display) {
    let words = words.to_string();
    match io::stderr().is_terminal() {
        true => eprint!("{}", narrow(&words)),
        false => eprintln!("{words}"),
    }
}

/// The lines of a text, each broken between words if it is too wide, and then indented a little more.
fn narrow(words: &str) -> String {
    let mut text = String::new();
    for line in words.lines() {
        let rest = line.trim_start_matches(' ');
        let begin = &line[..line.len() - rest.len()];
        add_wrapped(&mut text, begin, rest, begin.len() + 2);
    }
    text
}

/// A text in which what steers a terminal is written as an escape. A backslash stays one: these are words to
/// be read, and commands to be copied.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match steers_terminal(c) && c != '\\' {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(begin: &str, words: &str, indent: usize) -> String {
        let mut text = String::new();
        add_wrapped(&mut text, begin, words, indent);
        text
    }

    #[test]
    fn a_line_breaks_between_words_and_goes_on_under_its_words() {
        let words =
            "filtered: `select` is a list of 1 type and `call.created` is not on it (fanbridge.yaml:31:5)";
        let text = wrapped("  why:        ", words, 14);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS_MAX), "{text}");
        assert!(lines[0].starts_with("  why:        filtered:") && lines[1].starts_with("              "));
        let read: Vec<&str> = text.split_whitespace().skip(1).collect();
        assert_eq!(read.join(" "), words);
    }

    #[test]
    fn a_word_that_is_wider_than_a_line_stays_whole() {
        let long = "x".repeat(100);
        assert_eq!(wrapped("fix      ", &long, 9), format!("fix      {long}\n"));
    }

    #[test]
    fn each_line_of_a_notice_is_broken_by_itself() {
        let long =
            "a notice that goes on and on so that no terminal of eighty columns has room for all of it";
        let text = narrow(&format!("short\n  {long}"));
        assert!(text.starts_with("short\n  a notice"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{text}");
        assert!(text.ends_with("of it\n"), "{text}");
        assert!(text.lines().nth(2).is_some_and(|line| line.starts_with("    ")), "{text}");
    }

    #[test]
    fn what_steers_a_terminal_is_an_escape() {
        assert_eq!(wrapped("", "a\u{1b}[2J \\/", 4), "a\\u{1b}[2J \\/\n");
    }
}
