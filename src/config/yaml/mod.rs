//! Reads YAML: [`tree`] parses it and remembers where everything is written, [`schema_check`] checks
//! keys and forms against a JSON Schema, [`scalars`] are the forms, and [`spans`] the places.

pub mod scalars;
pub mod schema_check;
pub mod spans;
pub mod tree;
