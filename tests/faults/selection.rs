//! An event type that did not exist when the configuration was written.

use std::time::Duration;

use crate::support::bridge::Home;
use crate::support::load::Delivery;
use crate::support::oracle::Ledger;
use crate::support::{readers, turns};

/// Nobody's catalogue has it; its longest catalogued prefix belongs to the family `feeds.activity`.
const INVENTED: &str = "feeds.activity.teleported";

#[test]
fn under_all_an_invented_type_arrives_in_its_derived_family() {
    let _turn = turns::in_company();
    let home = Home::new();
    home.configure_files();
    let bridge = home.start();
    let delivery = Delivery::new(INVENTED, "default:invented", 1, 0);
    delivery.hand_over(&mut bridge.client(), &Ledger::default());
    bridge.stop();
    let arrivals = readers::files(&home.path("topics"));
    assert_eq!(arrivals.len(), 1);
    assert_eq!(
        (arrivals[0].lane.as_str(), arrivals[0].event_type.as_str()),
        ("stream.feeds.activity", INVENTED)
    );
}

#[test]
fn under_an_explicit_list_an_invented_type_is_kept_out_counted_and_listed() {
    let _turn = turns::in_company();
    let home = Home::new();
    let topics = home.path("topics");
    let sinks = format!("sinks:\n  local: {{ file: {{ dir: {} }} }}\n", topics.display());
    home.configure("", &format!("select: [call.created]\n{sinks}"));
    let bridge = home.start();
    let (ledger, mut client) = (Ledger::default(), bridge.client());
    let selected = Delivery::new("call.created", "default:selected", 1, 0);
    selected.hand_over(&mut client, &ledger);
    Delivery::new(INVENTED, "default:invented", 2, 0).hand_over(&mut client, &Ledger::default());
    Delivery::new("call.ended", "default:known", 3, 0).hand_over(&mut client, &Ledger::default());
    assert_eq!(bridge.metric("fanbridge_events_total", &["verdict=\"filtered\""]), 2.0);
    let seen = home.run_verb(&["types", "--seen"]);
    let only = |more: &[&str]| home.run_verb(&[&["types", "--seen"], more].concat());
    let feeds = only(&["--family", "feeds", "--provider", "fastpix", "--provider", "stream"]);
    assert!(feeds.contains(INVENTED) && !feeds.contains("call."), "{feeds}");
    let both = only(&["--family", "feeds.activity", "--family", "video"]);
    assert!(both.contains(INVENTED) && both.contains("call.ended"), "{both}");
    assert!(!only(&["--provider", "fastpix"]).contains("call."), "nothing of FastPix's was seen");
    let pasted = only(&["--yaml", "--family", "feeds"]);
    assert_eq!(pasted, format!("select:\n  # stream: feeds.activity\n  - {INVENTED} # new\n"));
    assert!(bridge.stop() < Duration::from_secs(10));

    ledger.judge(&readers::files(&topics)).assert_kept(0, 0);
    let line_of = |name: &str| {
        seen.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name} in {seen}"))
    };
    let invented = line_of(INVENTED);
    assert!(invented.contains("new") && invented.contains("not selected"), "{invented}");
    assert!(!line_of("call.ended").contains("new"), "{seen}");
    assert!(line_of("call.ended").contains("not selected"), "{seen}");
    assert!(!line_of("call.created").contains("not selected"), "{seen}");
}
