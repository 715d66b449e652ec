//! The spool under power cuts, full disks, broken disks and flipped bits.

#![allow(clippy::unwrap_used)]

#[path = "../support/tier.rs"]
mod tier;

mod bounds;
mod damage;
mod footers;
mod handle;
mod log_lines;
mod model;
mod power;
mod recycled;
mod search;
mod sim;
mod world;
