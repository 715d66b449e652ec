#![allow(clippy::unwrap_used)]

use super::*;
use crate::aws::AwsOptions;
use crate::provider::builtin_named;

const NOW: Timestamp = Timestamp(1_763_700_000_000_000_000);

/// This many seconds from then on.
fn after(seconds: i64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1_000_000_000)
}

fn secret(text: &str, not_after: Option<Timestamp>) -> SigningSecret {
    SigningSecret::parse(text, builtin_named("stream").unwrap().secret_form(), None, not_after).unwrap()
}

fn in_file(path: &str, not_after: Option<Timestamp>) -> SourceSecret {
    SourceSecret { kept: Reference::File(path.into()), secret: secret("the-first-secret-1", not_after) }
}

fn secrets(configured: Vec<SourceSecret>, metrics: &Metrics) -> Arc<Secrets> {
    Arc::new(Secrets::new("front", configured, metrics))
}

fn aws() -> Aws {
    Aws::new(AwsOptions::default())
}

fn file(secrets: &Arc<Secrets>, metrics: &Metrics) -> WatchedSecret {
    Secrets::watched(secrets, "front", &builtin_named("stream").unwrap(), &aws(), metrics).remove(0)
}

/// Which of these is taken at a moment.
fn taken(secrets: &Secrets, texts: &[&str], moment: Timestamp) -> Vec<bool> {
    let live = secrets.now();
    let is_taken = |text: &&str| {
        let wanted = secret(text, None);
        live.all().iter().any(|secret| secret.is_same_key(&wanted) && secret.is_live(moment))
    };
    texts.iter().map(is_taken).collect()
}

#[test]
fn what_a_file_held_before_is_taken_for_ten_minutes_unless_an_end_was_stated() {
    let metrics = Metrics::new();
    let texts = ["the-first-secret-1", "the-second-secret-2"];
    for (stated, still, no_more) in
        [(None, 600, 601), (Some(after(7200)), 7200, 7201), (Some(after(60)), 60, 61)]
    {
        let secrets = secrets(vec![in_file("/a", stated)], &metrics);
        let mut file = file(&secrets, &metrics);
        file.note(Ok(texts[0].into()), NOW);
        assert_eq!(secrets.now().all().len(), 1, "nothing changed");
        file.note(Ok(texts[1].into()), NOW);
        assert_eq!(taken(&secrets, &texts, after(still)), [true, true], "{stated:?}");
        assert_eq!(taken(&secrets, &texts, after(no_more)), [false, stated.is_none()], "{stated:?}");
        file.note(Ok(texts[1].into()), after(no_more));
        assert_eq!(secrets.now().all().len(), 1, "what is over is forgotten");
    }
}

#[test]
fn a_file_that_is_of_no_use_changes_nothing_and_is_counted() {
    let metrics = Metrics::new();
    let secrets = secrets(vec![in_file("/a", None)], &metrics);
    let mut file = file(&secrets, &metrics);
    let before = secrets.now();
    for read in [Err("cannot read /a".to_owned()), Ok("short".into()), Ok("${SECRET_OF_STREAM}".into())] {
        file.note(read, NOW);
    }
    assert!(Arc::ptr_eq(&before, &secrets.now()));
    let line = r#"fanbridge_secret_reload_failures_total{source="front",secret="file:/a"} 3"#;
    assert!(metrics.render().contains(line), "{}", metrics.render());
}

#[test]
fn the_file_of_a_secret_that_has_ended_can_be_missing() {
    let metrics = Metrics::new();
    let secrets = secrets(vec![in_file("/a", Some(after(-60)))], &metrics);
    file(&secrets, &metrics).note(Err("cannot read /a".into()), NOW);
    let line = r#"fanbridge_secret_reload_failures_total{source="front",secret="file:/a"} 0"#;
    assert!(metrics.render().contains(line), "{}", metrics.render());
}

#[test]
fn a_file_that_changes_all_the_time_leaves_a_few_behind_and_one_that_returns_is_current() {
    let metrics = Metrics::new();
    let secrets = secrets(vec![in_file("/a", None)], &metrics);
    let mut file = file(&secrets, &metrics);
    let texts: Vec<String> = (0..6).map(|number| format!("one-of-many-secrets-{number}")).collect();
    for text in &texts {
        file.note(Ok(text.as_str().into()), NOW);
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(taken(&secrets, &texts, NOW), [false, false, true, true, true, true]);
    file.note(Ok(texts[4].into()), NOW);
    assert_eq!(taken(&secrets, &texts, NOW), [false, false, true, true, true, true]);
    assert_eq!(taken(&secrets, &texts, after(3600)), [false, false, false, false, true, false]);
    assert_eq!(secrets.now().all().len(), 1 + FORMER_MAX);
}

#[test]
fn each_secret_is_counted_under_its_reference() {
    let metrics = Metrics::new();
    let kept = |kept: Reference, text| SourceSecret { kept, secret: secret(text, None) };
    let configured = vec![
        kept(Reference::Env("NEW".into()), "another-secret-of-it"),
        in_file("/a", None),
        in_file("/a", None),
    ];
    let secrets = secrets(configured, &metrics);
    let mut files = Secrets::watched(&secrets, "front", &builtin_named("stream").unwrap(), &aws(), &metrics);
    assert_eq!(files.len(), 2, "a variable cannot change");
    files[0].note(Ok("the-second-secret-2".into()), NOW);
    let live = secrets.now();
    let second = secret("the-second-secret-2", None);
    assert!(live.all()[1].is_same_key(&second) && !live.all()[3].is_same_key(&second));
    let used = |number| Arc::clone(&live).used(number);
    (0..4).for_each(|number| (0..=number).for_each(|_| drop(used(number))));
    let names: Vec<_> = (0..4).map(|number| used(number).name().map(str::to_owned)).collect();
    let text = metrics.render();
    let series = [("env:NEW", 2), ("file:/a", 3), ("file:/a#2", 4), ("file:/a (previous)", 5)];
    assert_eq!(names, series.map(|(name, _)| Some(name.to_owned())));
    assert_eq!(used(7).name(), None);
    for (name, count) in series.into_iter().chain([("file:/a#2 (previous)", 0)]) {
        let name =
            format!(r#"fanbridge_signature_secret_used_total{{source="front",secret="{name}"}} {count}"#);
        assert!(text.contains(&name), "{name} is missing in\n{text}");
    }
    assert!(!text.contains("env:NEW (previous)"), "{text}");
}

fn of_env(name: &str, text: &str, not_after: Option<Timestamp>) -> SourceSecret {
    SourceSecret { kept: Reference::Env(name.into()), secret: secret(text, not_after) }
}

/// The secrets that are configured in the place of others at a moment.
fn succeeding(
    before: &Secrets,
    configured: Vec<SourceSecret>,
    metrics: &Metrics,
    now: Timestamp,
) -> Arc<Secrets> {
    let secrets = secrets(configured, metrics);
    secrets.succeed(before, "front", metrics, now);
    secrets
}

#[test]
fn what_another_configuration_named_is_taken_for_ten_minutes_and_counted_as_previous() {
    let metrics = Metrics::new();
    let texts = ["the-first-secret-1", "the-second-secret-2", "the-third-secret-3"];
    let first = secrets(vec![of_env("A", texts[0], None), of_env("B", texts[1], Some(after(60)))], &metrics);
    let second = succeeding(&first, vec![of_env("C", texts[2], None)], &metrics, NOW);
    assert_eq!(taken(&second, &texts, after(60)), [true, true, true]);
    assert_eq!(taken(&second, &texts, after(600)), [true, false, true], "an end of its own stays");
    assert_eq!(taken(&second, &texts, after(601)), [false, false, true]);
    assert_eq!(second.now().used(1).name(), Some("env:A (previous)"));

    let again = succeeding(&second, vec![of_env("C", texts[2], None)], &metrics, after(300));
    assert_eq!(taken(&again, &texts, after(600)), [true, false, true], "a later change neither ends it");
    assert_eq!(taken(&again, &texts, after(601)), [false, false, true], "nor makes it longer");
    let back = succeeding(&again, vec![of_env("A", texts[0], None)], &metrics, after(400));
    assert_eq!(taken(&back, &texts, after(1000)), [true, false, true]);
    assert_eq!(back.now().all().len(), 2, "what is current again is not former");
    back.forget_retired(after(1001));
    assert_eq!((back.now().all().len(), back.has_retired()), (1, false));
}

#[test]
fn a_secret_that_is_still_configured_keeps_what_its_file_held_before_and_can_be_ended_at_once() {
    let metrics = Metrics::new();
    let texts = ["the-first-secret-1", "the-second-secret-2"];
    let before = secrets(vec![in_file("/a", Some(after(7200)))], &metrics);
    file(&before, &metrics).note(Ok(texts[1].into()), NOW);
    let current = |end| SourceSecret { secret: secret(texts[1], end), ..in_file("/a", None) };
    let kept = succeeding(&before, vec![current(Some(after(7200)))], &metrics, after(10));
    assert_eq!(taken(&kept, &texts, after(7200)), [true, true], "as the rules of a file have it");
    let ended = succeeding(&before, vec![current(Some(after(5)))], &metrics, after(10));
    assert_eq!(taken(&ended, &texts, after(10)), [false, false], "its end is stated");
    let gone = succeeding(&before, vec![of_env("A", "another-secret-of-it", None)], &metrics, after(10));
    assert_eq!(taken(&gone, &texts, after(610)), [true, true]);
    assert_eq!(taken(&gone, &texts, after(611)), [false, false], "nobody names it any more");
}

#[test]
fn a_secret_that_was_retired_is_ended_at_once_also_if_its_file_has_another_text_by_now() {
    let metrics = Metrics::new();
    let texts = ["the-first-secret-1", "the-second-secret-2", "the-third-secret-3"];
    let first = secrets(vec![in_file("/a", None)], &metrics);
    let second = succeeding(&first, vec![of_env("B", texts[1], None)], &metrics, NOW);
    assert_eq!(taken(&second, &texts, after(10)), [true, true, false]);
    let over = SourceSecret { secret: secret(texts[2], Some(after(5))), ..in_file("/a", None) };
    let third = succeeding(&second, vec![of_env("B", texts[1], None), over], &metrics, after(10));
    assert_eq!(taken(&third, &texts, after(10)), [false, true, false]);
    let open = SourceSecret { secret: secret(texts[2], None), ..in_file("/a", None) };
    let named_again = succeeding(&second, vec![open], &metrics, after(10));
    assert_eq!(taken(&named_again, &texts, after(600)), [true, true, true]);
    assert_eq!(taken(&named_again, &texts, after(601)), [false, true, true], "its end stays");
}

#[test]
fn a_source_that_has_no_secret_any_more_takes_none_at_once() {
    let metrics = Metrics::new();
    let texts = ["the-first-secret-1", "the-second-secret-2"];
    let first = secrets(vec![of_env("A", texts[0], None)], &metrics);
    let none = succeeding(&first, Vec::new(), &metrics, NOW);
    assert!(none.now().all().is_empty() && !none.has_retired());
    let second = succeeding(&none, vec![of_env("B", texts[1], None)], &metrics, after(1));
    assert_eq!(taken(&second, &texts, after(1)), [false, true]);
}

#[test]
fn a_configuration_that_changes_all_the_time_leaves_a_few_secrets_behind() {
    let metrics = Metrics::new();
    let texts: Vec<String> = (0..20).map(|number| format!("one-of-many-secrets-{number}")).collect();
    let mut now = secrets(vec![of_env("A", &texts[0], None)], &metrics);
    for text in &texts[1..] {
        now = succeeding(&now, vec![of_env("A", text, None)], &metrics, NOW);
    }
    assert_eq!(now.now().all().len(), 1 + FORMER_MAX);
    assert!(now.now().all()[FORMER_MAX].is_same_key(&secret(&texts[18], None)), "the newest of them");
}
