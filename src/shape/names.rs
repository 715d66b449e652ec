//! Which names of members can be kept: those that a programmer has chosen, and not ids, addresses and other
//! data that stand where names do.

/// Longest name that is kept, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// A name with so many digits is an id: `sha256` and `video_1080p_h264` are none.
const ID_DIGITS_MIN: usize = 8;
/// A name of this length that mixes capitals, small letters and digits is an id.
const TOKEN_BYTES_MIN: usize = 16;
/// Letters and digits of the hexadecimal system in a row that make an id.
const HEX_BYTES_MIN: usize = 12;

/// Whether a name can be kept.
pub(super) fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let has = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
    begins && name.len() <= NAME_BYTES_MAX && name.bytes().all(has) && !looks_like_an_id(name)
}

/// Whether a name looks as if a machine had drawn it: a UUID, a hash, a key of a database, `user_12345678`.
fn looks_like_an_id(name: &str) -> bool {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let (has_capital, has_small) =
        (name.bytes().any(|c| c.is_ascii_uppercase()), name.bytes().any(|c| c.is_ascii_lowercase()));
    let is_token = name.len() >= TOKEN_BYTES_MIN && digits >= 2 && has_capital && has_small;
    let is_hex = |part: &str| {
        let mixed = part.bytes().any(|c| c.is_ascii_digit());
        mixed && part.len() >= HEX_BYTES_MIN && part.bytes().all(|c| c.is_ascii_hexdigit())
    };
    let ends_in_number = name
        .rsplit(['_', '-', '.'])
        .next()
        .is_some_and(|end| end.len() >= 5 && end.bytes().all(|c| c.is_ascii_digit()));
    digits >= ID_DIGITS_MIN || ends_in_number || is_token || name.split(['_', '-', '.']).any(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_ids_and_addresses() {
        for name in ["id", "call_cid", "created-at", "sha256", "video_1080p_h264", "_links", "a.b", "userId"]
        {
            assert!(is_name(name), "{name}");
        }
        for data in [
            "",
            "jane@example.com",
            "9d1e",
            "+49123",
            "a name",
            "f47ac10b-58cc-4372-a567-0e02b2c3d479",
            "user_12345",
            "d41d8cd98f00b204e9800998ecf8427e",
            "aB3dEfGh1jKlMnOpQrSt",
            "näme",
            &"x".repeat(65),
        ] {
            assert!(!is_name(data), "{data}");
        }
    }
}
