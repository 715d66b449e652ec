//! Twenty rotations under load, in AWS and in a mounted volume at once: no delivery gets 401.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::aws::secret::Secret;
use crate::support::aws::{Aws, REGION};
use crate::support::bridge::{Bridge, Home};
use crate::support::{await_until, signing};

const ROTATIONS: usize = 20;
/// The bridge looks at a file every five seconds, and at the secrets in AWS every second here.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
const BETWEEN_DELIVERIES: Duration = Duration::from_millis(5);

fn secret(number: usize) -> String {
    format!("secret-number-{number:04}-of-the-rotation")
}

/// A volume as Kubernetes mounts a Secret: `key` is a link to `..data/key`, and `..data` a link to a
/// directory of its own for each version.
struct Volume(PathBuf);

impl Volume {
    fn new(home: &Home) -> Self {
        let volume = Self(home.path("volume"));
        fs::create_dir(&volume.0).unwrap();
        volume.replace(0);
        symlink("..data/key", volume.0.join("key")).unwrap();
        volume
    }

    fn key(&self) -> PathBuf {
        self.0.join("key")
    }

    fn replace(&self, number: usize) {
        let version = format!("..version-{number}");
        fs::create_dir(self.0.join(&version)).unwrap();
        fs::write(self.0.join(&version).join("key"), secret(number)).unwrap();
        symlink(&version, self.0.join("..data_tmp")).unwrap();
        fs::rename(self.0.join("..data_tmp"), self.0.join("..data")).unwrap();
        if number > 0 {
            fs::remove_dir_all(self.0.join(format!("..version-{}", number - 1))).unwrap();
        }
    }
}

/// A provider that delivers all the time, and signs with the newest secret that it was given.
struct Sender {
    source: &'static str,
    current: Mutex<String>,
    sent: AtomicU64,
    refused: AtomicU64,
}

impl Sender {
    fn new(source: &'static str) -> Self {
        Self { source, current: secret(0).into(), sent: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    fn deliver(&self, bridge: &Bridge, stop: &AtomicBool) {
        let mut client = bridge.client();
        while !stop.load(Ordering::Relaxed) {
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let body = format!(
                r#"{{"type":"call.created","call_cid":"default:{number}","created_at":"2026-11-21T06:40:00Z"}}"#
            );
            let signature = signing::stream_with(&self.current.lock().unwrap(), body.as_bytes());
            let path = format!("/in/{}", self.source);
            let answer = client.post(&path, &[("x-signature", &signature)], body.as_bytes());
            if answer.expect("an answer").status != 200 {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            thread::sleep(BETWEEN_DELIVERIES);
        }
    }
}

fn delivered(topics: &Path) -> u64 {
    fn lines(dir: &Path) -> u64 {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let count = |path: PathBuf| match path.is_dir() {
            true => lines(&path),
            false => fs::read_to_string(&path).unwrap_or_default().lines().count() as u64,
        };
        entries.map(count).sum()
    }
    lines(topics)
}

#[test]
fn twenty_rotations_under_load_in_aws_and_in_a_mounted_volume_refuse_no_delivery() {
    let Some(aws) = Aws::connect("twenty rotations under load") else { return };
    let home = Home::new();
    let (volume, kept) = (Volume::new(&home), Secret::create(aws.endpoint(), "fanbridge/turns", &secret(0)));
    let (topics, key) = (home.path("topics"), volume.key());
    home.configure(
        "",
        &format!(
            "\x20 aws: {{ provider: stream, app: a, secrets: [\"aws-sm:{}\"] }}\n\
             \x20 mounted: {{ provider: stream, app: b, secrets: [\"file:{}\"] }}\n\
             aws: {{ region: {REGION}, endpoint: \"{}\", read_secrets_every_seconds: 1 }}\n\
             sinks:\n\x20 local: {{ file: {{ dir: {} }} }}\n",
            kept.name,
            key.display(),
            aws.endpoint(),
            topics.display()
        ),
    );
    let bridge = home.start();
    let senders = ["aws", "mounted"].map(Sender::new);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for sender in &senders {
            scope.spawn(|| sender.deliver(&bridge, &stop));
        }
        let rotating = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for number in 1..=ROTATIONS {
                kept.replace(&secret(number));
                volume.replace(number);
                await_until("both sources have the new secret", NOTICED_WITHIN, || {
                    let noticed = bridge.log().matches("was replaced: the new secret is valid").count();
                    (noticed >= 2 * number).then_some(())
                });
                // Only now the provider is told to sign with it.
                senders.iter().for_each(|sender| *sender.current.lock().unwrap() = secret(number));
            }
            thread::sleep(Duration::from_secs(1));
        }));
        stop.store(true, Ordering::Relaxed);
        rotating.unwrap_or_else(|failed| std::panic::resume_unwind(failed));
    });
    let sent = senders.iter().map(|sender| sender.sent.load(Ordering::Relaxed)).sum::<u64>();
    let refused = senders.each_ref().map(|sender| sender.refused.load(Ordering::Relaxed));
    println!("{sent} deliveries over {ROTATIONS} rotations, refused: {refused:?}");
    assert_eq!(refused, [0, 0]);
    assert!(sent > 200, "{sent} deliveries are no load");
    await_until("each is delivered", NOTICED_WITHIN, || (delivered(&topics) == sent).then_some(()));
    bridge.stop();
}
