//! Draws throughput and p99 over connections, for the bridge and its floors, as an SVG (pure).
//!
//! Lines, text and a grid are all there is to it, so no crate draws them. The colours are of medium
//! lightness, and there is no background: the plot reads on light and dark pages.

use serde_json::Value;
use std::fmt::Write;

use crate::median;

const WIDTH: f64 = 800.0;
const PANEL: f64 = 300.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 600.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 250.0;
const INK: &str = "#7d8590";
/// Key in the results, name, and colour.
const SUBJECTS: [(&str, &str, &str); 4] = [
    ("verify", "verifies only", "#7a9a2e"),
    ("recycle", "+ plain file, recycled", "#d9822b"),
    ("keep", "+ plain file that grows", "#a06cd5"),
    ("settled", "fanbridge, settled", "#2f81f7"),
];
/// The least space between two names, in pixels.
const NAME_HEIGHT: f64 = 17.0;

/// One subject's values by connections.
struct Line {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// One of the two drawings.
struct Panel {
    title: &'static str,
    top: f64,
    lines: Vec<Line>,
    /// The range of values, and whether equal steps are equal factors.
    range: (f64, f64),
    logarithmic: bool,
}

/// The plot of these results; `None` if they have less than two numbers of connections.
pub fn svg(results: &Value) -> Option<String> {
    let cases: Vec<_> = results["intake"]["cases"].as_array()?.iter().collect();
    let small: Vec<_> = cases.into_iter().filter(|case| case["body_bytes"] == 1024).collect();
    let connections: Vec<_> = small.iter().filter_map(|case| case["connections"].as_f64()).collect();
    if connections.len() < 2 {
        return None;
    }
    let rates = lines(&small, "per_second");
    let times = lines(&small, "p99_ms");
    let most = highest(&rates);
    let (least, longest) = (lowest(&times), highest(&times));
    let panels = [
        Panel {
            title: "events a second",
            top: 0.0,
            lines: rates,
            range: (0.0, step(most) * (most / step(most)).ceil()),
            logarithmic: false,
        },
        Panel {
            title: "p99 of the answers, ms",
            top: PANEL,
            lines: times,
            range: (10_f64.powf(least.log10().floor()), 10_f64.powf(longest.log10().ceil())),
            logarithmic: true,
        },
    ];
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="14" fill="{INK}">
<title>Throughput and p99 over connections, 1 KiB events</title>
"#,
        height = 2.0 * PANEL + 10.0
    );
    for panel in &panels {
        panel.draw(&mut svg, &connections);
    }
    svg.push_str("</svg>\n");
    Some(svg)
}

/// The medians of a field by connections, for each subject that has them all.
fn lines(cases: &[&Value], field: &str) -> Vec<Line> {
    let value = |case: &Value, key: &str| {
        let rounds = case[key].as_array()?.iter().filter_map(|sample| sample[field].as_f64());
        let middle = median(rounds);
        (middle.is_finite() && middle > 0.0).then_some((case["connections"].as_f64()?, middle))
    };
    let line = |(key, name, colour)| {
        let points: Option<Vec<_>> = cases.iter().map(|case| value(case, key)).collect();
        Some(Line { name, colour, points: points? })
    };
    SUBJECTS.into_iter().filter_map(line).collect()
}

fn highest(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max)
}

fn lowest(lines: &[Line]) -> f64 {
    lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(f64::MAX, f64::min)
}

/// A round number that fits a few times into `most`.
fn step(most: f64) -> f64 {
    let decade = 10_f64.powf(most.log10().floor());
    if most / decade < 3.0 { decade / 2.0 } else { decade }
}

impl Panel {
    fn draw(&self, svg: &mut String, connections: &[f64]) {
        let _ = writeln!(
            svg,
            r#"<text x="{LEFT}" y="{}" font-weight="bold">{}</text>"#,
            self.top + TOP - 16.0,
            self.title
        );
        for value in self.ticks() {
            let y = self.y(value);
            let _ = writeln!(
                svg,
                r#"<path d="M{LEFT} {y:.1}H{RIGHT}" stroke="{INK}" stroke-opacity=".25"/><text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 8.0,
                y + 5.0,
                number(value)
            );
        }
        for &count in connections {
            let x = x(count, connections);
            let _ = writeln!(
                svg,
                r#"<path d="M{x:.1} {:.1}v6" stroke="{INK}"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{count}</text>"#,
                self.top + BOTTOM,
                self.top + BOTTOM + 22.0
            );
        }
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{:.1}" text-anchor="middle">connections</text>"#,
            (LEFT + RIGHT) / 2.0,
            self.top + BOTTOM + 40.0
        );
        for line in &self.lines {
            self.draw_line(svg, line, connections);
        }
        self.draw_names(svg);
    }

    fn draw_line(&self, svg: &mut String, line: &Line, connections: &[f64]) {
        let at: Vec<_> =
            line.points.iter().map(|&(count, value)| (x(count, connections), self.y(value))).collect();
        let path: Vec<_> = at.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let (colour, path) = (line.colour, path.join("L"));
        let _ = writeln!(svg, r#"<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>"#);
        for (x, y) in at {
            let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" fill="{colour}"/>"#);
        }
    }

    /// Each name at the end of its line, or as near as the others leave room.
    fn draw_names(&self, svg: &mut String) {
        let end = |line: &Line| line.points.last().map_or(self.top + BOTTOM, |point| self.y(point.1));
        let mut names: Vec<_> = self.lines.iter().map(|line| (end(line), line)).collect();
        names.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut free_from = f64::MIN;
        for (end, line) in names {
            let y = end.max(free_from);
            free_from = y + NAME_HEIGHT;
            let _ = writeln!(
                svg,
                r#"<text x="{}" y="{:.1}" fill="{}">{}</text>"#,
                RIGHT + 12.0,
                y + 5.0,
                line.colour,
                line.name
            );
        }
    }

    fn ticks(&self) -> Vec<f64> {
        let (from, to) = self.range;
        if self.logarithmic {
            let decades = (to / from).log10().round() as i32;
            let values = (0..=decades)
                .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| from * digit * 10_f64.powi(decade)));
            return values.filter(|value| *value <= to * 1.001).collect();
        }
        let step = step(to);
        (0..=(to / step).round() as usize).map(|tick| tick as f64 * step).collect()
    }

    fn y(&self, value: f64) -> f64 {
        let (from, to) = self.range;
        let part = if self.logarithmic {
            (value / from).log10() / (to / from).log10()
        } else {
            (value - from) / (to - from)
        };
        self.top + BOTTOM - part * (BOTTOM - TOP)
    }
}

/// Where so many connections are: equal steps are equal factors.
fn x(count: f64, connections: &[f64]) -> f64 {
    let (first, last) = (connections[0], connections[connections.len() - 1]);
    LEFT + 15.0 + (RIGHT - LEFT - 30.0) * (count / first).ln() / (last / first).ln()
}

/// A number with a space between thousands.
fn number(value: f64) -> String {
    if value < 1000.0 {
        return format!("{}", (value * 1000.0).round() / 1000.0);
    }
    let digits = format!("{value:.0}");
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join("\u{202f}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn case(connections: u64, rate: u64) -> Value {
        let samples = |rate: u64| json!([{ "per_second": rate, "p99_ms": 1.5 }]);
        json!({ "body_bytes": 1024, "connections": connections, "verify": samples(2 * rate), "settled": samples(rate) })
    }

    #[test]
    fn each_subject_that_was_measured_has_a_line_and_a_name_in_both_panels() {
        let results =
            json!({ "intake": { "cases": [case(1, 4_000), case(64, 50_000), case(1024, 60_000)] } });
        let svg = svg(&results).expect("enough to draw");
        for (key, name, _) in SUBJECTS {
            let panels = if ["verify", "settled"].contains(&key) { 2 } else { 0 };
            assert_eq!(svg.matches(&format!(">{name}<")).count(), panels, "{name}");
        }
        assert_eq!(svg.matches("<circle").count(), 2 * 2 * 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.contains("50\u{202f}000") && svg.contains(">1024<"), "axes have their numbers");
    }

    #[test]
    fn one_number_of_connections_is_no_line() {
        assert_eq!(svg(&json!({ "intake": { "cases": [case(64, 50_000)] } })), None);
        assert_eq!(svg(&json!({ "intake": null })), None);
    }

    #[test]
    fn names_of_lines_that_end_together_do_not_cover_each_other() {
        let results = json!({ "intake": { "cases": [case(1, 50_000), case(64, 50_000)] } });
        let svg = svg(&results).expect("enough to draw");
        let heights: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains(">verifies only<") || line.contains(">fanbridge, settled<"))
            .filter_map(|line| line.split("y=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert_eq!(heights.len(), 4);
        assert!(heights.chunks(2).all(|two| (two[0] - two[1]).abs() >= NAME_HEIGHT - 0.1), "{heights:?}");
    }
}
