//! What became of an event, and why.
