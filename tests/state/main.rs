//! The dead letters and the admin listener's routes, over a real spool and a real state file.
#![allow(clippy::unwrap_used)]

mod admin;
mod cli;
mod commits;
mod redrive;
mod support;
