//! By which rules a dispatcher judges what it reads.

use super::*;

const FORMER: Fingerprint = Fingerprint([0xf; 6]);
const NOW: Fingerprint = Fingerprint([1; 6]);
const NEXT: Fingerprint = Fingerprint([2; 6]);

fn rules(fingerprint: Fingerprint, types: &[&str], topic: &str) -> Rules {
    let selection = Selection::Only(types.iter().map(|name| (*name).to_owned()).collect());
    let sinks = [("lake".to_owned(), SinkRules { selection, topic: template(topic) })].into();
    Rules { fingerprint, sinks }
}

fn of(configuration: Option<Fingerprint>, event_type: &'static str) -> Event {
    Event { configuration, event_type: event_type.into(), ..of_family("f") }
}

#[tokio::test]
async fn each_event_is_judged_by_its_configuration_also_when_another_begins_under_way() {
    let bench = Bench::new();
    let earlier = Selection::Only(["a".to_owned()].into());
    let earlier = [(FORMER, [("lake".to_owned(), earlier)].into())];
    let book = Arc::new(RuleBook::new(rules(NOW, &["b"], "now"), earlier));
    for configuration in [Some(FORMER), Some(NOW), None] {
        bench.append(of(configuration, "a")).await;
        bench.append(of(configuration, "b")).await;
    }
    // A copy for the sink is for it, whatever it selects.
    bench.append(Event { only_sink: Some("lake".into()), ..of(Some(FORMER), "c") }).await;
    let sink = Scripted::new(|_, _| Outcome::ACCEPTED);
    let dispatcher = bench.judging(Arc::clone(&book), Position(0), sink.clone());
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let running = tokio::spawn(dispatcher.run(stop.clone(), cut.clone()));
    crate::testing::bench::awaited(|| sink.accepted("now").len() == 4).await;
    assert_eq!(sink.accepted("now"), [1, 4, 6, 7]);

    book.begin(rules(NEXT, &["c"], "next"));
    for configuration in [Some(FORMER), Some(NOW), Some(NEXT), None] {
        bench.append(of(configuration, "b")).await;
        bench.append(of(configuration, "c")).await;
    }
    crate::testing::bench::awaited(|| sink.accepted("next").len() == 3).await;
    assert_eq!(sink.accepted("next"), [10, 13, 15]);
    stop.cancel();
    cut.cancel();
    running.await.expect("no panic").expect("no error");
}
