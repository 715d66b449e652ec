//! The figures of one part's results by name, so that those of two builds can be compared (pure).

use serde_json::{Map, Value};

use crate::median;

/// One figure.
#[derive(Debug, PartialEq)]
pub struct Flat {
    /// What was measured, and the unit.
    pub name: String,
    /// Whether more is better.
    pub rises: bool,
    /// The median of the rounds.
    pub value: f64,
}

/// What is read of a sample, its unit, and whether more is better.
const OF_SAMPLE: [(&str, &str, bool); 3] = [
    ("per_second", "events/s", true),
    ("cpu_us_per_event", "CPU us/event", false),
    ("p99_ms", "p99 ms", false),
];

/// All figures of these results; `name` is what they are of. A number that is no sample is better when it is
/// less.
pub fn figures(name: &str, results: &Value) -> Vec<Flat> {
    match results {
        Value::Array(items) if items.iter().any(Value::is_number) => {
            let value = median(items.iter().filter_map(Value::as_f64));
            vec![Flat { name: name.into(), rises: false, value }]
        }
        Value::Array(items) if items.iter().any(|item| item.get("per_second").is_some()) => {
            let of = |(field, unit, rises): (&str, &str, bool)| {
                let value = median(items.iter().filter_map(|sample| sample[field].as_f64()));
                Flat { name: format!("{name}, {unit}"), rises, value }
            };
            OF_SAMPLE.into_iter().map(of).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| figures(name, item)).collect(),
        Value::Object(members) => of_members(name, members),
        _ => Vec::new(),
    }
}

fn of_members(name: &str, members: &Map<String, Value>) -> Vec<Flat> {
    let own = members.get("name").and_then(Value::as_str);
    let name = own.map_or_else(|| name.to_owned(), |own| format!("{name}: {own}"));
    let part = |(key, value): (&String, &Value)| {
        let name = if key == "samples" || key == "rows" { name.clone() } else { format!("{name}, {key}") };
        figures(&name, value)
    };
    members.iter().flat_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn samples_have_a_rate_a_cost_and_a_latency_and_other_numbers_are_costs() {
        let sample = json!({ "per_second": 100.0, "cpu_us_per_event": 5.0, "p99_ms": 1.0, "p50_ms": 0.1 });
        let results = json!({
            "connections": 10,
            "rows": [{ "name": "plain", "samples": [sample] }],
            "memory": [{ "name": "TLS", "connections": 10, "kib_per_connection": [3.0, 5.0, 4.0] }],
        });
        let flat = |name: &str, rises, value| Flat { name: name.into(), rises, value };
        let mut found = figures("idle", &results);
        found.sort_by(|one, other| one.name.cmp(&other.name));
        let expected = [
            flat("idle, memory: TLS, kib_per_connection", false, 4.0),
            flat("idle: plain, CPU us/event", false, 5.0),
            flat("idle: plain, events/s", true, 100.0),
            flat("idle: plain, p99 ms", false, 1.0),
        ];
        assert_eq!(found, expected);
    }
}
