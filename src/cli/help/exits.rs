//! Exit codes that mean the same for several verbs.

pub(super) const DONE: (u8, &str) = (0, "done");
pub(super) const USAGE: (u8, &str) = (2, "the command line is wrong");
pub(super) const UNCONFIRMED: (u8, &str) = (2, "--yes is missing, or the command line is wrong");
pub(super) const CONFIG: (u8, &str) = (78, "the configuration has errors and cannot be used");
pub(super) const UNREAD: (u8, &str) = (74, "a file cannot be read or written");
pub(super) const NO_BRIDGE: (u8, &str) = (74, "no bridge answers, or a file cannot be read");
pub(super) const NO_ANSWER: (u8, &str) = (75, "the bridge does not answer in time, or recovers its spool");
/// Of a verb that reads what a stopped bridge has left, too.
pub(super) const NOT_LEFT: (u8, &str) = (74, "no bridge answers, and none has left a state that can be read");
/// Of a verb that changes what only a running bridge can change, with [`NOT_RUNNING`].
pub(super) const UNHEARD: (u8, &str) = (74, "a bridge runs and cannot be asked, or a file cannot be read");
pub(super) const NOT_RUNNING: (u8, &str) = (75, "no bridge runs, or it does not answer in time");
/// Of a verb that asks a cluster or a cloud.
pub(super) const NO_CLUSTER: (u8, &str) = (75, "a cluster or a cloud does not answer");
