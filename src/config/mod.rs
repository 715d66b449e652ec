//! The configuration as used: every value is checked, every secret is read, and every topic is
//! possible.
//!
//! [`load()`] makes it from text, in three steps: `yaml` parses the text, remembers where everything is
//! written, and checks keys, forms and bounds against the types of [`mod@file`], most of which are the
//! options of the rooms themselves; `check` checks the meaning; and the rest becomes a [`Config`], which has
//! the options of every room. The problems of all steps are in
//! one [`Report`]. This module opens no socket and writes no file, except for the secrets of
//! [`embedded`]. It stands on top of the rooms that it configures: only `cli` and `bridge` use it.

mod admin_address;
mod aws_secrets;
mod check;
mod diff;
mod effective;
pub mod embedded;
mod explained;
pub mod file;
mod fingerprint;
mod load;
mod looked_at;
mod on_disk;
mod origins;
mod report;
mod tests_file;
mod topics;
mod yaml;

/// Host of brokers and servers whose names are behind a reference that was not read. No real name ends so
/// (RFC 2606).
pub const UNREAD_HOST: &str = "not-read.invalid";

pub use crate::provider::{did_you_mean, nearest};
pub use admin_address::admin_address;
pub use check::Environment;
pub use check::placeholders::PLACEHOLDER_ACCOUNT;
pub use diff::{ChangeKind, ChangedValue, Changes, NamedChanges, NeedsRestart, diff};
pub use file::schema;
pub use load::{Config, Loaded, load, load_bytes, read_configuration};
pub use looked_at::{AskError, LookedAt, load_to_ask, load_to_look};
pub use on_disk::{ConfigurationFile, LoadError};
pub use origins::Origins;
pub use report::{Problem, Report, Severity};
pub use tests_file::{ConfigTest, ConfigTests, ExpectedOutcome, ExpectedRecord, ExpectedVerdict, load_tests};
pub use topics::Topic;
