//! Messages as SNS sends them, signed a second time from its documentation.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::KeyPair;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::authority::{KEY, OTHER_KEY};

/// The region and topics of the tests.
pub const REGION: &str = "eu-west-1";
pub const TOPIC: &str = "arn:aws:sns:eu-west-1:111111111111:events";
pub const OTHER_LISTED_TOPIC: &str = "arn:aws:sns:eu-west-1:111111111111:more-events";
pub const UNLISTED_TOPIC: &str = "arn:aws:sns:eu-west-1:111111111111:strange";

/// The path of a certificate by its number.
pub fn certificate_path(number: usize) -> String {
    format!("/SimpleNotificationService-{number:032x}.pem")
}

/// The URL of a certificate by its number.
pub fn certificate_url(number: usize) -> String {
    format!("https://sns.{REGION}.amazonaws.com{}", certificate_path(number))
}

/// A message, as the members of its envelope.
#[derive(Clone, Debug)]
pub struct Message(Map<String, Value>);

impl Message {
    /// Something that was published just now.
    pub fn notification(text: &str) -> Self {
        let message = Self::of("Notification", text);
        message.with("UnsubscribeURL", "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe")
    }

    /// The question whether the topic may deliver.
    pub fn subscription() -> Self {
        Self::confirmation("SubscriptionConfirmation")
    }

    /// The notice that it does no longer.
    pub fn end() -> Self {
        Self::confirmation("UnsubscribeConfirmation")
    }

    fn confirmation(kind: &str) -> Self {
        let message = Self::of(kind, "You have chosen to do something with the topic.");
        let message = message.with("Token", "2336412f37fb687f5d51e6e2425c464de");
        message.with("SubscribeURL", "http://169.254.169.254/latest/meta-data/")
    }

    fn of(kind: &str, text: &str) -> Self {
        static IDS: AtomicU32 = AtomicU32::new(0);
        let id = format!("22b80b92-fdea-4c2c-8f9d-{:012}", IDS.fetch_add(1, Ordering::Relaxed));
        Self(Map::new())
            .with("Type", kind)
            .with("MessageId", &id)
            .with("TopicArn", TOPIC)
            .with("Message", text)
            .with("Timestamp", &timestamp(0))
            .with("SignatureVersion", "2")
            .with("SigningCertURL", &certificate_url(0))
    }

    /// The same with another value of a member.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The same with a member that is no text.
    pub fn with_json(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.into(), value);
        self
    }

    /// The same without a member.
    pub fn without(mut self, name: &str) -> Self {
        self.0.remove(name);
        self
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    /// Signed as version 2, with the key of the good certificates.
    pub fn signed(self) -> Self {
        let text = self.signed_text();
        self.with("Signature", &sign(&KEY, &text))
    }

    /// Signed by a stranger.
    pub fn signed_by_other(self) -> Self {
        let text = self.signed_text();
        self.with("Signature", &sign(&OTHER_KEY, &text))
    }

    /// Signed over a text of another making.
    pub fn signed_over(self, text: &str) -> Self {
        let signature = sign(&KEY, text);
        self.with("Signature", &signature)
    }

    /// Signed as version 1, with SHA-1; by OpenSSL, because our own library only verifies it.
    pub fn signed_with_sha1(self) -> Self {
        static KEY_FILE: LazyLock<tempfile::NamedTempFile> = LazyLock::new(|| {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(KEY.serialize_pem().as_bytes()).unwrap();
            file
        });
        let mut openssl = Command::new("openssl");
        openssl.args(["dgst", "-sha1", "-sign"]).arg(KEY_FILE.path());
        let mut openssl =
            openssl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("openssl is there");
        openssl.stdin.take().unwrap().write_all(self.signed_text().as_bytes()).unwrap();
        let output = openssl.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl signs");
        self.with("Signature", &BASE64_STANDARD.encode(output.stdout))
    }

    /// The documented fields in their documented order.
    pub fn signed_text(&self) -> String {
        let names: &[&str] = match self.0.get("Type").and_then(Value::as_str) {
            Some("Notification") => &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"],
            _ => &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
        };
        let line = |name: &&str| Some(format!("{name}\n{}\n", self.0.get(*name)?.as_str()?));
        names.iter().filter_map(line).collect()
    }

    /// As it goes over the wire, indented as SNS does.
    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.0).unwrap()
    }
}

fn sign(key: &KeyPair, text: &str) -> String {
    let key = RsaKeyPair::from_pkcs8(&key.serialize_der()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    BASE64_STANDARD.encode(signature)
}

impl From<Map<String, Value>> for Message {
    fn from(members: Map<String, Value>) -> Self {
        Self(members)
    }
}

/// The moment so many seconds from now, in SNS's form.
pub fn timestamp(seconds: i64) -> String {
    let moment = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    moment.replace_millisecond(655).unwrap().format(&Rfc3339).unwrap()
}
