//! What an operator sees and does: events as they come, what became of one, why a signature is wrong.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod canaries;
mod collector;
mod config_tests;
mod configuration;
mod configurations;
mod doctor;
mod explain;
mod explain_more;
mod explain_stopped;
mod former;
mod from;
mod handover;
mod health;
mod help;
mod history;
mod import;
mod keys;
mod leaked_secret;
mod listings;
mod live;
mod live_stream;
mod log_listing;
mod openapi;
mod pause;
mod payloads;
mod problems;
mod reload;
mod reload_faults;
mod reload_turns;
mod replay;
mod run;
mod secrets_of_the_service;
mod shapes;
mod sink_changes;
mod situations;
mod sockets;
mod tail;
mod timeline;
mod top;
mod traced_sinks;
mod traces;
mod types;
mod verify;
mod watched;
