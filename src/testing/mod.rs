//! What tests of several rooms work on. It exists in tests only, and can look at every room.

pub(crate) mod bench;
pub(crate) mod events;
pub(crate) mod failing;
