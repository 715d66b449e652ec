//! A secret in a file that is replaced while the bridge runs, as a mounted one is.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::bridge::{Bridge, Home};
use crate::support::{await_until, signing, turns};

const FIRST: &str = "the-first-secret-of-the-file-0001";
const SECOND: &str = "the-second-secret-of-the-file-0002";
const THIRD: &str = "the-third-secret-of-the-file-0003";
/// How long a replaced file may go unnoticed: what `docs/CONFIGURATION.md` promises.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

/// The status of a delivery that is signed with a secret.
fn status(bridge: &Bridge, secret: &str) -> u16 {
    let body = br#"{"type":"call.created","call_cid":"default:a","created_at":"2026-11-21T06:40:00Z"}"#;
    let signature = signing::stream_with(secret, body);
    let answer = bridge.client().post("/in/mounted", &[("x-signature", &signature)], body);
    answer.expect("an answer").status
}

/// Waits until deliveries that are signed with a secret are taken.
fn await_taken(bridge: &Bridge, secret: &str) {
    await_until("the new secret is taken", NOTICED_WITHIN, || {
        std::thread::sleep(Duration::from_millis(200));
        (status(bridge, secret) == 200).then_some(())
    });
}

fn await_logged(bridge: &Bridge, words: &str) {
    await_until(words, NOTICED_WITHIN, || bridge.log().contains(words).then_some(()));
}

/// Puts a file in another's place, as whoever wants nobody to read half of it.
fn replace(file: &Path, content: &str) {
    let draft = file.with_extension("draft");
    fs::write(&draft, content).expect("the home takes a file");
    fs::rename(&draft, file).expect("the same directory");
}

fn configure(home: &Home, file: &Path) {
    let (file, topics) = (file.display(), home.path("topics"));
    home.configure(
        "",
        &format!(
            "\x20 mounted: {{ provider: stream, app: mounted, secrets: [\"file:{file}\"] }}\n\
             sinks:\n\x20 local: {{ file: {{ dir: {} }} }}\n",
            topics.display()
        ),
    );
}

#[test]
fn a_secret_whose_file_is_replaced_is_taken_within_a_minute_and_the_one_before_still_is() {
    let _turn = turns::in_company();
    let home = Home::new();
    let file = home.path("secret");
    replace(&file, &format!("{FIRST}\n"));
    configure(&home, &file);
    let bridge = home.start();
    assert_eq!([FIRST, SECOND].map(|secret| status(&bridge, secret)), [200, 401]);

    replace(&file, &format!("{SECOND}\n"));
    await_taken(&bridge, SECOND);
    assert_eq!([FIRST, SECOND, THIRD].map(|secret| status(&bridge, secret)), [200, 200, 401]);
    let used = |name: &str| {
        let label = format!("secret=\"file:{}{name}\"", file.display());
        bridge.metric("fanbridge_signature_secret_used_total", &[&label])
    };
    assert_eq!((used("") >= 3.0, used(" (previous)")), (true, 1.0));

    for (content, problem) in [("too-short\n", "the secret has 9 bytes"), ("\n", "is empty")] {
        replace(&file, content);
        await_logged(&bridge, problem);
    }
    fs::remove_file(&file).expect("it is there");
    await_logged(&bridge, "cannot read");
    assert_eq!([FIRST, SECOND].map(|secret| status(&bridge, secret)), [200, 200]);
    assert!(bridge.metric("fanbridge_secret_reload_failures_total", &["source=\"mounted\""]) >= 3.0);

    replace(&file, &format!("{THIRD}\n"));
    await_taken(&bridge, THIRD);
    await_logged(&bridge, "the file of this secret can be used again");
    let log = bridge.log();
    let warned = log.lines().filter(|line| line.contains("the file of this secret cannot be used"));
    assert_eq!(warned.count(), 3, "one line for each trouble\n{log}");
    for secret in [FIRST, SECOND, THIRD, "too-short"] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    bridge.stop();
}

#[test]
fn a_secret_behind_links_that_are_swapped_is_followed_as_a_mounted_volume_needs_it() {
    let _turn = turns::in_company();
    let home = Home::new();
    let volume = home.path("volume");
    for (version, secret) in [("..1", FIRST), ("..2", SECOND)] {
        fs::create_dir_all(volume.join(version)).expect("the home takes a directory");
        fs::write(volume.join(version).join("secret"), secret).expect("and a file");
    }
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, volume.join(name)).expect("a link");
    link("..1", "..data");
    link("..data/secret", "secret");
    configure(&home, &volume.join("secret"));
    let bridge = home.start();
    assert_eq!([FIRST, SECOND].map(|secret| status(&bridge, secret)), [200, 401]);

    link("..2", "..data_tmp");
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("the same directory");
    await_taken(&bridge, SECOND);
    bridge.stop();
}
