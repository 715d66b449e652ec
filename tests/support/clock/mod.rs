//! A wall clock of a process's own, set while it runs.
//!
//! A small library is compiled and preloaded into the real binary. It shifts what the process reads
//! as the time of day, and nothing else: a clock that is wrong as a whole would also make librdkafka
//! wait for moments that never come.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::bridge::{Bridge, Home};
use super::servers::skip;

/// The source of the library.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock/shift.c");

/// How far the clock of a home's bridges is from the right time.
pub struct WallClock {
    library: PathBuf,
    shift: PathBuf,
}

impl WallClock {
    /// A clock that is right so far, if this machine has a compiler; says so if not.
    pub fn new(home: &Home, what: &str) -> Option<Self> {
        let (library, shift) = (home.path("shift.so"), home.path("shift"));
        let mut compiler = Command::new("gcc");
        match compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(SOURCE).status() {
            Ok(status) => assert!(status.success(), "{SOURCE} does not compile"),
            Err(error) => {
                skip(what, &format!("gcc does not run: {error}"));
                return None;
            }
        }
        let clock = Self { library, shift };
        clock.set(0);
        Some(clock)
    }

    /// Sets it so many seconds ahead of the right time, also under a bridge that runs.
    pub fn set(&self, seconds_ahead: i64) {
        let nanos = (seconds_ahead * 1_000_000_000).to_ne_bytes();
        // In place: the process has the file mapped.
        let file = fs::File::options().write(true).create(true).truncate(false).open(&self.shift);
        let file = file.expect("the home takes a file");
        std::os::unix::fs::FileExt::write_all_at(&file, &nanos, 0).expect("the home takes eight bytes");
    }

    /// Starts a bridge that goes by this clock.
    pub fn start(&self, home: &Home) -> Bridge {
        home.start_under(&self.wrapper().each_ref().map(String::as_str))
    }

    /// The command under which a process goes by this clock.
    pub fn wrapper(&self) -> [String; 3] {
        let preload = format!("LD_PRELOAD={}", self.library.display());
        let shift = format!("CLOCK_SHIFT={}", self.shift.display());
        ["env".into(), preload, shift]
    }
}
