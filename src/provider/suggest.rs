//! Suggestions for misspelt names.

/// The candidate closest to `word`, if it is similar enough.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let lower = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::normalized_damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate)
        })
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, candidate)| candidate)
}

/// `; did you mean …?`, or an empty text.
pub fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_guess_is_not_made() {
        let names = ["call.created", "call.ended", "call.session_ended"];
        assert_eq!(nearest("call.sesion_ended", names), Some("call.session_ended"));
        assert_eq!(nearest("CALL.CREATED", names), Some("call.created"));
        assert_eq!(nearest("video.media.ready", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(did_you_mean("call.endd", names), "; did you mean `call.ended`?");
    }
}
