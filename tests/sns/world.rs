//! A bridge with SNS sources, and all that it speaks to.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::authority::{Authority, Leaf};
use crate::double::{Double, File};
use crate::message::{Message, OTHER_LISTED_TOPIC, REGION, TOPIC, certificate_path};
use crate::service::Service;
use crate::support::await_until;
use crate::support::bridge::{Bridge, Home};
use crate::support::client::{Answer, request};

/// The one body of every refusal of what is not verified, but for the number of the request.
pub const REFUSAL: &str = r#"{"code":"not_accepted","detail":"the delivery is not accepted","instance":"urn:fanbridge:request:…","status":403,"title":"Forbidden","type":"urn:fanbridge:problem:not_accepted"}"#;
/// The name and password of raw deliveries.
pub const RAW_USERNAME: &str = "sns";
pub const RAW_PASSWORD: &str = "a-password-of-the-tests";

/// What a test may want to be different.
pub struct Setting {
    /// How many sources there are: `sns-0`, `sns-1`, …, each with certificates of its own.
    pub sources: usize,
    pub allow_sha1: bool,
    pub raw: bool,
    /// There is no room on the disk, as far as the bridge is concerned.
    pub full: bool,
    /// Whether each delivery comes from another network, as SNS's do.
    pub many_senders: bool,
    /// What the bridge is started under.
    pub wrapper: Vec<String>,
}

pub struct World {
    pub home: Home,
    pub root: Authority,
    pub double: Double,
    pub service: Service,
    pub bridge: Bridge,
    /// What the bridge is started under.
    wrapper: Vec<String>,
    /// How many deliveries came, if each comes from another network.
    senders: Option<AtomicU8>,
}

impl World {
    pub fn start() -> Self {
        Self::start_with(|_, _| {})
    }

    pub fn start_with(change: impl FnOnce(&mut Setting, &Home)) -> Self {
        let home = Home::new();
        let mut setting = Setting {
            sources: 1,
            allow_sha1: false,
            raw: false,
            full: false,
            many_senders: false,
            wrapper: Vec::new(),
        };
        change(&mut setting, &home);

        let root = Authority::root("root of the tests");
        fs::write(home.path("authority.pem"), root.certificate.pem()).unwrap();
        let host = format!("sns.{REGION}.amazonaws.com");
        let double = Double::start(root.tls(&[&host]));
        let good = root.issue(&Leaf::named(&["sns.amazonaws.com"]));
        double.put(&certificate_path(0), File::Here(good.into()));
        let service = Service::start();

        configure(&home, &setting, &double, &service);
        let password = format!("RAW_PASSWORD={RAW_PASSWORD}");
        let environment = [
            "env",
            "AWS_ACCESS_KEY_ID=test",
            "AWS_SECRET_ACCESS_KEY=test",
            "AWS_EC2_METADATA_DISABLED=true",
            &password,
        ];
        let wrapper: Vec<String> =
            environment.into_iter().map(str::to_owned).chain(setting.wrapper.iter().cloned()).collect();
        let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let bridge = if setting.full { start_unready(&home, &words) } else { home.start_under(&words) };
        let senders = setting.many_senders.then(AtomicU8::default);
        Self { home, root, double, service, bridge, wrapper, senders }
    }

    /// The same world after the bridge was stopped and started again.
    pub fn restarted(self) -> Self {
        let Self { home, root, double, service, bridge, wrapper, senders } = self;
        bridge.stop();
        let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let bridge = home.start_under(&words);
        Self { home, root, double, service, bridge, wrapper, senders }
    }

    /// Sends a message to the first source, as SNS does.
    pub fn deliver(&self, message: &Message) -> Answer {
        self.deliver_to(0, message)
    }

    /// Sends a message to a source by its number.
    pub fn deliver_to(&self, source: usize, message: &Message) -> Answer {
        self.post(source, &[], &message.json())
    }

    /// Sends any body to a source by its number, with what SNS says of it in the head and these headers,
    /// which go before.
    pub fn post(&self, source: usize, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let head = head(body);
        let own = head.iter().map(|(name, value)| (*name, &**value));
        let own = own.filter(|(name, _)| headers.iter().all(|(given, _)| given != name));
        self.post_bare(source, &headers.iter().copied().chain(own).collect::<Vec<_>>(), body)
    }

    /// Sends any body to a source by its number, with these headers alone.
    pub fn post_bare(&self, source: usize, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let client = self.bridge.client();
        let mut client = match &self.senders {
            None => client,
            Some(count) => client.at(Ipv4Addr::new(127, 0, 1, count.fetch_add(1, Ordering::Relaxed))),
        };
        client.post(&format!("/in/sns-{source}"), headers, body).expect("an answer")
    }

    /// How many deliveries were refused for a reason.
    pub fn refused(&self, reason: &str) -> f64 {
        self.bridge.metric("fanbridge_refused_total", &[&format!("reason=\"{reason}\"")])
    }

    /// Asserts that a body is refused for this reason, and that the sender is not told which.
    #[track_caller]
    pub fn assert_refused(&self, source: usize, body: &[u8], reason: &str) {
        let before = self.refused(reason);
        let answer = self.post(source, &[], body);
        let text = String::from_utf8_lossy(body);
        assert_eq!((answer.status, &*answer.text_without_request()), (403, REFUSAL), "{reason}: {text}");
        assert_eq!(self.refused(reason), before + 1.0, "refused for another reason than {reason}: {text}");
    }

    /// Asserts that a body is refused as one that says nothing of its sender.
    #[track_caller]
    pub fn assert_unauthenticated(&self, body: &[u8]) {
        let answer = self.post(0, &[], body);
        assert_eq!(answer.status, 401, "{}", String::from_utf8_lossy(body));
        assert_eq!(answer.header("www-authenticate"), None, "there is no password that would help");
    }

    /// Asserts that a message cannot be taken now, and is asked for again.
    #[track_caller]
    pub fn assert_unavailable(&self, source: usize, message: &Message, reason: &str) {
        let before = self.refused(reason);
        let answer = self.deliver_to(source, message);
        assert_eq!(answer.status, 503, "{reason}");
        assert!(answer.header("retry-after").is_some());
        assert_eq!(self.refused(reason), before + 1.0, "for another reason than {reason}");
    }

    /// Asserts that a message is taken, with this verdict.
    #[track_caller]
    pub fn assert_taken(&self, source: usize, message: &Message, verdict: &str) {
        let answer = self.deliver_to(source, message);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{text}; the log ends:\n{}", self.bridge.log_tail());
        assert!(text.contains(&format!(r#""verdict":"{verdict}""#)), "{text}");
    }
}

/// The headers that SNS sends with a body. One whose body names no topic is a raw delivery of the first.
pub fn head(body: &[u8]) -> [(&'static str, String); 3] {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
    let kinds = ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"];
    let kind = text("Type").filter(|kind| kinds.contains(kind)).unwrap_or(kinds[0]);
    let topic = text("TopicArn").filter(|topic| topic.starts_with("arn:")).unwrap_or(TOPIC);
    [
        ("x-amz-sns-message-type", kind.into()),
        ("x-amz-sns-topic-arn", topic.into()),
        ("x-amz-sns-subscription-arn", format!("{topic}:2bcfbf39-05c3-41de-beaa-fcfcc21c8f55")),
    ]
}

/// A POST as SNS sends it to the first source.
pub fn posted(message: &Message) -> Vec<u8> {
    let body = message.json();
    let head = head(&body);
    let headers: Vec<_> = head.iter().map(|(name, value)| (*name, &**value)).collect();
    request("/in/sns-0", &headers, &body)
}

/// Starts a bridge that cannot get ready, and waits until it answers.
fn start_unready(home: &Home, wrapper: &[&str]) -> Bridge {
    let bridge = home.spawn_under(wrapper);
    await_until("the bridge has started", Duration::from_secs(30), || {
        bridge.admin().get("/startupz").ok().filter(|answer| answer.status == 200)
    });
    bridge
}

fn configure(home: &Home, setting: &Setting, double: &Double, service: &Service) {
    let raw = format!("raw: {{ username: {RAW_USERNAME}, password: env:RAW_PASSWORD }},");
    let sns = format!(
        "{{ topics: [\"{TOPIC}\", \"{OTHER_LISTED_TOPIC}\"], allow_sha1: {}, {} certificate_double: {{ address: \"{}\", authority: {} }} }}",
        setting.allow_sha1,
        if setting.raw { &raw } else { "" },
        double.address,
        home.path("authority.pem").display(),
    );
    let source = |number| format!("  sns-{number}: {{ provider: stream, sns: {sns} }}\n");
    let text = format!(
        "http: {{ listen: 127.0.0.1:{} }}\n\
         admin: {{ listen: 127.0.0.1:{} }}\n\
         spool: {{ dir: {}, free_bytes_min: {} }}\n\
         aws: {{ endpoint: \"http://127.0.0.1:{}\" }}\n\
         sources:\n  stream-video: {{ provider: stream, secrets: [env:STREAM_SECRET] }}\n{}\
         sinks:\n  local: {{ file: {{ dir: {} }} }}\n",
        home.http,
        home.admin,
        home.path("spool").display(),
        if setting.full { "1000000 GiB" } else { "0" },
        service.port,
        (0..setting.sources).map(source).collect::<String>(),
        home.path("topics").display(),
    );
    fs::write(home.path("fanbridge.yaml"), text).unwrap();
}
