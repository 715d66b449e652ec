//! The last steps of deliveries and events, in memory: what `tail` shows and `explain` looks at first.
