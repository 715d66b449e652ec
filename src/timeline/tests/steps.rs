//! A step is read as it was noted, in memory and in JSON.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::notes::NOTE_BYTES_MAX;
use super::*;

/// A text that is not cut.
fn text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..50).prop_map(String::from_iter)
}

fn position() -> impl Strategy<Value = Position> {
    (1..=u64::MAX).prop_map(Position)
}

fn placement() -> impl Strategy<Value = Placement> {
    prop_oneof![
        Just(Placement::Unstated),
        (0..=i32::MAX, 0..=i64::MAX).prop_map(|(partition, offset)| Placement::offset(partition, offset)),
        any::<[u8; 16]>().prop_map(Placement::Message),
        any::<(u64, u64)>().prop_map(|(file, offset)| Placement::Line { file, offset }),
    ]
}

fn taken_step() -> impl Strategy<Value = StepKind> {
    let verdict = prop_oneof![
        Just(TakenAs::Accepted),
        Just(TakenAs::Filtered),
        Just(TakenAs::Duplicate),
        Just(TakenAs::Quarantined)
    ];
    let decided_by = (0..DecidedBy::ALL.len()).prop_map(|at| DecidedBy::ALL[at]);
    let texts = [text(), text(), text(), text(), text(), text()];
    let numbers = (any::<u32>(), option::of(position()), option::of(any::<[u8; 6]>()), any::<u32>());
    (verdict, decided_by, texts, option::of(text()), option::of(text()), numbers).prop_map(
        |(verdict, decided_by, texts, key, secret, (bytes, position, configuration, taken_us))| {
            let [source, reason, id, event_source, event_type, family] = texts;
            StepKind::Taken(TakenStep {
                source,
                verdict,
                decided_by,
                reason,
                id,
                event_source,
                event_type,
                family,
                key,
                bytes,
                position,
                secret,
                configuration,
                taken_us,
            })
        },
    )
}

fn refused_step() -> impl Strategy<Value = StepKind> {
    let body = (option::of(any::<u64>()), option::of(any::<[u8; 32]>()));
    let headers = vec((text(), text()), 0..4);
    (text(), any::<u64>(), any::<u16>(), text(), body, headers, any::<u32>()).prop_map(
        |(source, request, status, reason, (bytes, sha256), headers, unsaid)| {
            let step = RefusedStep { source, request, status, reason, bytes, sha256, headers, unsaid };
            StepKind::Refused(step)
        },
    )
}

fn unanswered_step() -> impl Strategy<Value = StepKind> {
    (text(), text(), text(), any::<u32>()).prop_map(|(source, id, event_type, waited_ms)| {
        StepKind::Unanswered(UnansweredStep { source, id, event_type, waited_ms })
    })
}

fn published_step() -> impl Strategy<Value = StepKind> {
    let texts = [text(), text(), text(), text(), text()];
    (texts, position(), placement(), any::<(u32, u32, bool)>()).prop_map(
        |(texts, position, placement, (attempts, after_ms, replay))| {
            let [source, sink, topic, id, event_type] = texts;
            StepKind::Published(PublishedStep {
                source,
                sink,
                topic,
                id,
                event_type,
                position,
                placement,
                attempts,
                after_ms,
                replay,
            })
        },
    )
}

fn held_step() -> impl Strategy<Value = StepKind> {
    ([text(), text(), text(), text()], position(), position(), any::<(u32, u32)>()).prop_map(
        |([sink, topic, reason, detail], first, last, (records, attempt))| {
            StepKind::Held(HeldStep { sink, topic, reason, detail, records, first, last, attempt })
        },
    )
}

fn rejected_step() -> impl Strategy<Value = StepKind> {
    let texts = [text(), text(), text(), text(), text(), text(), text()];
    (texts, position(), any::<u32>()).prop_map(|(texts, position, attempts)| {
        let [source, sink, topic, id, event_type, reason, detail] = texts;
        StepKind::Rejected(RejectedStep {
            source,
            sink,
            topic,
            id,
            event_type,
            position,
            reason,
            detail,
            attempts,
        })
    })
}

pub(super) fn step() -> impl Strategy<Value = StepKind> {
    prop_oneof![
        taken_step(),
        refused_step(),
        unanswered_step(),
        published_step(),
        held_step(),
        rejected_step()
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_noted_is_read_again_whatever_its_texts_are(
        kinds in vec((any::<i64>(), step()), 1..20)
    ) {
        let (timeline, writer, mut collector) = timeline_of(1 << 20);
        for (at, kind) in &kinds {
            // Each in a round of its own, so that they are numbered in this order.
            note(&mut writer.open(), Timestamp(*at), kind);
            collector.collect();
        }
        let (steps, missed) = read_on(&timeline, timeline.start());
        let expected = kinds.into_iter().zip(1..);
        let expected: Vec<_> =
            expected.map(|((at, kind), number)| Step { number, at: Timestamp(at), kind }).collect();
        prop_assert_eq!(&steps, &expected);
        prop_assert_eq!(missed, 0);
        let written = serde_json::to_string(&steps).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<Vec<Step>>(&written).expect("steps"), expected);
    }
}

#[test]
fn a_step_in_json_says_what_happened_and_where() {
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    writer.open().published(Timestamp(0), &published("sha256-9f2c", "lake", 7));
    writer.open().refused(Timestamp(1), &refused(0x5f1c));
    collector.collect();
    let steps = timeline.newest(None, &StepFilter::default(), 10).steps;
    let written: Vec<_> = steps.iter().map(|step| serde_json::to_string(step).expect("JSON")).collect();
    assert_eq!(
        written[0],
        r#"{"number":1,"at":"1970-01-01T00:00:00Z","step":"published","source":"stream-video","sink":"lake","topic":"stream.video.call","id":"sha256-9f2c","type":"call.created","position":7,"placement":{"partition":1,"offset":42},"attempts":1,"after_ms":3,"replay":false}"#
    );
    let digest = "07".repeat(32);
    assert_eq!(
        written[1],
        format!(
            r#"{{"number":2,"at":"1970-01-01T00:00:00.000000001Z","step":"refused","source":"stream-video","request":"0000000000005f1c","status":401,"reason":"wrong_signature","bytes":1812,"sha256":"{digest}","headers":[["content-type","application/json"],["x-signature","hex, 64 digits"]],"unsaid":0}}"#
        )
    );
}

#[test]
fn texts_that_are_too_long_are_cut_between_characters() {
    let long = || "€".repeat(2000);
    let headers = (0..100).map(|_| (long(), long())).collect();
    let steps = [
        StepKind::Taken(TakenStep {
            source: long(),
            verdict: TakenAs::Quarantined,
            decided_by: DecidedBy::Unusable,
            reason: long(),
            id: long(),
            event_source: long(),
            event_type: long(),
            family: long(),
            key: Some(long()),
            bytes: 0,
            position: None,
            secret: Some(long()),
            configuration: Some([0; 6]),
            taken_us: 0,
        }),
        StepKind::Refused(RefusedStep {
            source: long(),
            request: 0,
            status: 0,
            reason: long(),
            bytes: Some(0),
            sha256: Some([0; 32]),
            headers,
            unsaid: 0,
        }),
        StepKind::Rejected(RejectedStep {
            source: long(),
            sink: long(),
            topic: long(),
            id: long(),
            event_type: long(),
            position: Position(1),
            reason: long(),
            detail: long(),
            attempts: 0,
        }),
    ];
    let (timeline, writer, mut collector) = timeline_of(1 << 20);
    for kind in &steps {
        note(&mut writer.open(), Timestamp(0), kind);
        collector.collect();
    }
    let (read, _) = read_on(&timeline, timeline.start());
    assert_eq!(read.len(), steps.len());
    let StepKind::Taken(taken) = &read[0].kind else { panic!("{read:?}") };
    assert_eq!((taken.source.len(), taken.id.len()), (255, 300));
    let StepKind::Refused(refused) = &read[1].kind else { panic!("{read:?}") };
    let kept: usize = refused.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!((1024..=2048).contains(&kept), "{kept} bytes of headers");
    let StepKind::Rejected(rejected) = &read[2].kind else { panic!("{read:?}") };
    assert_eq!(rejected.detail.len(), 255, "256 would cut a character");

    let mut longest = Vec::new();
    let short = || "x".repeat(2000);
    let many = (0..100).map(|_| ("x".repeat(20), "y".repeat(31))).collect();
    let refused = RefusedStep {
        source: short(),
        request: 0,
        status: 0,
        reason: short(),
        bytes: Some(0),
        sha256: Some([0; 32]),
        headers: many,
        unsaid: 0,
    };
    super::super::notes::Noteworthy::write(&refused, Timestamp(0), &mut longest);
    assert!(longest.len() <= NOTE_BYTES_MAX, "{} bytes", longest.len());
    assert!(longest.len() > NOTE_BYTES_MAX / 2, "{} bytes: the bound is far off", longest.len());
}

#[test]
fn every_word_of_a_step_is_read_again_and_any_other_is_refused() {
    for word in StepWord::ALL {
        assert_eq!(word.as_str().parse(), Ok(word));
    }
    let refused = "taken".parse::<StepWord>().expect_err("no word").to_string();
    assert!(refused.starts_with("expected accepted, filtered, "), "{refused}");
}
