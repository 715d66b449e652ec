//! A broker behind locked doors: the sink gets in by every mechanism and every kind of TLS. Where
//! it is turned away it says why, keeps its events, and delivers them once it is let in.

use std::fmt::Write;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value as Json, json};

use crate::support::bridge::{Bridge, Home, free_port};
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::servers::Broker;
use crate::support::{await_until, readers, turns};

const PASSWORD: &str = "the-password-of-the-bridge";
const WRONG_PASSWORD: &str = "not-the-password-of-the-bridge";
/// What a token has to allow.
const SCOPE: &str = "publish";
/// How long a token that the broker refuses claims to last. The sink is degraded after ten seconds,
/// and the file is read again at four fifths of this.
const WRONG_TOKEN_LASTS: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_mechanism_and_every_kind_of_tls_delivers_to_a_real_broker() {
    let _turn = turns::in_company();
    let home = Home::new();
    let Some(doors) = Doors::open(&home, "a broker behind every kind of door") else { return };
    fs::write(home.path("token"), token(SCOPE, Duration::from_secs(3600))).unwrap();
    let sinks = [
        ("plain", doors.password("PLAIN", "password")),
        ("scram-256", doors.password("SCRAM-SHA-256", "password")),
        ("scram-512", doors.password("SCRAM-SHA-512", "password")),
        ("token", doors.token()),
        ("token-tls", doors.token_by_tls()),
        ("tls", doors.tls("TLS", "ca.pem", None)),
        ("mutual-tls", doors.tls("MUTUAL", "ca.pem", Some("client"))),
    ];
    configure(&home, &sinks);
    for (sink, _) in &sinks {
        home.run_verb(&["topics", "apply", "--sink", sink]);
        let plan = home.run_verb(&["topics", "plan", "--sink", sink, "--format", "json"]);
        assert_eq!(serde_json::from_str::<Json>(&plan).unwrap()[0]["state"], "exists", "{plan}");
    }
    let bridge = home.start();
    let ledger = deliver_some(&bridge);
    for (sink, _) in &sinks {
        assert_received(&doors.broker, sink, &ledger);
    }
    bridge.stop();
}

#[test]
fn a_sink_that_is_turned_away_says_why_and_delivers_once_it_is_let_in() {
    let _turn = turns::in_company();
    let home = Home::new();
    let Some(doors) = Doors::open(&home, "a broker that turns sinks away") else { return };
    fs::write(home.path("token"), token("read", WRONG_TOKEN_LASTS)).unwrap();
    Authority::new(&home, "stranger.pem");
    let cases = turned_away(&doors);
    cases.iter().for_each(|case| doors.broker.create_topic(case.sink, &[]));

    configure(&home, &cases.each_ref().map(|case| (case.sink, case.wrong.clone())));
    let bridge = home.start();
    let ledger = deliver_some(&bridge);
    for case in &cases {
        // Until its first handshake has failed, the sink knows only that no broker answers.
        let mut complaint = String::new();
        await_until(&format!("{} says {:?}", case.sink, case.said), PATIENCE, || {
            let because = state(&bridge, case.sink)["degraded_because"].as_str().map(ToOwned::to_owned)?;
            if because != complaint {
                println!("{}: {because}", case.sink);
                complaint = because;
            }
            case.said.iter().all(|said| complaint.contains(said)).then_some(())
        });
        await_until(&format!("{} lags by all events", case.sink), PATIENCE, || {
            (state(&bridge, case.sink)["lag_events"] == ledger.acknowledged()).then_some(())
        });
    }
    fs::write(home.path("token"), token(SCOPE, Duration::from_secs(3600))).unwrap();
    await_until("the new token is taken from its file", PATIENCE, || {
        (state(&bridge, "token")["lag_events"] == 0).then_some(())
    });
    bridge.stop();

    configure(&home, &cases.each_ref().map(|case| (case.sink, case.right.clone())));
    let bridge = home.start();
    for case in &cases {
        assert_received(&doors.broker, case.sink, &ledger);
    }
    for secret in [PASSWORD, WRONG_PASSWORD] {
        assert!(!bridge.log().contains(secret), "a password is in the log");
    }
    bridge.stop();
}

/// A sink that gets in by `right` and not by `wrong`, and what it says then.
struct TurnedAway {
    sink: &'static str,
    wrong: String,
    right: String,
    said: &'static [&'static str],
}

fn turned_away(doors: &Doors) -> [TurnedAway; 10] {
    let case = |sink, wrong, right, said| TurnedAway { sink, wrong, right, said };
    let password = |mechanism| [doors.password(mechanism, "wrong"), doors.password(mechanism, "password")];
    let [plain, scram_256, scram_512] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(password);
    let tls = |door| doors.tls(door, "ca.pem", None);
    let mutual = || doors.tls("MUTUAL", "ca.pem", Some("client"));
    let stranger = doors.tls("TLS", "stranger.pem", None);
    [
        case("plain", plain[0].clone(), plain[1].clone(), &["Invalid username or password", "`sasl`"]),
        case("scram-256", scram_256[0].clone(), scram_256[1].clone(), &["SCRAM-SHA-256", "`sasl`"]),
        case("scram-512", scram_512[0].clone(), scram_512[1].clone(), &["SCRAM-SHA-512", "`sasl`"]),
        case("token", doors.token(), doors.token(), &["insufficient_scope", "`sasl`"]),
        case("no-sasl", doors.at("TOKENS", ""), doors.token(), &["might expect credentials in `sasl`"]),
        case("unknown-ca", stranger, tls("TLS"), &["certificate verify failed", "`tls.ca`"]),
        case("other-host", tls("ELSEWHERE"), tls("TLS"), &["certificate verify failed", "another host"]),
        case("no-client", tls("MUTUAL"), mutual(), &["alert", "`tls.certificate`"]),
        case("no-tls", doors.at("TLS", ""), tls("TLS"), &["which `tls` turns on"]),
        case("not-tls", tls("TOKENS"), tls("TLS"), &["might not speak TLS"]),
    ]
}

/// One sink for each door, and its topic, under one name.
fn configure(home: &Home, sinks: &[(&str, String)]) {
    let mut text = String::from("select: [call.created]\nsinks:\n");
    for (sink, kafka) in sinks {
        writeln!(text, "  {sink}: {{ kafka: {kafka}, topic: {sink} }}").unwrap();
    }
    home.configure("", &text);
}

fn deliver_some(bridge: &Bridge) -> Ledger {
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    for number in 0..3 {
        Delivery::new("call.created", "default:doors", number, 0).hand_over(&mut client, &ledger);
    }
    ledger
}

fn assert_received(broker: &Broker, topic: &str, ledger: &Ledger) {
    let read =
        || readers::kafka(&broker.address, &[topic]).iter().map(readers::KafkaRecord::arrival).collect();
    println!("{topic}:");
    ledger.judge(&readers::drained(ledger, PATIENCE, read)).assert_kept(0, 0);
}

/// What the bridge says of a sink.
fn state(bridge: &Bridge, sink: &str) -> Json {
    let status = bridge.admin().get("/api/status").expect("a running bridge shows its status");
    let status: Json = serde_json::from_slice(&status.body).expect("JSON");
    let sinks = status["sinks"].as_array().expect("a list").iter();
    sinks.clone().find(|found| found["name"] == sink).expect("a configured sink").clone()
}

/// A JSON Web Token that nobody signed, as the broker's stand-in for an identity provider takes it.
fn token(scope: &str, life: Duration) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = json!({
        "sub": "bridge",
        "scope": [scope],
        "iat": now.as_secs(),
        "exp": (now + life).as_secs(),
    });
    let [header, claims] =
        [json!({ "alg": "none" }), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}.")
}

/// A broker with a listener for each way in, and what opens them, in files of the home.
struct Doors {
    broker: Broker,
    dir: String,
    ports: [(&'static str, u16); 6],
}

impl Doors {
    fn open(home: &Home, what: &str) -> Option<Self> {
        let authority = Authority::new(home, "ca.pem");
        authority.sign(home, "broker", "localhost");
        authority.sign(home, "elsewhere", "elsewhere.example");
        authority.sign(home, "client", "bridge");
        fs::write(home.path("password"), PASSWORD).unwrap();
        fs::write(home.path("wrong"), WRONG_PASSWORD).unwrap();
        let dir = home.path("").to_str().unwrap().trim_end_matches('/').to_owned();
        let properties = home.path("doors.properties");
        fs::write(&properties, listeners(&dir)).unwrap();
        let protocols = [
            ("PASSWORDS", "SASL_SSL"),
            ("TOKENS", "SASL_PLAINTEXT"),
            ("TLSTOKENS", "SASL_SSL"),
            ("TLS", "SSL"),
            ("MUTUAL", "SSL"),
            ("ELSEWHERE", "SSL"),
        ];
        let ports = protocols.map(|(door, _)| (door, free_port()));
        let listeners = protocols
            .iter()
            .zip(ports)
            .map(|((door, protocol), (_, port))| format!("{door}:{protocol}:{port}"));
        let settings = vec![
            ("KAFKA_EXTRA_LISTENERS", listeners.collect::<Vec<_>>().join(" ")),
            ("KAFKA_EXTRA_PROPERTIES", properties.to_str().unwrap().to_owned()),
            ("KAFKA_SCRAM_USER", format!("name=bridge,password={PASSWORD}")),
        ];
        Some(Self { broker: Broker::start_with(what, settings)?, dir, ports })
    }

    /// The sink's `kafka` block for a door, with these keys.
    fn at(&self, door: &str, keys: &str) -> String {
        let (_, port) = self.ports.iter().find(|(name, _)| *name == door).expect("a door of that name");
        format!("{{ brokers: \"localhost:{port}\", {keys} }}")
    }

    fn password(&self, mechanism: &str, file: &str) -> String {
        let dir = &self.dir;
        let sasl = format!("{{ mechanism: {mechanism}, username: bridge, password: \"file:{dir}/{file}\" }}");
        self.at("PASSWORDS", &format!("tls: {{ ca: {dir}/ca.pem }}, sasl: {sasl}"))
    }

    fn token(&self) -> String {
        self.at("TOKENS", &format!("sasl: {{ mechanism: OAUTHBEARER, token: \"file:{}/token\" }}", self.dir))
    }

    fn token_by_tls(&self) -> String {
        let dir = &self.dir;
        let sasl = format!("{{ mechanism: OAUTHBEARER, token: \"file:{dir}/token\" }}");
        self.at("TLSTOKENS", &format!("tls: {{ ca: {dir}/ca.pem }}, sasl: {sasl}"))
    }

    fn tls(&self, door: &str, ca: &str, client: Option<&str>) -> String {
        let dir = &self.dir;
        let client = client.map_or_else(String::new, |name| {
            format!(", certificate: {dir}/{name}.pem, key: {dir}/{name}-key.pem")
        });
        self.at(door, &format!("tls: {{ ca: {dir}/{ca}{client} }}"))
    }
}

/// The broker's properties for its doors.
fn listeners(dir: &str) -> String {
    const MODULES: &str = "org.apache.kafka.common.security";
    let mut text = format!(
        "listener.name.passwords.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.passwords.plain.sasl.jaas.config={MODULES}.plain.PlainLoginModule required user_bridge=\"{PASSWORD}\";\n\
         listener.name.passwords.scram-sha-256.sasl.jaas.config={MODULES}.scram.ScramLoginModule required;\n\
         listener.name.passwords.scram-sha-512.sasl.jaas.config={MODULES}.scram.ScramLoginModule required;\n\
         listener.name.mutual.ssl.client.auth=required\n\
         listener.name.mutual.ssl.truststore.type=PEM\n\
         listener.name.mutual.ssl.truststore.location={dir}/ca.pem\n"
    );
    for door in ["tokens", "tlstokens"] {
        write!(
            text,
            "listener.name.{door}.sasl.enabled.mechanisms=OAUTHBEARER\n\
             listener.name.{door}.oauthbearer.sasl.jaas.config={MODULES}.oauthbearer.OAuthBearerLoginModule \
             required unsecuredLoginStringClaim_sub=\"broker\" unsecuredValidatorRequiredScope=\"{SCOPE}\";\n"
        )
        .unwrap();
    }
    for (door, identity) in [
        ("passwords", "broker"),
        ("tlstokens", "broker"),
        ("tls", "broker"),
        ("mutual", "broker"),
        ("elsewhere", "elsewhere"),
    ] {
        writeln!(text, "listener.name.{door}.ssl.keystore.type=PEM").unwrap();
        writeln!(text, "listener.name.{door}.ssl.keystore.location={dir}/{identity}-both.pem").unwrap();
    }
    text
}

/// Somebody who signs certificates.
struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Its own certificate goes to the file `ca`.
    fn new(home: &Home, ca: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, ca);
        fs::write(home.path(ca), params.self_signed(&key).unwrap().pem()).unwrap();
        Self(Issuer::new(params, key))
    }

    /// Writes `NAME.pem`, `NAME-key.pem`, and both in one as Java wants it.
    fn sign(&self, home: &Home, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.0).unwrap().pem();
        let key = key.serialize_pem();
        fs::write(home.path(&format!("{name}-both.pem")), format!("{key}{certificate}")).unwrap();
        fs::write(home.path(&format!("{name}.pem")), certificate).unwrap();
        fs::write(home.path(&format!("{name}-key.pem")), key).unwrap();
    }
}
