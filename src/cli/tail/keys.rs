//! What somebody at the terminal wants, from the bytes of the keys (pure).

/// A key that means something to `tail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Key {
    /// `q`: end.
    Quit,
    /// Space: show no more, or go on.
    Pause,
    /// `f`: only what somebody has to look at, or everything again.
    Failed,
    /// The arrow up, or `k`: choose the line before.
    Up,
    /// The arrow down, or `j`: choose the line behind.
    Down,
    /// Enter: explain the chosen event, or the newest one.
    Explain,
}

/// The keys in bytes that came at once. A terminal sends the three bytes of an arrow together.
pub(super) fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        bytes = rest;
        keys.extend(match first {
            b'q' | b'Q' => Some(Key::Quit),
            b' ' => Some(Key::Pause),
            b'f' | b'F' => Some(Key::Failed),
            b'k' => Some(Key::Up),
            b'j' => Some(Key::Down),
            b'\r' | b'\n' => Some(Key::Explain),
            0x1b => {
                let (key, rest) = escaped(rest);
                bytes = rest;
                key
            }
            _ => None,
        });
    }
    keys
}

/// The key behind an escape, and the bytes behind that. What another key sends there, such as `[3~`, is no
/// key of its own.
fn escaped(bytes: &[u8]) -> (Option<Key>, &[u8]) {
    let [b'[' | b'O', rest @ ..] = bytes else { return (None, bytes) };
    let is_last = |byte: &u8| (0x40..=0x7e).contains(byte);
    let Some(last) = rest.iter().position(is_last) else { return (None, &[]) };
    let key = match rest[..=last] {
        [b'A'] => Some(Key::Up),
        [b'B'] => Some(Key::Down),
        _ => None,
    };
    (key, &rest[last + 1..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_key_is_understood_and_others_mean_nothing() {
        assert_eq!(
            keys(b"q f\x1b[A\x1bOB\rkjx"),
            [Key::Quit, Key::Pause, Key::Failed, Key::Up, Key::Down, Key::Explain, Key::Up, Key::Down]
        );
        // The delete key, page up with control, F5, and escape alone.
        for other in [&b"\x1b[3~"[..], b"\x1b[5;5~", b"\x1b[15~", b"\x1b", b"\x1b[", "\u{e9}".as_bytes()] {
            assert_eq!(keys(other), [], "{other:?}");
        }
        assert_eq!(keys(b"\x1b[3~q"), [Key::Quit], "what comes behind another key counts");
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(keys(&bytes).len() <= bytes.len());
        }
    }
}
