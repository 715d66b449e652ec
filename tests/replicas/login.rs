//! How a replica gets in at its server: passwords and TLS, and that none of it is shown.

use std::fs;

use crate::support::bridge::{Bridge, Home};
use crate::support::load::Delivery;
use crate::support::redis::Redis;
use crate::support::{bridge::free_port, turns};
use crate::{await_in_use, replica, skipped, verdict};

const PASSWORD: &str = "hunter2-canary/p@ss";
const PASSWORD_IN_URL: &str = "hunter2-canary%2Fp%40ss";

fn delivery() -> Delivery {
    Delivery::new("call.created", "default:call", 1, 0)
}

/// Nothing that anybody can read has the password.
fn assert_not_shown(bridge: &Bridge) {
    let metrics = bridge.admin().get("/metrics").unwrap().text();
    let status = bridge.admin().get("/api/status").unwrap().text();
    for shown in [bridge.log(), metrics, status] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn a_password_and_tls_get_in_and_neither_is_shown() {
    let _turn = turns::in_company();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path("chain.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let tls_port = free_port();
    let (port, chain, key) = (tls_port.to_string(), path("chain.pem"), path("key.pem"));
    let tls = ["--tls-port", &port, "--tls-cert-file", &chain, "--tls-key-file", &key];
    let more = ["--tls-auth-clients", "no", "--tls-ca-cert-file", &chain, "--requirepass", PASSWORD];
    let what = "a server with TLS and a password";
    let Some(_redis) = Redis::start_with(what, &[&tls[..], &more].concat()) else { return };

    let url = format!("rediss://:{PASSWORD_IN_URL}@localhost:{tls_port}/3");
    let homes: [Home; 2] = [replica(&url), replica(&url)];
    let trusting = format!("SSL_CERT_FILE={chain}");
    let bridges = homes.each_ref().map(|home| home.start_under(&["env", &trusting]));
    let verdicts = bridges.each_ref().map(|bridge| verdict(&mut bridge.client(), &delivery()));
    assert_eq!(verdicts, ["accepted", "duplicate"]);
    bridges[0].assert_logs("rediss://localhost");
    bridges.iter().for_each(assert_not_shown);

    // A file in which another authority cannot be read, as systems have it, is as good.
    let damaged = path("damaged.pem");
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(&damaged, format!("{junk}{}", made.cert.pem())).unwrap();
    let lenient = replica(&url);
    let bridge = lenient.start_under(&["env", &format!("SSL_CERT_FILE={damaged}")]);
    assert_eq!(verdict(&mut bridge.client(), &delivery()), "duplicate");

    // Who does not know the authority gets no further than the handshake, and says so.
    let stranger = replica(&url);
    let bridge = stranger.start_under(&["env", "SSL_CERT_FILE=/dev/null"]);
    assert_eq!(verdict(&mut bridge.client(), &delivery()), "accepted");
    bridge.assert_logs("no TLS connection");
    assert_not_shown(&bridge);
}

#[test]
fn a_wrong_password_is_told_in_the_log_and_refuses_nothing() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start_with("a wrong password", &["--requirepass", "another one"]) else {
        return;
    };
    for (login, told) in [
        (format!("{PASSWORD_IN_URL}:{PASSWORD_IN_URL}@"), "refuses with AUTH"),
        (String::new(), "refuses with NOAUTH"),
    ] {
        let home = replica(&format!("redis://{login}127.0.0.1:{}", redis.port));
        let bridge = home.start();
        assert_eq!(verdict(&mut bridge.client(), &delivery()), "accepted");
        assert_eq!(skipped(&bridge, "away"), 1.0);
        bridge.assert_logs(told);
        assert_not_shown(&bridge);
    }
}

#[test]
fn a_permission_that_is_missing_is_told_and_its_grant_is_noticed() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start("a missing permission") else { return };
    let mut asker = redis.connect();
    let granted = ["ACL", "SETUSER", "bridge", "on", ">hunter2-canary", "~fanbridge:*"];
    asker.ask(&[&granted[..], &["+get"]].concat());
    let home = replica(&format!("redis://bridge:hunter2-canary@127.0.0.1:{}", redis.port));
    let bridge = home.start();
    bridge.assert_logs("refuses with NOPERM");
    asker.ask(&[&granted[..], &["+set"]].concat());
    await_in_use(&bridge);
    assert_eq!(verdict(&mut bridge.client(), &delivery()), "accepted");
    assert_eq!(redis.values("fanbridge:").len(), 1);
    assert_not_shown(&bridge);
}

#[test]
fn a_server_whose_memory_is_full_refuses_nothing_and_is_used_once_it_has_room() {
    let _turn = turns::in_company();
    let Some(redis) = Redis::start_with("a full server", &["--maxmemory-policy", "noeviction"]) else {
        return;
    };
    let home = replica(&redis.url());
    let bridge = home.start();
    let mut asker = redis.connect();
    asker.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..3 {
        verdict(&mut bridge.client(), &delivery());
    }
    assert_eq!((skipped(&bridge, "error"), skipped(&bridge, "away")), (1.0, 2.0));
    asker.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    await_in_use(&bridge);
    assert_eq!(verdict(&mut bridge.client(), &delivery()), "duplicate");
}
