//! SNS over HTTP, with a signer, an authority and a certificate host of the tests' own: what is
//! genuine is taken, what is not is refused, and nothing that is refused causes a connection.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod authority;
mod certificates;
mod double;
mod emulator;
mod forgeries;
mod http;
mod message;
mod notifications;
mod outbound;
mod raw;
mod service;
mod subscriptions;
mod world;
