//! The text formats of the metrics, and the choice between them by a scraper's `Accept` header
//! (pure).
//!
//! The library writes OpenMetrics, and the older Prometheus format is derived from that: it names
//! counters as their samples are named, and has neither units nor exemplars nor an end mark.

use std::fmt::Write;

/// A text format for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// OpenMetrics 1.0.0, for scrapers that ask for it by name.
    OpenMetrics,
    /// Prometheus's text format 0.0.4, for every other client: people, `promtool check metrics` and
    /// older scrapers.
    Prometheus,
}

impl Exposition {
    /// The format that these values of `Accept` prefer.
    pub fn asked_for<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut openmetrics, mut prometheus) = (0.0_f32, 0.0);
        for range in accept.into_iter().flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let of = |name: &str| {
                let found = parameters.iter().find(|(found, _)| found.trim().eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.trim().trim_matches('"'))
            };
            let quality: f32 = of("q").map_or(1.0, |q| q.parse().unwrap_or(0.0));
            match (kind.as_str(), of("version")) {
                ("application/openmetrics-text", None | Some("1.0.0" | "0.0.1")) => {
                    openmetrics = quality.max(openmetrics);
                }
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => {
                    prometheus = quality.max(prometheus);
                }
                _ => {}
            }
        }
        if openmetrics > 0.0 && openmetrics >= prometheus { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The `Content-Type` of this format.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Converts metrics from OpenMetrics to Prometheus's text format.
pub(super) fn prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            // The help line carries the metric's name, which depends on the type in the next line.
            help = described.split_once(' ').map_or("", |(_, words)| words);
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, "unknown"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", kind),
                "gauge" | "histogram" | "summary" => ("", kind),
                _ => ("", "untyped"),
            };
            writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}")
                .expect("text can be written to memory");
        } else if !line.starts_with('#') {
            text.push_str(without_exemplar(line));
            text.push('\n');
        }
    }
    text
}

/// A sample without the trace that it names. No label of a histogram can have such a text.
fn without_exemplar(line: &str) -> &str {
    let sample = line.split_once(" # {trace_id=").filter(|_| line.contains("_bucket{"));
    sample.map_or(line, |(sample, _)| sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_openmetrics_gets_it_and_everybody_else_the_older_format() {
        let newest = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            newest,
            "application/openmetrics-text",
            "application/openmetrics-text; version=1.0.0",
            "APPLICATION/OpenMetrics-Text; Version=\"1.0.0\", text/plain;q=0.9",
        ] {
            assert_eq!(Exposition::asked_for([accept]), Exposition::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/html, */*;q=0.8",
            "text/plain;version=0.0.4",
            "text/plain, application/openmetrics-text;q=0.5",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily",
            "application/openmetrics-text;q=nonsense",
        ] {
            assert_eq!(Exposition::asked_for([accept]), Exposition::Prometheus, "{accept}");
        }
        assert_eq!(Exposition::asked_for([]), Exposition::Prometheus);
        assert_eq!(
            Exposition::asked_for(["text/html", "application/openmetrics-text"]),
            Exposition::OpenMetrics
        );
    }

    #[test]
    fn counters_are_described_by_the_name_of_their_samples() {
        let openmetrics = "# HELP a_events Some.\n# TYPE a_events counter\na_events_total{x=\"# \\\"1\"} 3\n\
            # HELP a_bytes Room.\n# TYPE a_bytes gauge\n# UNIT a_bytes bytes\na_bytes 4\n\
            # HELP t Time.\n# TYPE t histogram\nt_sum 1.0\nt_count 1\nt_bucket{le=\"+Inf\"} 1\n\
            # HELP u Any.\n# TYPE u unknown\nu 1\n# EOF\n";
        let expected = "# HELP a_events_total Some.\n# TYPE a_events_total counter\n\
            a_events_total{x=\"# \\\"1\"} 3\n# HELP a_bytes Room.\n# TYPE a_bytes gauge\na_bytes 4\n\
            # HELP t Time.\n# TYPE t histogram\nt_sum 1.0\nt_count 1\nt_bucket{le=\"+Inf\"} 1\n\
            # HELP u Any.\n# TYPE u untyped\nu 1\n";
        assert_eq!(prometheus(openmetrics), expected);
    }

    #[test]
    fn only_openmetrics_has_exemplars() {
        let openmetrics = "# HELP t Time.\n# TYPE t histogram\nt_sum 0.3\nt_count 2\n\
            t_bucket{le=\"0.5\"} 2 # {trace_id=\"4bf9\"} 0.2\nt_bucket{le=\"+Inf\"} 2\n# EOF\n";
        let expected = "# HELP t Time.\n# TYPE t histogram\nt_sum 0.3\nt_count 2\n\
            t_bucket{le=\"0.5\"} 2\nt_bucket{le=\"+Inf\"} 2\n";
        assert_eq!(prometheus(openmetrics), expected);
    }
}
