//! Reads YAML: [`tree`] parses it and remembers where everything is written, [`schema_check`] checks keys,
//! forms and bounds against a JSON Schema, and [`spans`] are the places.

pub mod schema_check;
pub mod spans;
pub mod tree;
