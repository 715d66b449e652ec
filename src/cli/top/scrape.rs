//! The metrics of the bridge as it exposes them, read again (pure).

use std::collections::HashMap;

/// The series of one answer of `/metrics`.
#[derive(Debug, Default)]
pub(super) struct Scrape {
    series: HashMap<String, Vec<Series>>,
}

/// One series: its labels and its value.
#[derive(Debug)]
struct Series {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Series {
    fn has(&self, wanted: &[(&str, &str)]) -> bool {
        let is_there = |(name, value): &(&str, &str)| self.label(name) == Some(value);
        wanted.iter().all(is_there)
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

impl Scrape {
    /// Reads Prometheus's text format. A line that is none is passed over.
    pub(super) fn read(text: &str) -> Self {
        let mut scrape = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, series)) = read_line(line) {
                scrape.series.entry(name.to_owned()).or_default().push(series);
            }
        }
        scrape
    }

    /// The sum of the series of this name that have all of these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let series = self.series.get(name).into_iter().flatten();
        // The sum of nothing would be a zero below zero.
        series.filter(|series| series.has(labels)).fold(0.0, |sum, series| sum + series.value)
    }

    /// The buckets of a histogram with these labels: how many values were at most so large.
    pub(super) fn buckets(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(f64, f64)> {
        let series = self.series.get(&format!("{name}_bucket")).into_iter().flatten();
        let bucket = |series: &Series| {
            let bound = series.label("le")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, series.value))
        };
        let mut buckets: Vec<_> = series.filter(|series| series.has(labels)).filter_map(bucket).collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        buckets
    }
}

/// How much a counter has grown. One that is smaller than before began anew.
pub(super) fn growth(before: f64, now: f64) -> f64 {
    if now < before { now } else { now - before }
}

/// The value below which this share of the values lies that were added to a histogram in between; `None` if
/// none was. Within a bucket they are taken to be spread evenly.
pub(super) fn quantile(share: f64, before: &[(f64, f64)], now: &[(f64, f64)]) -> Option<f64> {
    let earlier =
        |bound: f64| before.iter().find(|(other, _)| *other == bound).map_or(0.0, |(_, count)| *count);
    let began_anew = now.iter().any(|(bound, count)| *count < earlier(*bound));
    let grown: Vec<(f64, f64)> = now
        .iter()
        .map(|(bound, count)| (*bound, if began_anew { *count } else { count - earlier(*bound) }))
        .collect();
    let wanted = grown.last().filter(|(_, all)| *all > 0.0)?.1 * share;
    let at = grown.iter().position(|(_, count)| *count >= wanted)?;
    let (below, counted) = if at == 0 { (0.0, 0.0) } else { grown[at - 1] };
    let (bound, count) = grown[at];
    // Beyond the last bound nobody knows.
    Some(if bound.is_infinite() {
        below
    } else {
        below + (bound - below) * (wanted - counted) / (count - counted)
    })
}

/// The name and the series of a line such as `name{label="value"} 1.5`.
fn read_line(line: &str) -> Option<(&str, Series)> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => read_labels(inside)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name, Series { labels, value }))
}

/// Labels up to the closing brace, and what is behind it.
fn read_labels(mut text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        text = text.strip_prefix(',').unwrap_or(text);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = read_value(rest)?;
        labels.push((name.to_owned(), value));
        text = rest;
    }
}

/// A label's value up to its closing quote, and what is behind it.
fn read_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
# HELP events_total Deliveries
# TYPE events_total counter
events_total{source=\"a\",verdict=\"accepted\"} 3
events_total{verdict=\"accepted\",source=\"b\"} 4.5 1700000000
events_total{source=\"a\",verdict=\"filtered\"} 1
odd{text=\"a \\\"quoted\\\" {} , \\\\ text\"} 7
plain 2e3
ack_bucket{source=\"a\",le=\"0.1\"} 90
ack_bucket{source=\"a\",le=\"+Inf\"} 100
ack_bucket{source=\"a\",le=\"1\"} 99
this is no line
";

    #[test]
    fn series_are_summed_by_their_labels_in_any_order() {
        let scrape = Scrape::read(TEXT);
        assert!(scrape.sum("absent", &[]).is_sign_positive());
        assert_eq!(scrape.sum("events_total", &[]), 8.5);
        assert_eq!(scrape.sum("events_total", &[("source", "a")]), 4.0);
        assert_eq!(scrape.sum("events_total", &[("source", "a"), ("verdict", "accepted")]), 3.0);
        assert_eq!(scrape.sum("odd", &[("text", "a \"quoted\" {} , \\ text")]), 7.0);
        assert_eq!((scrape.sum("plain", &[]), scrape.sum("absent", &[])), (2000.0, 0.0));
        assert_eq!(
            scrape.buckets("ack", &[("source", "a")]),
            [(0.1, 90.0), (1.0, 99.0), (f64::INFINITY, 100.0)]
        );
    }

    #[test]
    fn a_quantile_is_of_what_came_in_between() {
        let now = [(1.0, 100.0), (2.0, 200.0), (f64::INFINITY, 200.0)];
        assert_eq!(quantile(0.5, &[], &now), Some(1.0));
        assert_eq!(quantile(0.75, &[], &now), Some(1.5));
        let before = [(1.0, 100.0), (2.0, 100.0), (f64::INFINITY, 100.0)];
        assert_eq!(quantile(0.5, &before, &now), Some(1.5), "all that came is in the second bucket");
        assert_eq!(quantile(0.5, &now, &now), None);
        assert_eq!(quantile(0.5, &now, &before), Some(0.5), "the bridge began anew");
        assert_eq!(
            quantile(0.99, &[], &[(1.0, 0.0), (f64::INFINITY, 5.0)]),
            Some(1.0),
            "beyond the last bound"
        );
        assert_eq!((growth(3.0, 5.0), growth(5.0, 2.0)), (2.0, 2.0));
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "(a|b|\\{|\\}|\"|=|,| |\\\\|1|\n|é){0,60}") {
            Scrape::read(&text);
        }
    }
}
