//! What is wrong with a signature, and how it is mended.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};

use crate::support::bridge::Home;
use crate::support::clock::WallClock;
use crate::support::dice::Dice;
use crate::support::{gzip, turns};

/// Base64 of 32 bytes, which is also a usable secret as it is written.
const SECRET: &str = "dmVyaWZ5LXNpZ25pbmctc2VjcmV0LTAwMDAwMDAwMDE=";
const OTHER: &str = "dmVyaWZ5LXNpZ25pbmctc2VjcmV0LTAwMDAwMDAwMDI=";
const OLD: &str = "dmVyaWZ5LXNpZ25pbmctc2VjcmV0LTAwMDAwMDAwMDM=";
const LINES: &str = "dmVyaWZ5LXNpZ25pbmctc2VjcmV0LTAwMDAwMDAwMDU=";
const NOBODYS: &str = "dmVyaWZ5LXNpZ25pbmctc2VjcmV0LTAwMDAwMDAwMDQ=";
const BODY: &str =
    r#"{"type":"video.media.ready","id":"evt_canary","data":{"id":"d-1","url":"https://a/b"}}"#;
/// The moment at which the deliveries of these tests came, and the seconds of it.
const AT: &str = "2023-11-14T22:13:20Z";
const STAMP: i64 = 1_700_000_000;

/// A provider, and how it signs, from its documents.
#[derive(Clone, Copy)]
struct Signer {
    provider: &'static str,
    header: &'static str,
    form: SignatureForm,
    /// Whether the key is the decoded secret.
    decodes: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum SignatureForm {
    /// Hex over the body.
    Hex,
    /// Base64 over the body.
    Base64,
    /// `t=…,v1=…`
    Fields,
    /// `v1,…` with id and timestamp in headers of their own.
    Versions,
    /// `v0=…` of SHA-512 over `v0:{timestamp}:{body}`, by configuration.
    Configured,
}

const SIGNERS: [Signer; 5] = [
    Signer { provider: "stream", header: "x-signature", form: SignatureForm::Hex, decodes: false },
    Signer { provider: "fastpix", header: "fastpix-signature", form: SignatureForm::Base64, decodes: true },
    Signer { provider: "stripe", header: "stripe-signature", form: SignatureForm::Fields, decodes: false },
    Signer {
        provider: "standard-webhooks",
        header: "webhook-signature",
        form: SignatureForm::Versions,
        decodes: true,
    },
    Signer { provider: "acme", header: "acme-signature", form: SignatureForm::Configured, decodes: false },
];

impl Signer {
    fn key(self, secret: &str) -> Vec<u8> {
        if self.decodes { BASE64_STANDARD.decode(secret).unwrap() } else { secret.into() }
    }

    fn is_stamped(self) -> bool {
        !matches!(self.form, SignatureForm::Hex | SignatureForm::Base64)
    }

    fn mac(self, key: &[u8], stamp: &str, body: &[u8]) -> Vec<u8> {
        let lead = match self.form {
            SignatureForm::Hex | SignatureForm::Base64 => String::new(),
            SignatureForm::Fields => format!("{stamp}."),
            SignatureForm::Versions => format!("msg_1.{stamp}."),
            SignatureForm::Configured => format!("v0:{stamp}:"),
        };
        let text = [lead.as_bytes(), body].concat();
        if self.form == SignatureForm::Configured {
            Hmac::<Sha512>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
        } else {
            Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(text).finalize().into_bytes().to_vec()
        }
    }

    /// The MAC in the usual encoding, or in the other one.
    fn encoded(self, mac: &[u8], usual: bool) -> String {
        let base64 = matches!(self.form, SignatureForm::Base64 | SignatureForm::Versions);
        if base64 == usual { BASE64_STANDARD.encode(mac) } else { hex::encode(mac) }
    }

    /// The headers of a delivery, its signature in this header.
    fn headers(self, header: &str, signature: &str, stamp: &str) -> Vec<(String, String)> {
        let value = match self.form {
            SignatureForm::Hex | SignatureForm::Base64 => signature.into(),
            SignatureForm::Fields => format!("t={stamp},v1={signature}"),
            SignatureForm::Versions => format!("v1,{signature}"),
            SignatureForm::Configured => format!("v0={signature}"),
        };
        let mut headers = vec![(header.to_owned(), value)];
        match self.form {
            SignatureForm::Versions => headers.extend([
                ("webhook-id".into(), "msg_1".into()),
                ("webhook-timestamp".into(), stamp.to_owned()),
            ]),
            SignatureForm::Configured => headers.push(("acme-time".into(), stamp.to_owned())),
            _ => {}
        }
        headers
    }
}

/// A delivery as it is made and spoilt.
#[derive(Clone)]
struct Made {
    signer: Signer,
    source: String,
    key: Vec<u8>,
    signed: Vec<u8>,
    sent: Vec<u8>,
    stamp: String,
    header: String,
    usual_encoding: bool,
}

impl Made {
    /// A delivery that its source takes.
    fn of(signer: Signer) -> Self {
        Self {
            signer,
            source: signer.provider.into(),
            key: signer.key(SECRET),
            signed: BODY.into(),
            sent: BODY.into(),
            stamp: STAMP.to_string(),
            header: signer.header.into(),
            usual_encoding: true,
        }
    }

    fn mac(&self) -> Vec<u8> {
        self.signer.mac(&self.key, &self.stamp, &self.signed)
    }

    fn headers(&self) -> Vec<(String, String)> {
        let signature = self.signer.encoded(&self.mac(), self.usual_encoding);
        self.signer.headers(&self.header, &signature, &self.stamp)
    }

    /// Writes it into files; the words of a verify of them.
    fn recorded(&self, home: &Home) -> Vec<String> {
        let lines = self.headers().into_iter().map(|(name, value)| format!("{name}: {value}\n"));
        fs::write(home.path("headers"), lines.collect::<String>()).unwrap();
        fs::write(home.path("body"), &self.sent).unwrap();
        ["verify", &self.source, "--body", "body", "--headers", "headers"].map(str::to_owned).into()
    }

    fn verified(&self, home: &Home, more: &[&str]) -> Ran {
        let words = self.recorded(home);
        let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        home.try_verb(&words).into()
    }
}

/// How a verify ended and what it said, with one space between words.
struct Ran {
    code: Option<i32>,
    text: String,
    errors: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let words = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        Self { code: output.status.code(), text: words(output.stdout), errors: words(output.stderr) }
    }
}

/// A home with a source for each signer, one more for each, and one with a secret of two lines.
fn home() -> Home {
    let home = Home::new();
    for (name, secret) in [("new", SECRET), ("other", OTHER), ("old", OLD)] {
        fs::write(home.path(name), secret).unwrap();
    }
    fs::write(home.path("lines"), format!("{LINES}\n\n")).unwrap();
    let sources = SIGNERS.map(|signer| {
        let provider = signer.provider;
        format!(
            "  {provider}:\n    provider: {provider}\n    secrets:\n      - file:new\n      \
             - {{ secret: file:old, not_after: \"2020-01-31T00:00:00Z\" }}\n  \
             other-{provider}: {{ provider: {provider}, app: other, secrets: [file:other] }}\n"
        )
    });
    let (http, admin, spool, topics) = (home.http, home.admin, home.path("spool"), home.path("topics"));
    let text = format!(
        "http: {{ listen: 127.0.0.1:{http} }}\nadmin: {{ listen: 127.0.0.1:{admin} }}\n\
         spool: {{ dir: {}, free_bytes_min: 0 }}\n\
         providers:\n  acme:\n    signature: {{ scheme: hmac-sha512, header: acme-signature, prefix: v0=, \
         signed: \"v0:{{timestamp}}:{{body}}\", timestamp: {{ header: acme-time }} }}\n    \
         event: {{ type: {{ pointers: [/type] }} }}\n\
         sources:\n{}\
         \x20 lines-stream: {{ provider: stream, app: lines, secrets: [file:lines] }}\n\
         \x20 lines-stripe: {{ provider: stripe, app: lines, secrets: [file:lines] }}\n\
         \x20 queue: {{ provider: stream, app: queue, sqs: {{ queue_url: \
         \"https://sqs.us-east-1.amazonaws.com/222222222222/q\" }} }}\n\
         \x20 topic: {{ provider: stream, app: topic, sns: {{ topics: [\"arn:aws:sns:us-east-1:222222222222:t\"] }} }}\n\
         \x20 raw: {{ provider: stream, app: raw, sns: {{ topics: [\"arn:aws:sns:us-east-1:222222222222:t\"], \
         raw: {{ username: sns, password: file:other }} }} }}\n\
         sinks: {{ local: {{ file: {{ dir: {} }} }} }}\n",
        spool.display(),
        sources.concat(),
        topics.display()
    );
    fs::write(home.path("fanbridge.yaml"), text).unwrap();
    home
}

/// A way to spoil a delivery, and what is said of it. `None` if this signer's cannot be spoilt so.
type Situation = (&'static str, fn(Made) -> Option<Made>, &'static str, &'static str);

const SITUATIONS: &[Situation] = &[
    (
        "signed with another source's secret",
        |made| Some(Made { key: made.signer.key(OTHER), ..made }),
        "signed with the secret of source `other-",
        "post it to /in/other-",
    ),
    (
        "signed with an expired secret",
        |made| Some(Made { key: made.signer.key(OLD), ..made }),
        "matches file:old, which ended 2020-01-31T00:00:00Z",
        "list it until nobody signs with it",
    ),
    (
        "a trailing newline",
        |made| Some(Made { sent: format!("{BODY}\n").into(), ..made }),
        "matches without the trailing newline",
        "send the body with `--data-binary`",
    ),
    (
        "a newline that was lost",
        |made| Some(Made { signed: format!("{BODY}\n").into(), ..made }),
        "matches with a newline behind the body",
        "send the body with `--data-binary`",
    ),
    (
        "signed over the compressed bytes",
        |made| Some(Made { signed: gzip(BODY.as_bytes()), sent: gzip(BODY.as_bytes()), ..made }),
        "the signature is over the compressed bytes",
        "sign before compressing",
    ),
    (
        "a body that was written anew",
        |made| Some(Made { sent: BODY.replace("\":", "\": ").replace(",\"", ", \"").into(), ..made }),
        "matches the body when its white space is removed: it was written anew on its way",
        "let the proxy pass the body as it is",
    ),
    (
        "a body whose slashes were escaped",
        |made| Some(Made { sent: BODY.replace('/', r"\/").into(), ..made }),
        r"with `/` in place of `\/`: it was written anew on its way",
        "let the proxy pass the body as it is",
    ),
    (
        "base64 for hex",
        |made| {
            (made.signer.encoded(&[0; 32], true).len() == 64)
                .then_some(Made { usual_encoding: false, ..made })
        },
        "the signature is base64, expected hex",
        "`encoding: base64` in the definition",
    ),
    (
        "hex for base64",
        |made| {
            (made.signer.encoded(&[0; 32], true).len() == 44)
                .then_some(Made { usual_encoding: false, ..made })
        },
        "the signature is hex, expected base64",
        "`encoding: hex` in the definition",
    ),
    (
        "a timestamp in milliseconds",
        |made| made.signer.is_stamped().then_some(Made { stamp: format!("{STAMP}000"), ..made }),
        "the timestamp is in milliseconds",
        "send seconds",
    ),
    (
        "the wrong header",
        |made| Some(Made { header: "x-sig".into(), ..made }),
        "the signature is in `x-sig`, expected in `",
        "set `signature.header`",
    ),
    (
        "a secret with a line break",
        |made| {
            let plain = matches!(made.signer.provider, "stream" | "stripe");
            plain.then(|| Made {
                source: format!("lines-{}", made.signer.provider),
                key: made.signer.key(LINES),
                ..made
            })
        },
        "matches once the secret's line break is removed (file:lines)",
        "write the file without it (`printf %s`)",
    ),
    (
        "a secret that ought to be decoded",
        |made| (!made.signer.decodes).then(|| Made { key: BASE64_STANDARD.decode(SECRET).unwrap(), ..made }),
        "matches with the secret decoded from base64 (file:new)",
        "`secret_encoding: base64`",
    ),
    (
        "a secret that ought not to be decoded",
        |made| made.signer.decodes.then(|| Made { key: SECRET.into(), ..made }),
        "matches with the secret's text as it is written, not decoded from base64 (file:new)",
        "`secret_encoding: utf8`",
    ),
    (
        "a clock that is behind",
        |made| made.signer.is_stamped().then_some(Made { stamp: (STAMP - 600).to_string(), ..made }),
        "the sender's clock is 600 s behind; 300 s are allowed",
        "mend NTP on this machine",
    ),
    (
        "the path of another provider",
        |made| {
            let elsewhere = if made.signer.provider == "fastpix" { "stream" } else { "fastpix" };
            let key = made.signer.key(OTHER);
            Some(Made { source: elsewhere.into(), key, ..made })
        },
        "this is a delivery of `",
        "post it to /in/other-",
    ),
];

#[test]
fn verify_names_the_cause_and_the_fix_for_every_form_of_signature() {
    let home = home();
    for signer in SIGNERS {
        for (situation, spoil, cause, fix) in SITUATIONS {
            let Some(made) = spoil(Made::of(signer)) else { continue };
            let ran = made.verified(&home, &["--at", AT]);
            let said = format!("{situation} ({}): {} {}", signer.provider, ran.text, ran.errors);
            assert_eq!(ran.code, Some(1), "{said}");
            assert!(ran.text.contains(cause), "expected {cause}\n{said}");
            assert!(ran.text.contains(fix), "expected {fix}\n{said}");
            assert_eq!(ran.text.matches(" why ").count(), 1, "{said}");
        }
    }
}

#[test]
fn a_valid_delivery_is_said_to_be_and_with_which_secret() {
    let home = home();
    for signer in SIGNERS {
        let ran = Made::of(signer).verified(&home, &["--at", AT]);
        assert_eq!(ran.code, Some(0), "{}", ran.text);
        assert!(ran.text.contains("verdict valid, signed with file:new"), "{}", ran.text);
        assert!(ran.errors.contains("a bridge that refuses this delivery was started with others"));
        let packed = Made { sent: gzip(BODY.as_bytes()), ..Made::of(signer) };
        assert_eq!(packed.verified(&home, &["--at", "1700000000"]).code, Some(0), "{}", signer.provider);
    }
}

#[test]
fn a_clock_that_is_wrong_is_told_where_no_moment_is_given() {
    let home = home();
    let Some(clock) = WallClock::new(&home, "the diagnosis of a clock") else { return };
    clock.set(600);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let made = Made { stamp: now.to_string(), ..Made::of(SIGNERS[2]) };
    let words = made.recorded(&home);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let ran: Ran = home.try_verb_under(&clock.wrapper().each_ref().map(String::as_str), &words).into();
    assert_eq!(ran.code, Some(1), "{}", ran.text);
    // The process can take a while to start.
    let told = (600..660).any(|seconds| {
        ran.text.contains(&format!("the sender's clock is {seconds} s behind; 300 s are allowed"))
    });
    assert!(told && ran.text.contains("give the moment at which it came with `--at`"), "{}", ran.text);
    assert_eq!(made.verified(&home, &[]).code, Some(0), "the right clock takes it");
}

#[test]
fn when_nothing_matches_it_is_said_what_was_tried_and_no_cause_is_named() {
    let home = home();
    for signer in SIGNERS {
        let made = Made { key: signer.key(NOBODYS), ..Made::of(signer) };
        let ran = made.verified(&home, &["--at", AT]);
        assert_eq!(ran.code, Some(1), "{}", ran.text);
        for words in [
            "verdict refused, reason wrong_signature",
            "the secret is another one, or the body was changed in a way that is not known here",
            "tried every secret of the configuration",
            "record headers and body of one request byte for byte",
        ] {
            assert!(ran.text.contains(words), "expected {words}: {}", ran.text);
        }
        assert!(!ran.text.contains("matches"), "{}", ran.text);
        assert_eq!(ran.text.matches(" why ").count(), 1, "{}", ran.text);
    }
}

#[test]
fn what_has_no_signature_of_a_webhook_is_refused_with_what_stands_in_for_it() {
    let home = home();
    Made::of(SIGNERS[0]).recorded(&home);
    for (source, words) in [
        (
            "queue",
            "the policy of the queue https://sqs.us-east-1.amazonaws.com/222222222222/q decides who can send them",
        ),
        ("topic", "its messages are signed by SNS with a certificate; the reason"),
        ("raw", "raw ones have the user name and password of `sns.raw` (Basic authentication)"),
        ("stram", "unknown source `stram`; did you mean `stream`?"),
    ] {
        let ran: Ran = home.try_verb(&["verify", source, "--body", "body", "--headers", "headers"]).into();
        assert_eq!((ran.code, &*ran.text), (Some(2), ""), "{source}: {}", ran.errors);
        assert!(ran.errors.contains(words), "{source}: {}", ran.errors);
        assert!(!ran.errors.contains(OTHER), "{}", ran.errors);
    }
}

#[test]
fn headers_and_body_come_from_files_from_curl_from_json_and_from_a_pipe() {
    let home = home();
    let made = Made::of(SIGNERS[0]);
    made.recorded(&home);
    let signature = &made.headers()[0].1;
    fs::write(
        home.path("curl"),
        format!("> POST /in/a HTTP/1.1\n> X-Signature: {signature}\n>\n< HTTP/1.1 401\n"),
    )
    .unwrap();
    fs::write(home.path("json"), format!(r#"{{"x-signature": ["{signature}"]}}"#)).unwrap();
    fs::write(home.path("pairs"), format!(r#"[["X-Signature", "{signature}"]]"#)).unwrap();
    for file in ["headers", "curl", "json", "pairs"] {
        let ran: Ran = home.try_verb(&["verify", "stream", "--body", "body", "--headers", file]).into();
        assert_eq!(ran.code, Some(0), "{file}: {} {}", ran.text, ran.errors);
    }
    let mut piped = Command::new(env!("CARGO_BIN_EXE_fanbridge"));
    piped.args(["verify", "stream", "--body", "-", "--headers", "headers", "--format", "json"]);
    piped.current_dir(home.path("")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = piped.spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{BODY}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = &rows[0];
    assert_eq!((&row["valid"], &row["reason"]), (&false.into(), &"wrong_signature".into()));
    assert_eq!(row["header"], "x-signature: hex, 64 digits");
    let cause = row["faults"][0]["cause"].as_str().unwrap();
    assert!(cause.contains("trailing newline") && row["faults"][1].is_null(), "{row}");

    fs::write(home.path("broken"), "X-Signature canary").unwrap();
    for (body, headers, code, words) in [
        ("-", "-", 2, "stdin is either the body or the headers"),
        ("body", "broken", 2, "--headers broken: line 1 is no header, expected `Name: value`"),
        ("none", "headers", 74, "cannot read none"),
        ("body", "none", 74, "cannot read none"),
        ("body", ".", 74, "cannot read ."),
    ] {
        let ran: Ran = home.try_verb(&["verify", "stream", "--body", body, "--headers", headers]).into();
        assert_eq!(ran.code, Some(code), "{}", ran.errors);
        assert!(ran.errors.contains(words) && !ran.errors.contains("canary"), "{}", ran.errors);
    }
}

#[test]
fn nothing_that_verify_prints_is_a_secret_or_a_mac() {
    let home = home();
    for signer in SIGNERS {
        let valid: Situation = ("valid", |made| Some(made), "", "");
        let unknown: Situation =
            ("unknown", |made| Some(Made { key: made.signer.key(NOBODYS), ..made }), "", "");
        for (_, spoil, _, _) in SITUATIONS.iter().chain([&valid, &unknown]) {
            let Some(made) = spoil(Made::of(signer)) else { continue };
            let right = signer.mac(&signer.key(SECRET), &STAMP.to_string(), BODY.as_bytes());
            let mut canaries = vec!["evt_canary".to_owned()];
            for mac in [&made.mac(), &right] {
                canaries.extend([hex::encode(mac), BASE64_STANDARD.encode(mac)]);
            }
            for secret in [SECRET, OTHER, OLD, LINES, NOBODYS] {
                let key = BASE64_STANDARD.decode(secret).unwrap();
                canaries.extend([secret.into(), hex::encode(&key), String::from_utf8(key).unwrap()]);
            }
            for format in ["table", "json"] {
                let ran = made.verified(&home, &["--at", AT, "--format", format]);
                assert!(matches!(ran.code, Some(0 | 1)), "{}", ran.errors);
                for canary in &canaries {
                    assert!(!ran.text.contains(canary), "{}", ran.text);
                    assert!(!ran.errors.contains(canary), "{}", ran.errors);
                }
            }
        }
    }
}

#[test]
fn without_a_configuration_it_uses_the_secrets_that_a_bridge_has_made_here_and_makes_none() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("empty"), "").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanbridge"));
    command.current_dir(dir.path()).env_clear();
    command.args(["verify", "stream", "--body", "empty", "--headers", "empty"]);
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, Some(78), "{}", ran.errors);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "it made something");
    command.env("FANBRIDGE_STREAM_SECRET", SECRET).env("FANBRIDGE_FASTPIX_SECRET", OTHER);
    let ran: Ran = command.output().unwrap().into();
    assert_eq!(ran.code, Some(1), "{}", ran.errors);
    assert!(ran.text.contains("reason missing_signature why `x-signature` is missing"), "{}", ran.text);
    assert!(!ran.text.contains("tried"), "there was nothing to try: {}", ran.text);
}

/// What a stranger or a provider may send, spoilt at random.
fn thrown(dice: &mut Dice, signer: Signer, now: i64) -> Made {
    let spoilt = |made: Made, (_, spoil, _, _): &Situation| spoil(made.clone()).unwrap_or(made);
    let mut made = Made::of(signer);
    for _ in 0..dice.within(0..3) {
        made = spoilt(made, &SITUATIONS[dice.within(0..SITUATIONS.len() as u64) as usize]);
    }
    let off = [0, 0, 0, -200, 200, -400, 400][dice.within(0..7) as usize];
    let milliseconds = made.stamp.len() > 10;
    let stamp = now + off;
    let stamp = if milliseconds { format!("{stamp}000") } else { stamp.to_string() };
    Made { stamp, ..made }
}

#[test]
fn a_valid_delivery_is_valid_for_verify_and_for_the_front() {
    let _turn = turns::in_company();
    let home = home();
    // A bridge that only listens: nobody answers under the queue's address.
    let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    let lines = text
        .lines()
        .filter(|line| !["  queue:", "  topic:", "  raw:"].iter().any(|one| line.starts_with(one)));
    fs::write(home.path("fanbridge.yaml"), lines.collect::<Vec<_>>().join("\n")).unwrap();
    let bridge = home.start();
    let mut dice = Dice::thrown_for("deliveries for verify and for the front");
    let mut taken = [0; 2];
    for _ in 0..60 {
        let signer = SIGNERS[dice.within(0..SIGNERS.len() as u64) as usize];
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        let made = thrown(&mut dice, signer, now);
        let headers = made.headers();
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = format!("/in/{}", made.source);
        let answer = bridge.client().post(&path, &headers, &made.sent).unwrap();
        let ran = made.verified(&home, &[]);
        let is_taken = answer.status == 200;
        let expected = if is_taken { 0 } else { 1 };
        assert_eq!(ran.code, Some(expected), "answered {}: {} {}", answer.status, ran.text, ran.errors);
        if !is_taken {
            assert_eq!(answer.status, 401);
            let reason = ran.text.split("reason ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            let labels = [format!("source=\"{}\"", made.source), format!("reason=\"{reason}\"")];
            let labels = labels.each_ref().map(String::as_str);
            assert!(bridge.metric("fanbridge_refused_total", &labels) >= 1.0, "{reason}: {}", ran.text);
        }
        taken[usize::from(is_taken)] += 1;
    }
    assert!(taken.iter().all(|count| *count > 0), "refused and taken: {taken:?}");
    bridge.stop();
}

/// Tests that measure.
mod alone {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_body_of_sixteen_mebibytes_is_diagnosed_within_five_seconds() {
        let _turn = turns::alone();
        let home = home();
        let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
        let text =
            text.replace("    provider: stream\n", "    provider: stream\n    body_bytes_max: 16 MiB\n");
        fs::write(home.path("fanbridge.yaml"), text).unwrap();
        let member = format!("\"{}\": [1, 2.50, \"https://a/b\", {{\"c\": null}}], ", "n".repeat(40));
        let count = (16 << 20) / member.len() - 1;
        let body = format!("{{{}\"type\": \"video.media.ready\"}}", member.repeat(count));
        let compact = body.replace(", ", ",").replace(": ", ":");
        for (signed, sent, cause) in [
            (body.clone(), format!("{body}\n"), "matches without the trailing newline"),
            (compact, body.clone(), "when its white space is removed"),
            ("another".into(), body, "nothing that was tried gives an offered signature"),
        ] {
            let made = Made { signed: signed.into(), sent: sent.into(), ..Made::of(SIGNERS[0]) };
            let words = made.recorded(&home);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let start = Instant::now();
            let ran: Ran = home.try_verb(&words).into();
            let took = start.elapsed();
            println!("{cause}: {took:?}");
            assert!(ran.text.contains(cause), "{}", ran.text);
            assert!(took < Duration::from_secs(5), "{cause}: took {took:?}");
        }
    }
}
