//! The last steps, and what comes, over HTTP.
