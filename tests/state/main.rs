//! The dead letters and the admin listener's routes, over a real spool and a real state file.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod bench;
mod cli;
mod commits;
mod gone;
mod groups;
mod redrive;
mod verify;
