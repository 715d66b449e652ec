//! Each fault that a sender, a proxy or a configuration makes is named, for every form of scheme, and none
//! that is not there.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::provider::scheme::{Algorithm, Form, TimestampPlace};
use crate::provider::{DefinitionFile, builtin, builtin_named};

const NOW: Timestamp = Timestamp(1_700_000_000_500_000_000);
const STAMP: &str = "1700000000";
const BODY: &str = r#"{"type":"invoice.paid","data":{"id":"in_1","url":"https://a/b","n":[1.50,2]}}"#;
/// Base64 of 24 bytes, and as a text a key by itself.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";
const OTHER_KEY: &str = "YSBzZWNyZXQgb2YgYW5vdGhlciBvbmUh";
const SIZES: DeliverySizes = DeliverySizes {
    sent_bytes_max: 2 << 20,
    inflate: BodyLimits { inflated_bytes_max: 16 << 20, inflate_ratio_max: 200 },
};

fn custom(signature: &str) -> Arc<Definition> {
    let text = format!("signature: {signature}\nevent: {{ type: {{ pointers: [/type] }} }}");
    let file: DefinitionFile = serde_saphyr::from_str(&text).unwrap();
    Arc::new(Definition::compile("acme", file).unwrap())
}

/// The built-in providers, and what else a configuration can describe.
fn definitions() -> Vec<Arc<Definition>> {
    let custom = [
        "{ scheme: hmac-sha1, header: x-sig }",
        "{ scheme: hmac-sha512, header: x-sig, encoding: base64, secret_encoding: base64 }",
        "{ scheme: hmac-sha256, header: x-sig, signed: 'v0:{timestamp}:{body}', prefix: v0=, \
           timestamp: { header: x-time } }",
        "{ scheme: hmac-sha512, header: x-sig, form: versions, version: v2, signed: '{id}/{body}', \
           id_header: x-id }",
    ]
    .map(custom);
    builtin().iter().cloned().chain(custom).collect()
}

fn scheme(definition: &Definition) -> &HmacScheme {
    definition.signature.hmac.as_ref().unwrap()
}

fn secret(definition: &Definition, text: &str) -> SigningSecret {
    SigningSecret::parse(text, definition.secret_form(), None, None).unwrap()
}

/// A delivery that is valid: what a test makes worse.
struct Sent {
    definition: Arc<Definition>,
    secrets: Vec<(&'static str, Arc<Definition>, &'static str, SigningSecret)>,
    headers: HeaderMap,
    body: Bytes,
    at: Timestamp,
}

impl Sent {
    fn new(definition: &Arc<Definition>) -> Self {
        let own = secret(definition, KEY);
        let headers = headers(scheme(definition), &own, BODY.as_bytes(), STAMP, "msg_1");
        Self {
            definition: definition.clone(),
            secrets: vec![("mine", definition.clone(), "env:MINE", own)],
            headers,
            body: BODY.into(),
            at: NOW,
        }
    }

    /// Signed by this secret over another body than the one that is sent.
    fn signed_over(definition: &Arc<Definition>, signed: &[u8], sent: &[u8]) -> Self {
        let mut delivery = Self::new(definition);
        let own = &delivery.secrets[0].3;
        delivery.headers = headers(scheme(definition), own, signed, STAMP, "msg_1");
        delivery.body = Bytes::copy_from_slice(sent);
        delivery
    }

    /// Signed with another key than the source's secret.
    fn signed_with(definition: &Arc<Definition>, key: &[u8]) -> Self {
        let mut delivery = Self::new(definition);
        let key = SigningSecret::from_key(key.to_vec());
        delivery.headers = headers(scheme(definition), &key, BODY.as_bytes(), STAMP, "msg_1");
        delivery
    }

    fn with(
        mut self,
        source: &'static str,
        definition: &Arc<Definition>,
        name: &'static str,
        text: &str,
    ) -> Self {
        self.secrets.push((source, definition.clone(), name, secret(definition, text)));
        self
    }

    /// The source's only secret is these bytes.
    fn keyed(mut self, key: &[u8]) -> Self {
        self.secrets[0].3 = SigningSecret::from_key(key.to_vec());
        self
    }

    fn diagnosis(&self) -> Diagnosis {
        let candidates = self.secrets.iter().map(|(source, definition, name, secret)| Candidate {
            source,
            definition,
            name: (*name).into(),
            secret,
            own: *source == "mine",
        });
        let candidates: Vec<Candidate<'_>> = candidates.collect();
        let recorded = RecordedDelivery { headers: &self.headers, body: &self.body, at: self.at };
        diagnose(&self.definition, &candidates, &recorded, &SIZES)
    }

    /// The causes, one by one.
    #[track_caller]
    fn causes(&self) -> Vec<String> {
        match self.diagnosis() {
            Diagnosis::Explained { faults, .. } => {
                for fault in &faults {
                    assert!(!fault.fix(&self.definition).is_empty(), "{fault:?}");
                }
                faults.iter().map(SignatureFault::cause).collect()
            }
            other => panic!("{}: not explained: {other:?}", self.definition.provider),
        }
    }

    /// The only cause.
    #[track_caller]
    fn cause(&self) -> String {
        let mut causes = self.causes();
        assert_eq!(causes.len(), 1, "{}: {causes:?}", self.definition.provider);
        causes.remove(0)
    }
}

fn headers(scheme: &HmacScheme, key: &SigningSecret, signed: &[u8], stamp: &str, id: &str) -> HeaderMap {
    let mark = scheme.mac(key, Some(id), Some(stamp), signed);
    let mut headers = HeaderMap::new();
    headers.insert(scheme.header.clone(), value(&scheme.write(mark, stamp)));
    if let Some(name) = &scheme.id_header {
        headers.insert(name.clone(), value(id));
    }
    if let Some(TimestampPlace::Header(name)) = scheme.timestamp.as_ref().map(|rule| &rule.place) {
        headers.insert(name.clone(), value(stamp));
    }
    headers
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn is_unexplained(delivery: &Sent) -> bool {
    matches!(delivery.diagnosis(), Diagnosis::Unexplained { .. })
}

#[test]
fn what_is_valid_is_said_to_be_and_by_which_secret() {
    for definition in definitions() {
        let skew_seconds = scheme(&definition).timestamp.as_ref().map(|_| 0);
        let valid = Diagnosis::Valid { secret: Some("env:MINE".into()), skew_seconds };
        assert_eq!(Sent::new(&definition).diagnosis(), valid, "{}", definition.provider);
    }
    let open = custom("{ scheme: none, insecure_no_verification: true }");
    let mut sent = Sent::new(&builtin_named("stream").unwrap());
    (sent.definition, sent.secrets) = (open, Vec::new());
    assert_eq!(sent.diagnosis(), Diagnosis::Valid { secret: None, skew_seconds: None });
    let mut probe = Sent::new(&builtin_named("fastpix").unwrap());
    (probe.headers, probe.body) = (HeaderMap::new(), Bytes::from_static(b"{}"));
    assert_eq!(probe.diagnosis(), Diagnosis::Probe);
}

#[test]
fn another_body_than_the_signed_one_is_told_for_every_form_of_scheme() {
    let json: serde_json::Value = serde_json::from_str(BODY).unwrap();
    let indented = serde_json::to_string_pretty(&json).unwrap();
    let lines = "{\n \"type\": 1\n}";
    let crlf = lines.replace('\n', "\r\n");
    for definition in definitions() {
        for (signed, sent, cause) in [
            (BODY, &*format!("{BODY}\n"), "matches without the trailing newline"),
            (BODY, &format!("{BODY}\r\n"), "matches without the trailing newline"),
            (&format!("{BODY}\n"), BODY, "matches with a newline behind the body"),
            (&format!("{BODY}\r\n"), BODY, "matches with a CRLF behind the body"),
            (lines, &crlf, "with LF in place of each CRLF"),
            (&crlf, lines, "with CRLF in place of each LF"),
            (BODY, &format!("\u{feff}{BODY}"), "without the byte order mark"),
            (BODY, &BODY.replace("\":", "\": "), "when its white space is removed: it was written anew"),
            (&indented, &json.to_string(), "when it is indented by 2 spaces"),
            (&BODY.replace(',', ", ").replace("\":", "\": "), BODY, "with one space behind each `,` and `:`"),
            (&BODY.replace('/', "\\/"), BODY, r"with `\/` in place of `/`"),
            (BODY, &BODY.replace('/', "\\/"), r"with `/` in place of `\/`"),
            (r#"{"a":"\u00e9"}"#, r#"{"a":"é"}"#, r"with `\u…` in place of all that is not ASCII"),
            (r#"{"a":"é"}"#, r#"{"a":"\u00e9"}"#, "with no escape that JSON does not need"),
            (r#"{"a":1,"b":2}"#, r#"{"b": 2, "a": 1}"#, "sorted by name"),
            ("", BODY, "over an empty body"),
        ] {
            let told = Sent::signed_over(&definition, signed.as_bytes(), sent.as_bytes()).cause();
            assert!(told.contains(cause), "{}: {told}, expected {cause}", definition.provider);
        }
    }
}

#[test]
fn whether_the_compressed_or_the_inflated_bytes_are_signed_is_told() {
    for definition in definitions() {
        let packed = gzip(BODY.as_bytes());
        let told = Sent::signed_over(&definition, &packed, &packed).cause();
        assert!(told.contains("the signature is over the compressed bytes"), "{told}");
        let ok = Sent::signed_over(&definition, BODY.as_bytes(), &packed).diagnosis();
        assert!(matches!(ok, Diagnosis::Valid { .. }), "{}: {ok:?}", definition.provider);
    }
    let text = "{ signature: { scheme: hmac-sha256, header: x-sig }, body: { encodings: [identity] }, \
                event: { type: { pointers: [/type] } } }";
    let plain = Definition::compile("acme", serde_saphyr::from_str(text).unwrap()).unwrap();
    let sent = Sent::signed_over(&Arc::new(plain), BODY.as_bytes(), &gzip(BODY.as_bytes()));
    assert!(sent.cause().contains("the signature is over the inflated bytes"));
    let Diagnosis::Explained { faults, .. } = sent.diagnosis() else { panic!("not explained") };
    assert!(faults[0].fix(&sent.definition).starts_with("set `body: { encodings: [identity, gzip] }`"));
}

#[test]
fn a_secret_that_is_written_otherwise_is_told_for_every_form_of_scheme() {
    let decoded = BASE64_STANDARD.decode(KEY).unwrap();
    let hex = "00112233445566778899aabbccddeeff";
    let prefixed = format!("whsec_{KEY}");
    for definition in definitions() {
        for (signed, ours, cause) in [
            (KEY.as_bytes(), &*format!("{KEY}\n"), "once the secret's line break is removed"),
            (KEY.as_bytes(), &format!("{KEY}\r\n\n"), "once the secret's line break is removed"),
            (KEY.as_bytes(), &format!(" {KEY} "), "white space around the secret is removed"),
            (KEY.as_bytes(), &format!("\"{KEY}\""), "quotes around the secret are removed"),
            (KEY.as_bytes(), &format!("'{KEY}'\n"), "quotes around the secret are removed"),
            (KEY.as_bytes(), &format!("{KEY}\nsecond line"), "the first line of the secret alone"),
            (KEY.as_bytes(), &format!("# a comment\n{KEY}"), "the last line of the secret alone"),
            (KEY.as_bytes(), &format!("MY_SECRET={KEY}"), "behind the `=` of the secret alone"),
            (&[KEY.as_bytes(), b"\n"].concat(), KEY, "with a line break behind the secret"),
            (&decoded, KEY, "matches with the secret decoded from base64"),
            (&hex::decode(hex).unwrap(), hex, "matches with the secret decoded from hex"),
            (KEY.as_bytes(), &prefixed, "without `whsec_` in front of the secret"),
            (&decoded, &prefixed, "without `whsec_` in front of the secret and the rest decoded"),
        ] {
            if definition.secret_form().encoding != Default::default() {
                continue;
            }
            let told = Sent::signed_with(&definition, signed).keyed(ours.as_bytes()).cause();
            assert!(told.contains(cause), "{}: {told}, expected {cause}", definition.provider);
            assert!(told.contains("env:MINE"), "{told}");
        }
    }
    for name in ["fastpix", "standard-webhooks"] {
        let definition = builtin_named(name).unwrap();
        let told = Sent::signed_with(&definition, KEY.as_bytes()).cause();
        assert!(told.contains("the secret's text as it is written, not decoded from base64"), "{told}");
        let twice = BASE64_STANDARD.encode([7; 24]);
        let told = Sent::signed_with(&definition, &[7; 24]).keyed(twice.as_bytes()).cause();
        assert!(told.contains("decoded once more"), "{told}");
        let echoed = [KEY.as_bytes(), b"\n"].concat();
        let told = Sent::signed_with(&definition, KEY.as_bytes()).keyed(&echoed).cause();
        assert!(told.contains("once the secret's line break is removed"), "{told}");
    }
    let told = Sent::signed_with(&builtin_named("standard-webhooks").unwrap(), prefixed.as_bytes()).cause();
    assert!(told.contains("whole text, `whsec_` in front"), "{told}");
    let of_hex = custom("{ scheme: hmac-sha256, header: x-sig, secret_encoding: hex }");
    let mut sent = Sent::new(&builtin_named("stream").unwrap());
    for text in [hex.to_owned(), hex.to_uppercase()] {
        let key = SigningSecret::from_key(text.clone().into_bytes());
        sent.headers = headers(scheme(&of_hex), &key, BODY.as_bytes(), STAMP, "");
        sent.secrets = vec![("mine", of_hex.clone(), "env:MINE", secret(&of_hex, hex))];
        sent.definition = of_hex.clone();
        assert!(sent.cause().contains("not decoded from hex"), "{text}");
    }
}

#[test]
fn a_signature_in_another_header_or_form_is_told_for_every_form_of_scheme() {
    for definition in definitions() {
        let scheme = scheme(&definition);
        let mut moved = Sent::new(&definition);
        let signature = moved.headers.remove(&scheme.header).unwrap();
        moved.headers.insert("x-moved", signature);
        let expected = format!("the signature is in `x-moved`, expected in `{}`", scheme.header);
        assert_eq!(moved.cause(), expected);

        let own = &moved.secrets[0].3;
        let mark = scheme.mac(own, Some("msg_1"), Some(STAMP), BODY.as_bytes());
        let bytes = &mark.bytes[..mark.len];
        let written = scheme.write(mark, STAMP);
        let (hex, base64) = (hex::encode(bytes), BASE64_STANDARD.encode(bytes));
        let (this, other, name) = match written.contains(&hex) {
            true => (&hex, base64.clone(), "base64"),
            false => (&base64, hex.clone(), "hex"),
        };
        for (other, name) in
            [(other, name), (BASE64_URL_SAFE.encode(bytes).trim_end_matches('=').into(), "base64 ")]
        {
            let mut sent = Sent::new(&definition);
            sent.headers.insert(scheme.header.clone(), value(&written.replace(this, &other)));
            assert!(sent.cause().starts_with(&format!("the signature is {name}")), "{}", sent.cause());
        }

        if written.starts_with("t=") {
            // Without its list, the signature has no timestamp.
            continue;
        }
        let mut sent = Sent::new(&definition);
        let prefixed = if written.contains("sha256=") { this.clone() } else { format!("sha256={this}") };
        sent.headers.insert(scheme.header.clone(), value(&prefixed));
        let causes = sent.causes();
        assert!(causes.iter().any(|cause| cause.contains("the signature is written as")), "{causes:?}");
    }
}

#[test]
fn another_algorithm_is_told_by_its_name() {
    for definition in definitions() {
        let scheme = scheme(&definition);
        for algorithm in Algorithm::ALL.into_iter().filter(|algorithm| *algorithm != scheme.algorithm) {
            let other = HmacScheme { algorithm, ..scheme.clone() };
            let mut sent = Sent::new(&definition);
            sent.headers = headers(&other, &sent.secrets[0].3, BODY.as_bytes(), STAMP, "msg_1");
            let told = sent.cause();
            let name = match algorithm {
                Algorithm::Sha1 => "SHA-1",
                Algorithm::Sha256 => "SHA-256",
                Algorithm::Sha512 => "SHA-512",
            };
            assert!(told.starts_with(&format!("the signature is made with {name}, expected SHA-")), "{told}");
        }
    }
}

#[test]
fn another_signed_text_and_another_place_of_its_parts_are_told() {
    let of = |signature: &str| custom(&format!("{{ scheme: hmac-sha256, header: x-sig, {signature} }}"));
    let plain = of("signed: '{body}'");
    let stamped = of("signed: '{timestamp}.{body}', timestamp: { header: x-time }");
    let colon = of("signed: '{timestamp}:{body}', timestamp: { header: x-time }");
    let identified = of("signed: '{id}.{timestamp}.{body}', timestamp: { header: x-time }, id_header: x-id");
    let delivered = |signed: &Arc<Definition>, expected: &Arc<Definition>| {
        let mut sent = Sent::new(signed);
        sent.definition = expected.clone();
        sent.secrets[0].1 = expected.clone();
        sent
    };
    for (signed, expected, cause) in [
        (&plain, &stamped, "over `{body}`, expected over `{timestamp}.{body}`"),
        (&stamped, &plain, "over `{timestamp}.{body}`, expected over `{body}`"),
        (&colon, &stamped, "over `{timestamp}:{body}`, expected over `{timestamp}.{body}`"),
        (&identified, &stamped, "over `{id}.{timestamp}.{body}`, expected over `{timestamp}.{body}`"),
        (&stamped, &identified, "over `{timestamp}.{body}`, expected over `{id}.{timestamp}.{body}`"),
    ] {
        let told = delivered(signed, expected).cause();
        assert!(told.contains(cause), "{told}, expected {cause}");
    }
    let Diagnosis::Explained { faults, .. } = delivered(&stamped, &plain).diagnosis() else {
        panic!("explained")
    };
    let fix = faults[0].fix(&plain);
    assert!(fix.contains("`signed: \"{timestamp}.{body}\"`, `timestamp: { header: x-time }`"), "{fix}");

    let elsewhere = of("signed: '{timestamp}.{body}', timestamp: { header: x-sent-at }");
    let told = delivered(&elsewhere, &stamped).cause();
    assert_eq!(told, "the timestamp that was signed is in `x-sent-at`, expected in `x-time`");
    // As Svix names the headers of Standard Webhooks.
    let standard = builtin_named("standard-webhooks").unwrap();
    let mut sent = Sent::new(&standard);
    let renamed = sent.headers.iter().map(|(name, value)| {
        let name = HeaderName::try_from(name.as_str().replace("webhook-", "svix-")).unwrap();
        (name, value.clone())
    });
    sent.headers = renamed.collect();
    let mut causes = sent.causes();
    causes.sort();
    assert_eq!(
        causes,
        [
            "the id that was signed is in `svix-id`, expected in `webhook-id`",
            "the signature is in `svix-signature`, expected in `webhook-signature`",
            "the timestamp that was signed is in `svix-timestamp`, expected in `webhook-timestamp`",
        ]
    );
}

#[test]
fn a_timestamp_is_told_to_be_wrong_only_behind_a_signature_that_is_right() {
    for definition in definitions() {
        let Some(rule) = &scheme(&definition).timestamp else { continue };
        let stamped = |stamp: &str| {
            let mut sent = Sent::new(&definition);
            sent.headers = headers(scheme(&definition), &sent.secrets[0].3, BODY.as_bytes(), stamp, "msg_1");
            sent
        };
        assert!(stamped("1700000000000").cause().contains("the timestamp is in milliseconds"));
        assert!(stamped("1700000000s").cause().contains("no number of seconds"));
        let behind = stamped("1699999400").cause();
        let allowed = format!("{} s are allowed", rule.tolerance_seconds);
        assert!(
            behind.contains("the sender's clock is 600 s behind; ") && behind.contains(&allowed),
            "{behind}"
        );
        assert!(stamped("1700000600").cause().contains("the sender's clock is 600 s ahead"));
        let mut recorded = stamped("1699999400");
        recorded.at = Timestamp(1_699_999_400_000_000_000);
        assert!(matches!(recorded.diagnosis(), Diagnosis::Valid { .. }), "at the moment at which it came");
        let forged = Sent { secrets: Vec::new(), ..stamped("1699999400") };
        assert!(!format!("{:?}", forged.diagnosis()).contains("Time("), "nothing matched");
        let mut old_and_longer = stamped("1699999400");
        old_and_longer.body = format!("{BODY}\n").into();
        assert_eq!(old_and_longer.causes().len(), 2);
    }
}

#[test]
fn the_secret_of_another_source_is_told_with_the_source() {
    for definition in definitions() {
        let sent = Sent::signed_with(&definition, secret(&definition, OTHER_KEY).key());
        assert!(is_unexplained(&sent), "nobody has it");
        let sent = sent.with("other", &definition, "env:OTHER", OTHER_KEY);
        assert_eq!(sent.cause(), "signed with the secret of source `other` (env:OTHER)");
        let Diagnosis::Explained { faults, .. } = sent.diagnosis() else { panic!("explained") };
        let fix = faults[0].fix(&definition);
        assert!(fix.starts_with("post it to /in/other, or list that secret"), "{fix}");
        let sent = sent.with("third", &definition, "file:/third", OTHER_KEY);
        assert_eq!(
            sent.cause(),
            "signed with the secret of source `other` (env:OTHER) and source `third` (file:/third)"
        );
    }
}

#[test]
fn a_delivery_of_another_provider_is_told_with_its_path() {
    let all = definitions();
    let pair = |one: &Arc<Definition>, other: &Arc<Definition>| one.provider == other.provider;
    for (definition, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
        if pair(definition, other) {
            continue;
        }
        let mut sent = Sent::signed_with(other, secret(other, OTHER_KEY).key());
        sent.definition = definition.clone();
        sent.secrets = vec![("mine", definition.clone(), "env:MINE", secret(definition, KEY))];
        let sent = sent.with("other", other, "env:OTHER", OTHER_KEY);
        let told = sent.cause();
        let expected =
            format!("this is a delivery of `{}`, signed with the secret of source `other`", other.provider);
        assert!(told.starts_with(&expected), "{}: {told}", definition.provider);
    }
}

#[test]
fn one_secret_of_two_sources_blames_neither_for_the_other() {
    for definition in definitions() {
        let twin = || Sent::new(&definition).with("twin", &definition, "env:TWIN", KEY);
        assert!(matches!(twin().diagnosis(), Diagnosis::Valid { .. }));
        let mut longer = twin();
        longer.body = format!("{BODY}\n").into();
        assert!(longer.cause().contains("trailing newline"), "{}", longer.cause());
        let expired = |mut sent: Sent| {
            let end = Timestamp(NOW.0 - 1);
            sent.secrets[0].3 = SigningSecret::parse(KEY, definition.secret_form(), None, Some(end)).unwrap();
            sent
        };
        let causes = expired(twin()).causes();
        assert!(causes[0].contains("matches env:MINE, which ended 2023-11-14T22:13:20"), "{causes:?}");
        assert!(causes[0].ends_with("the same key is that of source `twin` (env:TWIN)"), "{causes:?}");
        assert_eq!(causes[1], "as it is, the signature is right for source `twin` (env:TWIN)");
        assert_eq!(expired(Sent::new(&definition)).causes().len(), 1);
    }
    // The same text, which one source decodes and the other does not.
    let (stream, fastpix) = (builtin_named("stream").unwrap(), builtin_named("fastpix").unwrap());
    let sent = Sent::signed_with(&stream, &BASE64_STANDARD.decode(KEY).unwrap());
    let told = sent.with("video", &fastpix, "env:VIDEO", KEY).cause();
    assert!(told.contains("matches with the secret decoded from base64 (env:MINE)"), "{told}");
    assert!(told.ends_with("the same key is that of source `video` (env:VIDEO)"), "{told}");
}

#[test]
fn secrets_that_were_exchanged_are_told_though_the_other_provider_signs_otherwise() {
    let (stream, github) = (builtin_named("stream").unwrap(), builtin_named("github").unwrap());
    let sent = Sent::signed_with(&stream, OTHER_KEY.as_bytes()).with("code", &github, "env:CODE", OTHER_KEY);
    assert_eq!(sent.cause(), "signed with the secret of source `code` (env:CODE)");
    let decoded = Sent::signed_with(&stream, &BASE64_STANDARD.decode(OTHER_KEY).unwrap());
    let told = decoded.with("code", &github, "env:CODE", OTHER_KEY).cause();
    assert!(told.ends_with("(env:CODE): it matches with the secret decoded from base64"), "{told}");
}

#[test]
fn a_secret_whose_time_has_not_come_is_told_and_so_is_that_none_is_valid() {
    let stream = builtin_named("stream").unwrap();
    let mut sent = Sent::new(&stream);
    let start = Timestamp(NOW.0 + 1_000_000_000);
    sent.secrets[0].3 = SigningSecret::parse(KEY, stream.secret_form(), Some(start), None).unwrap();
    assert_eq!(sent.cause(), "the signature matches env:MINE, which begins 2023-11-14T22:13:21.5Z");
    let unknown = Sent { headers: Sent::signed_with(&stream, b"another key").headers, ..sent };
    let Diagnosis::Unexplained { reason, facts, .. } = unknown.diagnosis() else { panic!("no match") };
    assert_eq!((reason, facts), ("no_live_secret", vec![SignatureFault::Fact(DeliveryFact::NoneLive)]));
    let none = Sent { secrets: Vec::new(), ..Sent::new(&stream) }.with("other", &stream, "env:OTHER", KEY);
    assert_eq!(none.cause(), "signed with the secret of source `other` (env:OTHER)");
}

#[test]
fn what_a_delivery_shows_without_a_key_is_told_as_that_and_a_cause_only_if_one_is_known() {
    let (stream, stripe) = (builtin_named("stream").unwrap(), builtin_named("stripe").unwrap());
    let facts = |sent: &Sent| match sent.diagnosis() {
        Diagnosis::Unexplained { reason, facts, .. } => {
            (reason, facts.iter().map(SignatureFault::cause).collect::<Vec<_>>().join("; "))
        }
        other => panic!("explained: {other:?}"),
    };
    let mut none = Sent::new(&stream);
    none.headers.clear();
    assert_eq!(facts(&none), ("missing_signature", "`x-signature` is missing".into()));
    none.headers.insert("stripe-signature", value("t=1,v1=00"));
    let (_, told) = facts(&none.with("pay", &stripe, "env:PAY", KEY));
    assert!(
        told.ends_with("`stripe-signature` is there, in which source `pay` expects its signature"),
        "{told}"
    );

    let mut malformed = Sent::new(&stream);
    malformed.headers.insert("x-signature", value("not-a-signature"));
    let told = "`x-signature` has 15 bytes that are no signature, expected hex, 64 digits";
    assert_eq!(facts(&malformed), ("malformed_signature", told.into()));

    let mut twice = Sent::new(&stream);
    twice.headers.append("x-signature", value("0"));
    assert_eq!(twice.cause(), "`x-signature` is there more than once, and either could count");

    let mut encoded = Sent::new(&stream);
    encoded.headers.insert("content-encoding", value("br"));
    assert!(encoded.cause().ends_with("that the source does not take (`br`)"), "{}", encoded.cause());

    let mut shorter = Sent::signed_over(&stream, BODY.as_bytes(), format!("{BODY}\n").as_bytes());
    shorter.headers.insert("content-length", value(&BODY.len().to_string()));
    let causes = shorter.causes();
    assert!(causes[0].contains("trailing newline") && causes[1].contains("not as it came"), "{causes:?}");

    let mut inflated = Sent::signed_over(&stream, &gzip(BODY.as_bytes()), BODY.as_bytes());
    inflated.headers.insert("content-encoding", value("gzip"));
    let (reason, told) = facts(&inflated);
    assert!(reason == "wrong_signature" && told.contains("the body here is not compressed"), "{told}");
    inflated.body = format!("{BODY}\n").into();
    inflated.headers.extend(Sent::new(&stream).headers);
    assert!(inflated.cause().contains("trailing newline"), "{}", inflated.cause());

    let large = Sent::signed_over(&stream, BODY.as_bytes(), &vec![b' '; SIZES.sent_bytes_max + 1]);
    let (reason, told) = facts(&large);
    assert_eq!(reason, "body_bytes");
    assert_eq!(told, "the body has 2097153 bytes, and `body_bytes_max` allows 2097152");
    let bomb = Sent::signed_over(&stream, BODY.as_bytes(), &gzip(&vec![b' '; 17 << 20]));
    assert_eq!(facts(&bomb).0, "inflated_bytes");
    let broken = Sent::signed_over(&stream, b"\x1f\x8b broken", b"\x1f\x8b broken");
    assert_eq!(broken.cause(), "the body begins as gzip does and cannot be inflated");

    let fastpix = builtin_named("fastpix").unwrap();
    let unset = Sent { secrets: Vec::new(), ..Sent::new(&fastpix) };
    assert_eq!(facts(&unset).0, "no_secret");
    let mut many = Sent::new(&stripe);
    let signature = many.headers["stripe-signature"].to_str().unwrap().to_owned();
    many.headers.insert("stripe-signature", value(&(signature + &",v1=00".repeat(16))));
    assert_eq!(many.cause(), "the signature's header has more than 16 signatures");
    let standard = builtin_named("standard-webhooks").unwrap();
    let mut cut = Sent::new(&standard);
    cut.headers = headers(scheme(&standard), &cut.secrets[0].3, BODY.as_bytes(), STAMP, "msg.1");
    assert!(cut.cause().contains("contains the text that separates it"));
}

#[test]
fn a_large_body_is_tried_with_a_bounded_number_of_bytes_and_that_is_said() {
    let stream = builtin_named("stream").unwrap();
    let body = vec![b' '; 16 << 20];
    let mut sent = Sent::signed_over(&stream, b"something else", &body);
    for number in 0..40 {
        let text: String = format!("a-further-secret-of-another-one-{number}");
        sent = sent.with("other", &stream, "env:OTHER", &text);
    }
    let Diagnosis::Unexplained { tried, .. } = sent.diagnosis() else { panic!("nothing matches") };
    assert!(tried.stopped && tried.signatures <= 64, "{tried:?}");
    assert!(tried.cause().contains("stopped there"));
}

proptest! {
    /// Two faults at once are both told, whichever they are, and what is told mends the delivery.
    #[test]
    fn a_secret_and_a_body_that_are_both_changed_are_both_told(
        definition in proptest::sample::select(definitions()),
        body in 0..4_usize,
        moved in any::<bool>(),
    ) {
        let sent_body = [
            format!("{BODY}\n"),
            BODY.replace("\":", "\": "),
            BODY.replace("\":", "\"\r\n:"),
            BODY.into(),
        ];
        let utf8 = definition.secret_form().encoding == Default::default();
        let (signing, ours) = match utf8 {
            true => (KEY.as_bytes().to_vec(), format!("{KEY}\n").into_bytes()),
            false => (KEY.as_bytes().to_vec(), BASE64_STANDARD.decode(KEY).unwrap()),
        };
        let mut sent = Sent::signed_with(&definition, &signing).keyed(&ours);
        sent.body = sent_body[body].clone().into();
        if moved {
            let signature = sent.headers.remove(&scheme(&definition).header).unwrap();
            sent.headers.insert("x-moved", signature);
        }
        let Diagnosis::Explained { faults, .. } = sent.diagnosis() else { panic!("{:?}", sent.diagnosis()) };
        let count = |is: fn(&SignatureFault) -> bool| faults.iter().filter(|fault| is(fault)).count();
        prop_assert_eq!(count(|fault| matches!(fault, SignatureFault::Secret { .. })), 1);
        prop_assert_eq!(count(|fault| matches!(fault, SignatureFault::Body(_))), usize::from(body < 3));
        prop_assert_eq!(count(|fault| matches!(fault, SignatureFault::Offer(_))), usize::from(moved));
        prop_assert_eq!(faults.len(), 1 + usize::from(body < 3) + usize::from(moved));
    }

    /// Nothing is invented: a body in which a letter was changed has no explanation but its own.
    #[test]
    fn a_body_with_another_letter_is_never_explained(
        definition in proptest::sample::select(definitions()),
        at in 0..BODY.len(),
        letter in proptest::char::range('A', 'Z'),
    ) {
        let mut body = BODY.as_bytes().to_vec();
        body[at] = letter as u8;
        let sent = Sent::signed_over(&definition, BODY.as_bytes(), &body)
            .with("other", &builtin_named("stream").unwrap(), "env:OTHER", OTHER_KEY);
        let Diagnosis::Unexplained { reason, facts, tried } = sent.diagnosis() else {
            panic!("{:?}", sent.diagnosis())
        };
        prop_assert_eq!((reason, facts), ("wrong_signature", vec![]));
        prop_assert!(!tried.stopped && tried.signatures > 8, "{:?}", tried);
    }

    /// The diagnosis and the check never disagree on what is valid.
    #[test]
    fn what_is_valid_for_the_check_is_valid_for_the_diagnosis(
        definition in proptest::sample::select(definitions()),
        header in "[ -~]{0,90}",
        body in "\\PC{0,60}",
        keep in any::<bool>(),
        late in -400..400_i64,
    ) {
        let mut sent = Sent::signed_over(&definition, body.as_bytes(), body.as_bytes());
        if !keep {
            sent.headers.insert(scheme(&definition).header.clone(), value(&header));
        }
        sent.at = Timestamp(NOW.0 + late * 1_000_000_000);
        let secrets = [sent.secrets[0].3.clone()];
        let recorded = RecordedDelivery { headers: &sent.headers, body: &sent.body, at: sent.at };
        let checked = check(&definition, &secrets, &recorded, &SIZES);
        match sent.diagnosis() {
            Diagnosis::Valid { .. } => prop_assert!(matches!(checked, Ok(Receipt::Verified(_)))),
            Diagnosis::Probe => prop_assert!(matches!(checked, Ok(Receipt::Probe))),
            Diagnosis::Explained { reason, .. } | Diagnosis::Unexplained { reason, .. } => {
                prop_assert_eq!(reason, checked.unwrap_err().word());
            }
        }
    }

    /// Whatever the headers are, no message has a part of a value, a secret or a body.
    #[test]
    fn no_diagnosis_repeats_a_secret_a_signature_or_a_body(
        definition in proptest::sample::select(definitions()),
        prefix in "(|v1=|sha256=|t=1700000000,v1=|v1,)",
        writing in 0..3_usize,
        longer in any::<bool>(),
    ) {
        let mut sent = Sent::new(&definition);
        let scheme = scheme(&definition);
        let mark = scheme.mac(&sent.secrets[0].3, Some("msg_1"), Some(STAMP), BODY.as_bytes());
        let mark = &mark.bytes[..mark.len];
        let texts = [hex::encode(mark), BASE64_STANDARD.encode(mark), BASE64_URL_SAFE.encode(mark)];
        sent.headers.insert(scheme.header.clone(), value(&format!("{prefix}{}", texts[writing])));
        sent.headers.insert("x-canary", value("canary-header"));
        sent.headers.insert("content-encoding", value("canary encoding"));
        if longer {
            sent.body = format!("{BODY}\n").into();
        }
        let told = match sent.diagnosis() {
            Diagnosis::Explained { faults, .. } | Diagnosis::Unexplained { facts: faults, .. } => {
                let told = faults.iter().map(|one| one.cause() + &one.fix(&definition));
                told.collect::<String>() + &format!("{faults:?}")
            }
            _ => String::new(),
        } + &offered_form(&definition, &sent.headers).unwrap();
        for canary in texts.iter().map(String::as_str).chain(["canary", KEY, "invoice.paid", "in_1"]) {
            prop_assert!(!told.contains(canary), "{} in {}", canary, told);
        }
    }
}

/// Keeps the forms of the table in step with those of the code.
#[test]
fn the_definitions_of_these_tests_have_every_form() {
    let forms = definitions().iter().map(|definition| scheme(definition).form.clone()).collect::<Vec<_>>();
    assert!(forms.iter().any(|form| matches!(form, Form::Single { prefix } if prefix.is_empty())));
    assert!(forms.iter().any(|form| matches!(form, Form::Single { prefix } if !prefix.is_empty())));
    assert!(forms.iter().any(|form| matches!(form, Form::Versions { .. })));
    assert!(forms.iter().any(|form| matches!(form, Form::Fields { .. })));
}
