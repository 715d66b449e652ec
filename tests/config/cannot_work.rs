//! What has the right form and could never work: found before anything is started.

use super::{SOURCE, expect, problems};

#[test]
fn one_directory_is_not_shared_however_it_is_spelled() {
    let here = std::env::current_dir().expect("a directory");
    let absolute = here.join("t").display().to_string();
    let title = "one directory for two";
    for again in ["t", "./t", "t/", "x/../t", "x/./y/../../t", &absolute] {
        expect(
            &format!(
                "{SOURCE}sinks: {{ a: {{ file: {{ dir: t }} }}, b: {{ file: {{ dir: ‹{again}› }} }} }}\n"
            ),
            title,
            &format!("sink `a` already writes to {again}"),
        );
        expect(
            &format!("{SOURCE}spool: {{ dir: t }}\nsinks: {{ b: {{ file: {{ dir: ‹{again}› }} }} }}\n"),
            title,
            &format!("the spool already writes to {again}"),
        );
    }
    for other in ["t/t", "../t", "T", "t."] {
        let report = problems(&format!(
            "{SOURCE}sinks: {{ a: {{ file: {{ dir: t }} }}, b: {{ file: {{ dir: {other} }} }} }}\n"
        ));
        assert!(!report.has_errors(), "{report}");
    }
}
