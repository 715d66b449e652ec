//! How a room declares a value that the configuration can set.

/// A value that the configuration can set, with its default and bounds. The room that uses the value
/// declares it, once, in its `options`; the constant's name says the unit of a plain number.
#[derive(Clone, Copy, Debug)]
pub struct Knob<T> {
    /// The key in the configuration file, within its block.
    pub key: &'static str,
    /// The value without that key.
    pub default: T,
    /// The least accepted value. Other values can demand more.
    pub least: T,
    /// The greatest accepted value. Other values can demand less.
    pub most: T,
}
