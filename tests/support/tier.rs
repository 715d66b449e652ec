//! How long the tests may take this time. Stands alone, for parts that need nothing else of the support.

/// How thorough a run is: `cargo test` is quick, `make test` is full, `make soak` is long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// A developer's inner loop.
    Quick,
    /// What the guarantees rest on.
    Full,
    /// Hours, for what only time shows.
    Soak,
}

impl Tier {
    /// Full when skips are failures (`FANBRIDGE_TEST_SERVERS=required`), soak by `FANBRIDGE_SOAK=1`.
    pub fn of_this_run() -> Self {
        if std::env::var("FANBRIDGE_SOAK").is_ok_and(|value| value == "1") {
            Self::Soak
        } else if servers_are_required() {
            Self::Full
        } else {
            Self::Quick
        }
    }

    /// One number for each tier.
    pub fn pick<T>(self, quick: T, full: T, soak: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
            Self::Soak => soak,
        }
    }
}

/// Whether a missing server or tool is a failure.
pub fn servers_are_required() -> bool {
    std::env::var("FANBRIDGE_TEST_SERVERS").is_ok_and(|value| value == "required")
}
