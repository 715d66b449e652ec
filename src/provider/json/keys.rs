//! The keys of one object, to find a repeated one, at a cost that no sender can drive up.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{COUNT_MAX, Flaw};

/// The keys of an object. The first 32 cost no allocation; more go into a set with a hash that no
/// sender can foresee.
pub(super) struct SeenKeys<'a> {
    /// Per key, its first eight bytes combined with its length: keys with different marks differ.
    marks: [u64; SeenKeys::FEW],
    few: [&'a [u8]; SeenKeys::FEW],
    len: usize,
    many: Option<HashSet<Cow<'a, [u8]>>>,
}

impl<'a> SeenKeys<'a> {
    const FEW: usize = 32;

    pub fn new() -> Self {
        Self { marks: [0; Self::FEW], few: [&[]; Self::FEW], len: 0, many: None }
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`Flaw::DuplicateKey`] if the object has the key already, [`Flaw::TooMany`] if it has
    /// [`COUNT_MAX`] keys.
    pub fn insert(&mut self, key: Cow<'a, [u8]>) -> Result<(), Flaw> {
        let is_new = match (&mut self.many, key) {
            (None, Cow::Borrowed(key)) if self.len < Self::FEW => self.insert_few(key),
            (Some(many), key) => {
                if many.len() == COUNT_MAX {
                    return Err(Flaw::TooMany);
                }
                many.insert(key)
            }
            (many @ None, key) => {
                let few = self.few[..self.len].iter().map(|key| Cow::Borrowed(*key));
                many.insert(few.collect()).insert(key)
            }
        };
        if is_new { Ok(()) } else { Err(Flaw::DuplicateKey) }
    }

    fn insert_few(&mut self, key: &'a [u8]) -> bool {
        let mut head = [0; 8];
        let shown = key.len().min(8);
        head[..shown].copy_from_slice(&key[..shown]);
        let mark = u64::from_le_bytes(head) ^ (key.len() as u64).rotate_right(8);
        let known = self.marks[..self.len].contains(&mark)
            && (0..self.len).any(|n| self.marks[n] == mark && self.few[n] == key);
        if !known {
            self.marks[self.len] = mark;
            self.few[self.len] = key;
            self.len += 1;
        }
        !known
    }
}
