//! What came and went between two looks at the bridge, and how it is shown (pure).

use serde::Serialize;

use super::super::tail::short_name;
use crate::event::Timestamp;
use crate::explain::cause::span;
use crate::telemetry::{LabelsWanted, Readings, Shown};

/// Columns of a name.
const NAME: usize = 20;
/// Lines besides one for each source and sink: the first one, and the titles of both tables.
const OTHER_LINES: usize = 3;
/// The share of answers that are quicker than the time that is shown.
const QUICKER: f64 = 0.99;

/// The names of what is shown.
#[derive(Debug)]
pub(super) struct TopNames {
    /// The sources, and whether each answers its sender.
    pub(super) sources: Vec<(String, bool)>,
    /// The sinks.
    pub(super) sinks: Vec<String>,
}

/// The bridge in a moment.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct TopBlock {
    at: Timestamp,
    spool_bytes: u64,
    spool_bytes_max: u64,
    sources: Vec<TopSource>,
    sinks: Vec<TopSink>,
}

/// A source in a moment. Counts are by the second.
#[derive(Debug, PartialEq, Serialize)]
struct TopSource {
    source: String,
    accepted: f64,
    filtered: f64,
    duplicate: f64,
    quarantined: f64,
    /// `None` of a source that answers nobody.
    refused: Option<f64>,
    ack_p99_seconds: Option<f64>,
}

/// A sink in a moment.
#[derive(Debug, PartialEq, Serialize)]
struct TopSink {
    sink: String,
    /// Records by the second.
    out: f64,
    in_flight: u64,
    /// Seconds since the arrival of the oldest record that it has not.
    lag_seconds: f64,
    /// Records by the second.
    retries: f64,
    /// Dead letters that are kept now.
    dead: u64,
    degraded: bool,
    /// Whether somebody has paused it.
    paused: bool,
}

impl TopBlock {
    /// What happened between two looks, so many seconds apart.
    pub(super) fn between(
        before: &Readings,
        now: &Readings,
        seconds: f64,
        names: &TopNames,
        at: Timestamp,
    ) -> Self {
        let grown = now.since(before);
        let rate =
            |name: &str, labels: LabelsWanted<'_>| grown.sum(name, labels) / seconds.max(f64::MIN_POSITIVE);
        let source = |(name, answers): &(String, bool)| {
            let of_source = ("source", name.as_str());
            let verdict = |word: &str| rate("events_total", &[of_source, ("verdict", word)]);
            let quicker = grown.quantile(QUICKER, "ack_duration_seconds", &[of_source]);
            TopSource {
                source: name.clone(),
                accepted: verdict("accepted"),
                filtered: verdict("filtered"),
                duplicate: verdict("duplicate"),
                quarantined: verdict("quarantined"),
                refused: answers.then(|| rate("refused_total", &[of_source])),
                ack_p99_seconds: quicker.filter(|_| *answers),
            }
        };
        let sink = |name: &String| {
            let of_sink = [("sink", name.as_str())];
            TopSink {
                sink: name.clone(),
                out: rate("delivered_total", &of_sink),
                in_flight: now.count("sink_in_flight", &of_sink),
                lag_seconds: now.sum("sink_oldest_pending_seconds", &of_sink),
                retries: rate("sink_retries_total", &of_sink),
                dead: now.count("dead_letters_kept", &of_sink),
                degraded: now.sum("sink_degraded", &of_sink) > 0.0,
                paused: now.sum("sink_paused", &of_sink) > 0.0,
            }
        };
        Self {
            at,
            spool_bytes: now.count("spool_bytes", &[]),
            spool_bytes_max: now.count("spool_limit_bytes", &[]),
            sources: names.sources.iter().map(source).collect(),
            sinks: names.sinks.iter().map(sink).collect(),
        }
    }

    /// Both tables, in at most so many lines if that is given.
    pub(super) fn text(&self, lines_max: Option<usize>) -> String {
        let GibiBytes(used) = GibiBytes::of(self.spool_bytes);
        let GibiBytes(limit) = GibiBytes::of(self.spool_bytes_max);
        let time = self.at.time_of_day();
        let mut text = format!("{time} UTC  spool {used} of {limit} GiB\n");
        let room = lines_max.map_or(usize::MAX, |lines| lines.saturating_sub(OTHER_LINES));
        // The sinks have at least half of the lines, because their trouble lasts.
        let for_sources = room.saturating_sub(self.sinks.len().min(room / 2)).max(1);
        let sources: Vec<String> = self.sources.iter().map(source_line).collect();
        text.push_str(&fitting(SOURCES_TITLE, &sources, for_sources));
        let for_sinks = room.saturating_sub(sources.len().min(for_sources)).max(1);
        let sinks: Vec<String> = self.sinks.iter().map(sink_line).collect();
        text.push_str(&fitting(SINKS_TITLE, &sinks, for_sinks));
        text
    }
}

const SOURCES_TITLE: &str =
    "SOURCE                  ACC/s    FILT/s     DUP/s   QUAR/s  REFUSED/s    ACK p99\n";
const SINKS_TITLE: &str = "SINK                    OUT/s IN FLIGHT        LAG   RETRY/s       DEAD\n";

fn source_line(source: &TopSource) -> String {
    let refused = source.refused.map_or_else(|| "-".into(), rate);
    let quickest = source.ack_p99_seconds.map_or_else(|| "-".into(), milliseconds);
    format!(
        "{:<NAME$} {:>8} {:>9} {:>9} {:>8} {refused:>10} {quickest:>10}\n",
        short_name(&Shown(&source.source).to_string(), NAME),
        rate(source.accepted),
        rate(source.filtered),
        rate(source.duplicate),
        rate(source.quarantined),
    )
}

fn sink_line(sink: &TopSink) -> String {
    format!(
        "{:<NAME$} {:>8} {:>9} {:>10} {:>9} {:>10}{}\n",
        short_name(&Shown(&sink.sink).to_string(), NAME),
        rate(sink.out),
        sink.in_flight,
        span(sink.lag_seconds.max(0.0) as u64),
        rate(sink.retries),
        sink.dead,
        match (sink.paused, sink.degraded) {
            (true, _) => " paused",
            (false, true) => " !",
            (false, false) => "",
        },
    )
}

/// A title and as many rows as there is room for; the last line says how many are left out.
fn fitting(title: &str, rows: &[String], lines: usize) -> String {
    if rows.len() <= lines {
        return format!("{title}{}", rows.concat());
    }
    let shown = lines.saturating_sub(1);
    format!("{title}{}… {} more\n", rows[..shown].concat(), rows.len() - shown)
}

/// Bytes as GiB with one digit behind the point.
struct GibiBytes(String);

impl GibiBytes {
    fn of(bytes: u64) -> Self {
        Self(format!("{:.1}", bytes as f64 / f64::from(1 << 30)))
    }
}

/// How many come in a second.
fn rate(by_second: f64) -> String {
    match by_second {
        none if none <= 0.0 => "0".into(),
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

/// A short time.
fn milliseconds(seconds: f64) -> String {
    match seconds * 1000.0 {
        few if few < 100.0 => format!("{few:.1} ms"),
        some if some < 10_000.0 => format!("{some:.0} ms"),
        many => format!("{:.0} s", many / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> TopNames {
        let sources = vec![("stream-video".into(), true), ("stream-queue".into(), false)];
        TopNames { sources, sinks: vec!["lake".into(), "billing".into()] }
    }

    const BEFORE: &str = "\
fanbridge_events_total{source=\"stream-video\",family=\"f\",verdict=\"accepted\"} 100
fanbridge_ack_duration_seconds_bucket{source=\"stream-video\",le=\"0.004\"} 0
";
    const NOW: &str = "\
fanbridge_events_total{source=\"stream-video\",family=\"f\",verdict=\"accepted\"} 924
fanbridge_events_total{source=\"stream-queue\",family=\"f\",verdict=\"filtered\"} 7
fanbridge_refused_total{source=\"stream-video\",reason=\"wrong_signature\"} 1
fanbridge_ack_duration_seconds_bucket{source=\"stream-video\",le=\"0.004\"} 824
fanbridge_ack_duration_seconds_bucket{source=\"stream-video\",le=\"+Inf\"} 824
fanbridge_delivered_total{sink=\"lake\",family=\"f\"} 748
fanbridge_sink_in_flight{sink=\"lake\"} 64
fanbridge_sink_oldest_pending_seconds{sink=\"billing\"} 250.5
fanbridge_sink_retries_total{sink=\"billing\",reason=\"network\"} 22
fanbridge_sink_degraded{sink=\"billing\"} 1
fanbridge_dead_letters_kept{sink=\"billing\",reason=\"too_large\"} 3
fanbridge_spool_bytes 1288490189
fanbridge_spool_limit_bytes 21474836480
";

    fn block() -> TopBlock {
        let (before, now) = (Readings::of(BEFORE), Readings::of(NOW));
        let at = Timestamp::from_rfc3339("2026-11-21T14:09:39.5Z").expect("a moment");
        TopBlock::between(&before, &now, 2.0, &names(), at)
    }

    #[test]
    fn a_block_says_what_came_and_went_by_the_second() {
        let expected = "\
14:09:39 UTC  spool 1.2 of 20.0 GiB
SOURCE                  ACC/s    FILT/s     DUP/s   QUAR/s  REFUSED/s    ACK p99
stream-video              412         0         0        0        0.5     4.0 ms
stream-queue                0       3.5         0        0          -          -
SINK                    OUT/s IN FLIGHT        LAG   RETRY/s       DEAD
lake                      374        64        0 s         0          0
billing                     0         0   4 m 10 s        11          3 !
";
        assert_eq!(block().text(None), expected);
    }

    #[test]
    fn programs_get_the_moment_and_whole_counts() {
        let block = serde_json::to_value(block()).expect("JSON");
        assert!(block["at"].as_str().is_some_and(|at| at.starts_with("2026-11-21T14:09:39.5")), "{block}");
        assert_eq!(
            (&block["spool_bytes"], &block["sinks"][0]["in_flight"]),
            (&1_288_490_189_u64.into(), &64.into())
        );
        assert_eq!(
            (&block["sinks"][1]["dead"], &block["sources"][0]["accepted"]),
            (&3.into(), &412.0.into())
        );
    }

    #[test]
    fn a_block_fits_the_lines_there_are_and_eighty_columns() {
        let mut block = block();
        for number in 0..30 {
            let source = format!("a-source-with-a-rather-long-name-{number}");
            block.sources.push(TopSource { source, accepted: 123_456.0, refused: Some(99_999.0), ..none() });
        }
        for lines in [5, 10, 24, 40] {
            let text = block.text(Some(lines));
            assert!(text.lines().count() <= lines, "{lines}: {text}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(text.contains("billing") || text.contains("more"), "{text}");
        }
        assert!(block.text(Some(10)).contains(" more\n"));
        assert!(!block.text(None).contains(" more\n"));
    }

    fn none() -> TopSource {
        TopSource {
            source: String::new(),
            accepted: 0.0,
            filtered: 0.0,
            duplicate: 0.0,
            quarantined: 0.0,
            refused: None,
            ack_p99_seconds: None,
        }
    }

    #[test]
    fn times_are_written_as_people_say_them() {
        let times = [0.000_91, 0.0029, 0.25, 30.0].map(milliseconds);
        assert_eq!(times, ["0.9 ms", "2.9 ms", "250 ms", "30 s"]);
    }
}
