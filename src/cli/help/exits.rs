//! Exit codes that mean the same for several verbs.

pub(super) const DONE: (u8, &str) = (0, "done");
pub(super) const USAGE: (u8, &str) = (2, "the command line is wrong");
pub(super) const CONFIG: (u8, &str) = (78, "the configuration has errors and cannot be used");
pub(super) const NO_BRIDGE: (u8, &str) = (74, "no bridge answers");
pub(super) const NO_ANSWER: (u8, &str) = (75, "the bridge does not answer in time, or recovers its spool");
pub(super) const UNREAD: (u8, &str) = (74, "a file cannot be read or written");
