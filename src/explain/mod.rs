//! What became of an event, and why: facts from the timeline, the log and the state, with a cause and a fix.
