//! Names, certificates, and the Redis that replicas share.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use time::OffsetDateTime;

use super::Diagnosis;
use crate::support::bridge::{Home, free_port};
use crate::support::redis::Redis;
use crate::support::turns;

const TLS: [&str; 2] = ["--only", "tls.chain,tls.expiry"];

/// Somebody who signs certificates; its own is in the home's file `ca.pem`.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    fn new(home: &Home, file: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, file);
        fs::write(home.path(file), params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// A certificate for a host that ends then, with its key.
    fn sign(&self, host: &str, not_after: OffsetDateTime) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.into()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = not_after;
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A server that shows such a certificate to whoever connects; its port.
    fn serve(&self, host: &str, not_after: OffsetDateTime) -> u16 {
        let (certificate, key) = self.sign(host, not_after);
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut connection = ServerConnection::new(config.clone()).unwrap();
                // A client that does not trust it leaves.
                let _ = connection.complete_io(&mut stream.unwrap());
            }
        });
        port
    }
}

/// So many days and a half from now.
fn in_days(days: i64) -> OffsetDateTime {
    OffsetDateTime::now_utc() + time::Duration::hours(days * 24 + 12)
}

#[test]
fn certificates_that_are_over_soon_over_for_another_host_or_of_a_stranger_are_told_apart() {
    let home = Home::new();
    let (authority, stranger) = (Authority::new(&home, "ca.pem"), Authority::new(&home, "stranger.pem"));
    let servers = [
        ("good", authority.serve("localhost", in_days(400))),
        ("soon", authority.serve("localhost", in_days(10))),
        ("over", authority.serve("localhost", in_days(-2))),
        ("elsewhere", authority.serve("elsewhere.example", in_days(400))),
        ("unknown", stranger.serve("localhost", in_days(400))),
        ("gone", free_port()),
    ];
    let ca = home.path("ca.pem").display().to_string();
    let mut text = String::from("select: [call.created]\nsinks:\n");
    for (name, port) in servers {
        text +=
            &format!("  {name}: {{ kafka: {{ brokers: \"localhost:{port}\", tls: {{ ca: \"{ca}\" }} }} }}\n");
    }
    let (shown, key) = authority.sign("bridge", in_days(-3));
    fs::write(home.path("client.pem"), shown.pem()).unwrap();
    fs::write(home.path("client-key.pem"), key.serialize_pem()).unwrap();
    let [certificate, key] =
        ["client.pem", "client-key.pem"].map(|name| home.path(name).display().to_string());
    let tls = format!("tls: {{ ca: \"{ca}\", certificate: \"{certificate}\", key: \"{key}\" }}");
    text += &format!("  client: {{ kafka: {{ brokers: \"localhost:{}\", {tls} }} }}\n", servers[0].1);
    home.configure("", &text);
    let said = Diagnosis::of(&home, &TLS);
    said.fails("tls.expiry", &["client.pem", "expired"]);
    said.says("tls.chain", "ok", &["good"]);
    said.says("tls.expiry", "ok", &["good", "days"]);
    said.says("tls.chain", "ok", &["soon"]);
    said.warns("tls.expiry", &["soon", "ends in 10 days"]);
    said.fails("tls.chain", &["over", "has expired"]);
    said.fails("tls.expiry", &["over", "expired"]);
    said.fails("tls.chain", &["elsewhere", "for another host"]);
    said.says("tls.expiry", "ok", &["elsewhere"]);
    said.fails("tls.chain", &["unknown", "no trusted authority"]);
    said.says("tls.chain", "unknown", &["gone", "no connection"]);
    said.says("tls.expiry", "unknown", &["gone"]);
}

#[test]
fn the_listeners_own_certificate_is_looked_at_in_its_files() {
    let home = Home::new();
    let authority = Authority::new(&home, "ca.pem");
    home.configure_files();
    let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
    let listen = format!("http: {{ listen: 127.0.0.1:{} }}", home.http);
    let tls = format!(
        "http: {{ listen: 127.0.0.1:{}, tls: {{ certificate: \"{}\", key: \"{}\" }} }}",
        home.http,
        home.path("cert.pem").display(),
        home.path("key.pem").display()
    );
    fs::write(home.path("fanbridge.yaml"), text.replace(&listen, &tls)).unwrap();
    let write = |host: &str, days: i64| {
        let (certificate, key) = authority.sign(host, in_days(days));
        fs::write(home.path("cert.pem"), certificate.pem()).unwrap();
        fs::write(home.path("key.pem"), key.serialize_pem()).unwrap();
    };
    let trusting = format!("SSL_CERT_FILE={}", home.path("ca.pem").display());
    let trusting = ["env", &*trusting];
    write("your.host", 400);
    let said = Diagnosis::under(&trusting, &home, &TLS);
    said.says("tls.chain", "ok", &["your.host"]);
    said.says("tls.expiry", "ok", &["http"]);
    Diagnosis::of(&home, &TLS).warns("tls.chain", &["your.host", "no trusted authority"]);
    write("your.host", -1);
    let said = Diagnosis::under(&trusting, &home, &TLS);
    said.fails("tls.expiry", &["http", "expired"]);
    said.fails("tls.chain", &["has expired"]);
    write("your.host", 400);
    fs::write(home.path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    Diagnosis::of(&home, &TLS).fails("tls.chain", &["cannot be used together"]);
}

#[test]
fn a_redis_that_is_there_is_ok_and_one_that_is_gone_silent_or_refuses_is_a_failure() {
    let _turn = turns::in_company();
    let Some(mut redis) = Redis::start_with("a Redis that is gone", &["--requirepass", "hunter2-canary"])
    else {
        return;
    };
    let home = Home::new();
    let configure = |url: &str| {
        fs::write(home.path("redis-url"), url).unwrap();
        let files = format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", home.path("topics").display());
        let duplicates = format!("duplicates: {{ redis: \"file:{}\" }}", home.path("redis-url").display());
        home.configure(&duplicates, &files);
    };
    let only = ["--only", "redis,dns"];
    let right = format!("redis://:hunter2-canary@127.0.0.1:{}", redis.port);
    configure(&right);
    Diagnosis::of(&home, &only).says("redis", "ok", &["takes the login and a claim"]);
    configure(&redis.url());
    Diagnosis::of(&home, &only).fails("redis", &["password"]);
    configure(&right);
    redis.freeze();
    let said = Diagnosis::of(&home, &only);
    said.fails("redis", &[]);
    assert!(said.seconds < 15.0, "{}", said.seconds);
    redis.thaw();
    redis.stop();
    let said = Diagnosis::of(&home, &only);
    said.fails("redis", &["refused"]);
    assert!(!said.report.to_string().contains("canary"), "{:#}", said.report);
    configure("redis://no-such-host.invalid:6379");
    Diagnosis::of(&home, &only).fails("dns", &["no-such-host.invalid", "shared duplicate window"]);
}

#[test]
fn a_brokers_name_that_does_not_resolve_is_a_failure_that_says_who_uses_it() {
    let home = Home::new();
    home.configure("", "sinks:\n  lake: { kafka: { brokers: \"no-such-host.invalid:9092,localhost:9\" } }\n");
    let said = Diagnosis::of(&home, &["--only", "dns"]);
    said.fails("dns", &["no-such-host.invalid", "used by lake", "getent"]);
    said.says("dns", "ok", &["localhost"]);
}
