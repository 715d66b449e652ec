//! What the keys do while `tail` runs on a terminal.

use std::io;

use tokio::sync::mpsc::Receiver;

use super::super::client::Client;
use super::super::output::print_while_read;
use super::super::{Failure, explain};
use super::Tail;
use super::keys::Key;
use super::lines::remark;
use super::terminal::{KeyTerminal, SignalWish, TerminalSignals, has_terminal, read_keys, size};
use crate::telemetry::Shown;
use crate::timeline::{Step, StepKind};

/// Fewest characters of an id by which `explain` finds an event.
const ID_CHARS_MIN: usize = 4;

/// The keys of the terminal, and the signals whose effect on it has to be undone.
#[derive(Debug)]
pub(in crate::cli) struct Keyboard {
    /// `None` if its mode cannot be changed, and so there are no keys.
    terminal: Option<KeyTerminal<io::Stdin>>,
    keys: Option<Receiver<Key>>,
    signals: TerminalSignals,
}

/// What comes from the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum KeyboardEvent {
    /// A key.
    Key(Key),
    /// A signal that ends the process, by the exit code that a shell reports for it.
    End(i32),
}

impl Keyboard {
    /// The keyboard of the terminal in which this process is, if it is in one. Whoever has it obeys its
    /// signals; without one the system does.
    pub(in crate::cli) fn open() -> Option<Self> {
        if !has_terminal() {
            return None;
        }
        // Before the mode of the terminal changes, because none of them may end the process from then on.
        let signals = TerminalSignals::new().ok()?;
        let terminal = KeyTerminal::of_process().ok();
        Some(Self { keys: terminal.as_ref().and_then(|_| read_keys().ok()), terminal, signals })
    }

    /// Waits for the next event. A process that is stopped goes on waiting when it is continued.
    async fn next(&mut self) -> KeyboardEvent {
        loop {
            tokio::select! {
                Some(key) = next_key(&mut self.keys) => return KeyboardEvent::Key(key),
                wish = self.signals.next() => match (wish, &self.terminal) {
                    (SignalWish::End(code), _) => return KeyboardEvent::End(code),
                    (SignalWish::Stop, Some(terminal)) => terminal.stop_process(),
                    (SignalWish::GoOn, Some(terminal)) => terminal.go_on(),
                    (SignalWish::Stop | SignalWish::GoOn, None) => {}
                },
            }
        }
    }
}

async fn next_key(keys: &mut Option<Receiver<Key>>) -> Option<Key> {
    match keys {
        Some(keys) => keys.recv().await,
        None => None,
    }
}

/// Waits for the next event of a keyboard, for ever if there is none.
pub(in crate::cli) async fn next_event(keyboard: &mut Option<Keyboard>) -> KeyboardEvent {
    match keyboard {
        Some(keyboard) => keyboard.next().await,
        None => std::future::pending().await,
    }
}

impl Tail<'_> {
    /// Does what a key asks for; the exit code if that is to end.
    pub(super) async fn obey(
        &mut self,
        event: KeyboardEvent,
        client: &Client,
    ) -> Result<Option<i32>, Failure> {
        let text = match event {
            KeyboardEvent::End(code) => return Ok(Some(code)),
            KeyboardEvent::Key(Key::Quit) => return Ok(Some(0)),
            KeyboardEvent::Key(Key::Pause) => {
                self.is_paused = !self.is_paused;
                if self.is_paused { self.choice.draw(size()) } else { self.choice.end() }
            }
            KeyboardEvent::Key(Key::Failed) => {
                self.failed = !self.failed;
                let what = if self.failed { "only what somebody has to look at" } else { "everything again" };
                self.beside_choice(&remark(what))
            }
            KeyboardEvent::Key(Key::Up) => self.choose(|choice| choice.up()),
            KeyboardEvent::Key(Key::Down) => self.choose(|choice| choice.down()),
            KeyboardEvent::Key(Key::Explain) => {
                self.is_paused = true;
                let explained = self.explained(client).await;
                self.beside_choice(&explained)
            }
        };
        Ok(if print_while_read(&text)? { None } else { Some(0) })
    }

    fn choose(&mut self, change: impl FnOnce(&mut super::LineChoice)) -> String {
        self.is_paused = true;
        change(&mut self.choice);
        self.choice.draw(size())
    }

    /// A text that stays, above the lines of which one can be chosen.
    fn beside_choice(&mut self, text: &str) -> String {
        let mut shown = self.choice.erase();
        shown.push_str(text);
        if self.is_paused {
            shown.push_str(&self.choice.draw(size()));
        }
        shown
    }

    /// The explanation of the chosen event.
    async fn explained(&self, client: &Client) -> String {
        let Some(line) = self.choice.chosen() else { return remark("nothing was shown yet") };
        let Some(asked) = &line.asked else {
            return remark("a refused delivery is no event; `fanbridge verify` says what is wrong with one");
        };
        let title = remark(&format!("fanbridge explain {}", Shown(asked)));
        match explain::told(client, asked).await {
            Ok(explanation) => format!("{title}{explanation}"),
            Err(failure) => format!("{title}{failure}\n"),
        }
    }
}

/// What `explain` is asked for about a step, if it can say something.
pub(super) fn asked(step: &Step) -> Option<String> {
    let (id, position) = match &step.kind {
        StepKind::Taken(step) => (&step.id, step.position),
        StepKind::Unanswered(step) => (&step.id, None),
        StepKind::Published(step) => (&step.id, Some(step.position)),
        StepKind::Rejected(step) => (&step.id, Some(step.position)),
        StepKind::Held(step) => return Some(format!("position:{}", step.first)),
        StepKind::Refused(_) => return None,
    };
    match position {
        Some(position) if id.chars().count() < ID_CHARS_MIN => Some(format!("position:{position}")),
        _ => Some(id.clone()),
    }
}
