//! Events as they come, in a terminal and for scripts.
