//! Tests that measure. `tests/run.sh` runs them one at a time after the others, which then need not
//! wait for them.

mod isolation;
mod memory;
mod strangers;
