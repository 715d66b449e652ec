//! The public listener, spoken to over real sockets: what a friend gets, and what a stranger.
#![allow(clippy::unwrap_used)]

mod bad_inputs;
mod connections;
mod early;
mod smuggling;
mod strangers;
mod support;
mod tls;
mod webhook;
