//! What can be an event type, and which characters no attribute can have.

/// Longest event type, id or header value that is used, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// A phrase for what can be an event type.
pub(super) fn type_expected() -> String {
    format!(
        "text of 1 to {NAME_BYTES_MAX} bytes, not only white space, and without control or invisible \
         characters"
    )
}

/// Whether a text can be an event type: 1 to 255 bytes, not only white space, and without control
/// characters or characters that are invisible or make the text look different. The text is never
/// changed, so two spellings of one letter are two types, and so is a type with a space in front.
pub(super) fn is_type(text: &str) -> bool {
    let unseen = |c: char| {
        let format = matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}');
        format || is_forbidden(c)
    };
    (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains(unseen) && !text.trim().is_empty()
}

/// Whether CloudEvents exclude a character from every attribute: a control character or a
/// noncharacter.
pub(super) fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}
