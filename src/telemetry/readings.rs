//! The present values of the metrics, for answers that say them in another form than the exposition.
//!
//! The library that counts does not list what a family has counted, so the values are read from the text that
//! it writes. Who shows a number and who scrapes it see the same one.

use std::collections::BTreeMap;

/// What each metric's name begins with.
const PREFIX: &str = "fanbridge_";
/// When the process was started.
const START: &str = "start_time_seconds";

/// The values of all metrics at one moment. Names are those of `/metrics` without `fanbridge_`.
#[derive(Debug, Default)]
pub struct Readings(Vec<Sample>);

/// One line of the exposition.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The part of the series that somebody asks for: the labels that they must have.
pub type LabelsWanted<'a> = &'a [(&'a str, &'a str)];

impl Readings {
    /// Reads a text of `/metrics`, in either format. A line that is none of it is passed over.
    pub fn of(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// What was counted since an earlier reading: each value less the one that it had then, or all of it if
    /// the process was started in between. Of a metric that can fall, that says nothing.
    pub fn since(&self, before: &Self) -> Self {
        let begun = |readings: &Self| readings.sum(START, &[]);
        let is_same = begun(self) == begun(before);
        let then: BTreeMap<_, f64> = before
            .0
            .iter()
            .filter(|_| is_same)
            .map(|sample| ((&sample.name, &sample.labels), sample.value))
            .collect();
        let counted = |sample: &Sample| Sample {
            name: sample.name.clone(),
            labels: sample.labels.clone(),
            value: sample.value - then.get(&(&sample.name, &sample.labels)).copied().unwrap_or_default(),
        };
        Self(self.0.iter().map(counted).collect())
    }

    /// The sum of a metric over the series that have these labels.
    pub fn sum(&self, name: &str, labels: LabelsWanted<'_>) -> f64 {
        // The sum of nothing would be a zero below zero, which JSON shows.
        self.series(name, labels).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The same of a metric that counts.
    pub fn count(&self, name: &str, labels: LabelsWanted<'_>) -> u64 {
        self.sum(name, labels) as u64
    }

    /// What a metric has counted for each value of a label, over the series that have these labels.
    pub fn by(&self, label: &str, name: &str, labels: LabelsWanted<'_>) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for sample in self.series(name, labels) {
            if let Some(value) = sample.labels.get(label) {
                *counts.entry(value.clone()).or_default() += sample.value as u64;
            }
        }
        counts
    }

    /// The value that this part of the observations of a histogram does not exceed, taken as spread evenly
    /// over the bucket in which it lies; `None` if nothing was observed. What lies in the last bucket, which
    /// has no upper bound, is given as its lower bound.
    pub fn quantile(&self, part: f64, histogram: &str, labels: LabelsWanted<'_>) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.series(&format!("{histogram}_bucket"), labels) {
            let bound = sample.labels.get("le")?.parse().unwrap_or(f64::INFINITY);
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = buckets.last().map(|(_, all)| all * part).filter(|wanted| *wanted > 0.0)?;
        let at = buckets.partition_point(|(_, count)| *count < wanted);
        let (lower, below) = at.checked_sub(1).map_or((0.0, 0.0), |before| buckets[before]);
        let (upper, through) = *buckets.get(at)?;
        if upper.is_infinite() {
            return Some(lower);
        }
        Some(lower + (upper - lower) * (wanted - below) / (through - below))
    }

    fn series<'a>(&'a self, name: &str, labels: LabelsWanted<'_>) -> impl Iterator<Item = &'a Sample> {
        let has = move |sample: &&Sample| {
            let is = |(label, value): &(&str, &str)| sample.labels.get(*label).is_some_and(|of| of == value);
            sample.name == name && labels.iter().all(is)
        };
        self.0.iter().filter(has)
    }
}

/// Reads `fanbridge_name{label="value",…} 1`.
fn sample(line: &str) -> Option<Sample> {
    let line = line.strip_prefix(PREFIX)?;
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = (line[..end].to_owned(), &line[end..]);
    let mut labels = BTreeMap::new();
    if let Some(listed) = rest.strip_prefix('{') {
        rest = listed;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.split_once("=\"")?;
            let (value, behind) = unquoted(quoted)?;
            labels.insert(label.trim_start_matches(',').to_owned(), value);
            rest = behind;
        }
        rest = &rest[1..];
    }
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// The text up to the closing quotation mark without its escapes, and what follows the mark.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Metrics, Source, SourceReason, SourceSecret};
    use super::Readings;

    #[test]
    fn what_was_counted_is_read_by_its_labels() {
        let metrics = Metrics::new();
        let refused = |source: &str, reason: &str, count| {
            let labels = SourceReason { source: source.into(), reason: reason.into() };
            metrics.refused.get_or_create(&labels).inc_by(count);
        };
        refused("front", "wrong_signature", 3);
        refused("front", "too_large", 1);
        refused("other", "too_large", 5);
        let readings = metrics.readings();
        assert_eq!(readings.count("refused_total", &[]), 9);
        assert_eq!(readings.count("refused_total", &[("source", "front")]), 4);
        assert_eq!(readings.count("refused_total", &[("source", "nobody")]), 0);
        assert!(readings.sum("refused_total", &[("source", "nobody")]).is_sign_positive());
        let by = readings.by("reason", "refused_total", &[("source", "front")]);
        assert_eq!(by, [("too_large".into(), 1), ("wrong_signature".into(), 3)].into());
    }

    #[test]
    fn what_came_in_between_is_all_of_it_if_the_process_began_anew() {
        let text = |start: u32, low: u32, all: u32| {
            Readings::of(&format!(
                "fanbridge_start_time_seconds {start}\n\
                 fanbridge_events_total{{source=\"a\"}} {all} 1700000000\n\
                 fanbridge_ack_bucket{{le=\"1.0\"}} {low}\nfanbridge_ack_bucket{{le=\"2.0\"}} {all}\n\
                 fanbridge_ack_bucket{{le=\"+Inf\"}} {all}\n"
            ))
        };
        let between = |before, now: Readings| {
            let grown = now.since(&before);
            (grown.count("events_total", &[("source", "a")]), grown.quantile(0.5, "ack", &[]))
        };
        assert_eq!(between(text(7, 100, 100), text(7, 100, 200)), (100, Some(1.5)), "in the second bucket");
        assert_eq!(between(text(7, 100, 200), text(7, 100, 200)), (0, None));
        assert_eq!(between(text(7, 100, 200), text(8, 100, 300)), (300, Some(1.25)), "it began anew");
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "(fanbridge_|a|b|\\{|\\}|\"|=|,| |\\\\|1|\n|é){0,60}") {
            Readings::of(&text);
        }
    }

    #[test]
    fn a_label_can_hold_what_ends_a_label() {
        let metrics = Metrics::new();
        let secret = "file:/a \"b\\c\"},{x=\"1\"";
        let labels = SourceSecret { source: "front".into(), secret: secret.into() };
        metrics.secret_used.get_or_create(&labels).inc();
        let by = metrics.readings().by("secret", "signature_secret_used_total", &[("source", "front")]);
        assert_eq!(by, [(secret.into(), 1)].into());
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_observations() {
        let metrics = Metrics::new();
        let quantile = |part| metrics.readings().quantile(part, "spool_fsync_duration_seconds", &[]);
        assert_eq!(quantile(0.5), None, "nothing was observed");
        for _ in 0..90 {
            metrics.spool_fsync.observe(0.000_15);
        }
        for _ in 0..10 {
            metrics.spool_fsync.observe(0.015);
        }
        let (half, most) = (quantile(0.5).expect("a median"), quantile(0.99).expect("a quantile"));
        assert!((0.000_1..=0.000_2).contains(&half), "{half}");
        assert!((0.012_8..=0.025_6).contains(&most), "{most}");
        metrics.spool_fsync.observe(1e6);
        let last = quantile(1.0).expect("the longest");
        assert!(last.is_finite(), "{last} is the bound in front of the last bucket");
        let other = metrics.readings().quantile(0.5, "ack_duration_seconds", &[("source", "front")]);
        assert_eq!(other, None);
        metrics.ack_duration.get_or_create(&Source { source: "front".into() }).observe(0.002);
        assert!(metrics.readings().quantile(0.5, "ack_duration_seconds", &[("source", "front")]).is_some());
    }
}
