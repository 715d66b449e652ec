//! What stands at the end of each verb's help: examples, and what the exit codes mean.
//!
//! Shell completions and man pages are made of the same command, so they say the same.

mod exits;
mod running_verbs;
mod verbs;

use std::fmt::Write as _;

use clap::{Command, CommandFactory, FromArgMatches};

use super::Cli;

/// The end of one verb's help.
#[derive(Debug)]
struct VerbHelp {
    /// The verb, such as `dead list`; empty for the program itself.
    verb: &'static str,
    /// What each example does, and its line.
    examples: &'static [(&'static str, &'static str)],
    /// The exit codes and what they mean.
    exits: &'static [(u8, &'static str)],
}

/// Reads the command line; prints help or what is wrong with it, and ends the process, if that is due.
pub fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The command line with the end of each verb's help.
pub(super) fn command() -> Command {
    with_end(Cli::command(), "")
}

fn with_end(command: Command, verb: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| {
        let inner = if verb.is_empty() { name.clone() } else { format!("{verb} {name}") };
        command.mut_subcommand(name, |command| with_end(command, &inner))
    });
    match help_of(verb) {
        Some(help) => command.after_help(end(help)),
        None => command,
    }
}

/// The end of this verb's help, if it has one.
fn help_of(verb: &str) -> Option<&'static VerbHelp> {
    verbs::VERBS.iter().chain(running_verbs::VERBS).find(|help| help.verb == verb)
}

/// The text of the end of a verb's help. Its lines fit 80 columns, so that no terminal breaks them.
fn end(help: &VerbHelp) -> String {
    let mut text = String::from("Examples:");
    for (what, line) in help.examples {
        // Writing into a text does not fail.
        let _ = write!(text, "\n  # {what}\n  {line}");
    }
    text.push_str("\n\nExit codes:");
    for (code, meaning) in help.exits {
        let _ = write!(text, "\n  {code:>2}  {meaning}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every verb of a command, with the command.
    fn verbs(command: &Command, path: &str, found: &mut Vec<(String, Command)>) {
        found.push((path.to_owned(), command.clone()));
        for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
            verbs(inner, format!("{path} {}", inner.get_name()).trim(), found);
        }
    }

    fn all() -> Vec<(String, Command)> {
        let mut found = Vec::new();
        verbs(&command(), "", &mut found);
        found
    }

    #[test]
    fn every_verb_has_examples_and_exit_codes_within_eighty_columns() {
        for (verb, command) in all() {
            let help = help_of(&verb);
            let help = help.unwrap_or_else(|| panic!("add examples of `{verb}` to src/cli/help/"));
            assert!(!help.examples.is_empty() && help.exits.iter().any(|(code, _)| *code == 0), "{verb}");
            let end = end(help);
            assert!(end.lines().all(|line| line.chars().count() <= 80), "{verb}: {end}");
            assert_eq!(command.get_after_help().map(ToString::to_string), Some(end), "{verb}");
        }
    }

    #[test]
    fn every_example_is_a_command_line_of_its_verb() {
        for (verb, _) in all() {
            let help = help_of(&verb).expect("it has one");
            for (_, line) in help.examples {
                assert!(line.starts_with(&format!("fanbridge {verb}").trim().to_owned()), "{verb}: {line}");
                let words = line.split(" > ").next().unwrap_or_default().split_whitespace();
                let parsed = command().try_get_matches_from(words);
                parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }

    #[test]
    fn the_command_is_sound() {
        command().debug_assert();
    }
}
