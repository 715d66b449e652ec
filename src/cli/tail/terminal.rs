//! The terminal in a mode that hands each key over at once, and its way back.
//!
//! The former mode is restored on every way out: when the verb ends, when it panics, when a signal ends it,
//! and while it is stopped by Ctrl-Z. Only SIGKILL leaves the terminal as it is; `reset` mends that.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use rustix::process::{Signal, getpgrp, getpid, kill_process};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetpgrp, tcsetattr,
};
use tokio::signal::unix::{self, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::super::output::terminal_size;
use super::keys::{Key, keys};

/// Most keys that wait until they are obeyed.
const KEYS_MAX: usize = 64;
/// The size of a terminal that does not say it: columns and rows.
const USUAL_SIZE: (usize, usize) = (80, 24);

/// A terminal that hands each key over at once. Dropping it restores the former mode.
#[derive(Debug)]
pub(super) struct KeyTerminal<T: AsFd> {
    terminal: T,
    former: Termios,
}

/// Whether this process can take keys: stdin and stdout are a terminal, and it is in its foreground. Another
/// process would be stopped for touching it.
pub(super) fn has_terminal() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal() && is_in_foreground()
}

impl KeyTerminal<io::Stdin> {
    /// The terminal that stdin is.
    pub(super) fn of_process() -> io::Result<Self> {
        Self::open(io::stdin())
    }

    /// Stops the process, as Ctrl-Z asks, with the former mode in the meantime.
    pub(super) fn stop_process(&self) {
        self.restore();
        let _ = kill_process(getpid(), Signal::STOP);
    }

    /// Takes keys again after the process was continued, if that is in the foreground.
    pub(super) fn go_on(&self) {
        if is_in_foreground() {
            let _ = self.enter();
        }
    }
}

fn is_in_foreground() -> bool {
    tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp())
}

impl<T: AsFd> KeyTerminal<T> {
    /// Has a terminal hand each key over.
    fn open(terminal: T) -> io::Result<Self> {
        let former = tcgetattr(&terminal)?;
        let opened = Self { terminal, former };
        opened.enter()?;
        Ok(opened)
    }

    /// Keys come without their line, and are not shown. Ctrl-C and the like stay signals.
    fn enter(&self) -> io::Result<()> {
        let mut mode = self.former.clone();
        mode.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        mode.special_codes[SpecialCodeIndex::VMIN] = 1;
        mode.special_codes[SpecialCodeIndex::VTIME] = 0;
        Ok(tcsetattr(&self.terminal, OptionalActions::Now, &mode)?)
    }

    fn restore(&self) {
        // A terminal that is gone needs no mode.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.former);
    }
}

impl<T: AsFd> Drop for KeyTerminal<T> {
    fn drop(&mut self) {
        self.restore();
    }
}

/// The keys, as they come. A thread of its own waits for them, and ends with the process.
pub(super) fn read_keys() -> io::Result<Receiver<Key>> {
    let (sender, receiver) = channel(KEYS_MAX);
    std::thread::Builder::new().name("keys".into()).spawn(move || send_keys(&sender))?;
    Ok(receiver)
}

fn send_keys(sender: &Sender<Key>) {
    let mut bytes = [0; 64];
    loop {
        let read = match rustix::io::read(io::stdin(), &mut bytes) {
            Err(rustix::io::Errno::INTR) => continue,
            Ok(0) | Err(_) => return,
            Ok(read) => read,
        };
        for key in keys(&bytes[..read]) {
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    }
}

/// Columns and rows of the terminal that stdout is.
pub(super) fn size() -> (usize, usize) {
    terminal_size().unwrap_or(USUAL_SIZE)
}

/// The signals that end or stop a process, whose terminal has to be restored before. Once there is one, the
/// system ends the process for none of them, so whoever makes it has to obey them.
#[derive(Debug)]
pub(super) struct TerminalSignals {
    terminate: unix::Signal,
    hangup: unix::Signal,
    quit: unix::Signal,
    stop: unix::Signal,
    go_on: unix::Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignalWish {
    /// The end, with the exit code that a shell reports for it.
    End(i32),
    /// A stop until the process is continued.
    Stop,
    /// The process was continued.
    GoOn,
}

impl TerminalSignals {
    /// Begins to handle them.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            stop: signal(SignalKind::from_raw(Signal::TSTP.as_raw()))?,
            go_on: signal(SignalKind::from_raw(Signal::CONT.as_raw()))?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> SignalWish {
        let end = |kind: SignalKind| SignalWish::End(128 + kind.as_raw_value());
        tokio::select! {
            _ = self.terminate.recv() => end(SignalKind::terminate()),
            _ = self.hangup.recv() => end(SignalKind::hangup()),
            _ = self.quit.recv() => end(SignalKind::quit()),
            _ = self.stop.recv() => SignalWish::Stop,
            _ = self.go_on.recv() => SignalWish::GoOn,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    #[test]
    fn a_panic_restores_the_terminal() {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it can be used");
        let name = ptsname(&terminal, Vec::new()).expect("it has a name");
        let terminal = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("it opens");
        let modes = || tcgetattr(&terminal).expect("its mode").local_modes;
        let before = modes();
        assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _keys = KeyTerminal::open(&terminal).expect("it hands keys over");
            assert!(!modes().intersects(LocalModes::ICANON | LocalModes::ECHO));
            panic!("of the test");
        }));
        assert!(panicked.is_err());
        assert_eq!(modes(), before);
    }
}
