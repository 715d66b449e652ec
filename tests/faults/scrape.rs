//! The metrics as a scraper reads them: in the format that it asks for, and well formed in both.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::bridge::Home;
use crate::support::load::Delivery;
use crate::support::turns;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// What Prometheus 3 sends.
const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.2";

#[test]
fn a_scraper_gets_the_format_that_it_asks_for_and_every_line_of_it_is_described() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let mut client = bridge.client();
    for number in 0..5 {
        let event = Delivery::new("call.created", "default:scraped", number, 0);
        assert_eq!(event.send(&mut client).expect("an answer").status, 200);
    }
    client.post("/in/stream-video", &[("x-signature", "forged")], b"{}").expect("an answer");
    client.get("/nowhere").expect("an answer");

    let scrape = |accept: &str| {
        let accept = if accept.is_empty() { String::new() } else { format!("accept: {accept}\r\n") };
        let request = format!("GET /metrics HTTP/1.1\r\nhost: localhost\r\n{accept}\r\n");
        let answer = bridge.admin().exchange(request.as_bytes()).expect("the metrics");
        (answer.header("content-type").expect("a format").to_owned(), answer.text())
    };
    for accept in ["", "*/*", "text/plain;version=0.0.4", "text/html"] {
        let (kind, text) = scrape(accept);
        assert_eq!(kind, PROMETHEUS, "{accept}");
        assert_well_formed(&text, "_total");
    }
    for accept in ["application/openmetrics-text", PROMETHEUS_3] {
        let (kind, text) = scrape(accept);
        assert_eq!(kind, OPENMETRICS, "{accept}");
        let body = text.strip_suffix("# EOF\n").expect("OpenMetrics says where it ends");
        assert_well_formed(
            &body
                .lines()
                .filter(|line| !line.starts_with("# UNIT "))
                .fold(String::new(), |text, line| text + line + "\n"),
            "",
        );
    }
    bridge.stop();
}

/// Reads a text strictly: each metric is described once and before its samples, which stand together
/// and are told apart by their labels. In one format a counter is described with the end of its name.
fn assert_well_formed(text: &str, counters_end: &str) {
    assert!(text.ends_with('\n'));
    let (mut described, mut seen) = (BTreeMap::new(), BTreeSet::new());
    let (mut help, mut current) = (None, ("", ""));
    let mut buckets: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, words) = rest.split_once(' ').unwrap_or_else(|| panic!("no words: {line}"));
            assert!(!words.trim().is_empty() && help.replace(name).is_none(), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert_eq!(help.take(), Some(name), "described under another name: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(kind != "counter" || name.ends_with(counters_end), "{line}");
            assert!(described.insert(name, kind).is_none(), "described twice: {line}");
            current = (name, kind);
            continue;
        }
        assert!(!line.starts_with('#'), "{line}");
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(seen.insert(series), "twice: {line}");
        let name = series.split('{').next().unwrap();
        let (of, kind) = current;
        let suffix = name.strip_prefix(of).unwrap_or_else(|| panic!("{line} stands under {of}"));
        let allowed: &[&str] = match kind {
            "counter" if counters_end.is_empty() => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        assert!(allowed.contains(&suffix), "{line} stands under {of}, a {kind}");
        if suffix == "_bucket" {
            let (before, rest) = series.split_once("le=\"").unwrap_or_else(|| panic!("no bound: {line}"));
            let (bound, after) = rest.split_once('"').expect("a bound ends");
            let bound: f64 = bound.parse().expect("a bound is a number");
            let last = buckets.entry(format!("{before}{after}")).or_insert((f64::MIN, 0.0));
            assert!(bound > last.0 && value >= last.1, "buckets rise: {line}");
            *last = (bound, value);
        }
    }
    assert!(buckets.values().all(|(bound, _)| bound.is_infinite()), "each has a last bucket: {buckets:?}");
    let sampled = |name: &str| seen.iter().any(|series| series.starts_with(name));
    for name in ["fanbridge_events_total", "fanbridge_refused_total", "fanbridge_spool_bytes"] {
        assert!(sampled(name), "{name} is missing from\n{text}");
    }
}
