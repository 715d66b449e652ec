//! What the bridge is to reach on the machine that measures, beside what it did reach (pure).
//!
//! Read from the results as they are written, so that those of a former run can be judged, too. What a
//! run did not measure is neither met nor missed.

use serde_json::Value;

use crate::verdict::{Limit, verdict_of};
use crate::{median, plain_table};

/// One line of the table.
pub struct Goal {
    /// What is compared with what.
    pub name: &'static str,
    limit: Limit,
    unit: &'static str,
    /// The number, or why there is none.
    pub measured: Result<f64, String>,
}

/// All goals, in the order they are printed.
pub fn goals(results: &Value) -> Vec<Goal> {
    use Limit::{AtLeast, AtMost};
    let intake = |connections| Case::of(results, connections);
    let (one, small, large) = (intake(1), intake(64), intake(256));
    let kafka = &results["kafka"];
    let into = [(&kafka["end_to_end"][0], &small), (&kafka["end_to_end"][1], &large)];
    let of_verify = |(through, case): &(&Value, &Case<'_>), field| {
        Some(middle(through, field)? / middle(&case.0?["verify"], field)?)
    };
    let worst = |values: [Option<f64>; 2]| Some(values[0]?.max(values[1]?));
    let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
    let share = |case: &Case<'_>, of| percent(case.ratio("per_second", of));
    let drain =
        |producer| percent(ratio(&kafka["drain"], "per_second", &kafka[producer], "delivered_per_second"));
    let latency = |field| middle(&results["latency"]["bridge"], field);
    let broker = |at: usize| middle(&kafka["end_to_end"][at], "broker_us_per_event");
    let quarter = |sinks: &str| row(&results["sinks"]["quarter"], sinks);
    let aws = &results["aws"];
    let lines = [
        ("intake, 1 KiB at 64 connections, of verify-only", AtLeast(75.0), "%", share(&small, "verify")),
        ("intake, 1 KiB at 256 connections, of verify-only", AtLeast(80.0), "%", share(&large, "verify")),
        (
            "CPU an event at intake, 64 connections, of verify-only's",
            AtMost(1.5),
            "times",
            small.ratio("cpu_us_per_event", "verify"),
        ),
        (
            "CPU an event from webhook to Kafka, of verify-only's",
            AtMost(2.0),
            "times",
            worst(into.each_ref().map(|into| of_verify(into, "cpu_us_per_event"))),
        ),
        ("beside the best rival, 64 connections", AtLeast(3.0), "times", None),
        ("beside the best rival, 256 connections", AtLeast(1.6), "times", None),
        ("1 connection, of the plain file that grows", AtLeast(150.0), "%", share(&one, "keep")),
        ("answers at half load, p99", AtMost(2.0), "ms", latency("p99_ms")),
        ("answers at half load, p99.9", AtMost(4.0), "ms", latency("p999_ms")),
        ("backlog into Kafka, of librdkafka with headers", AtLeast(90.0), "%", drain("producer")),
        ("backlog into Kafka, of librdkafka without headers", AtLeast(75.0), "%", drain("producer_bare")),
        (
            "webhook to Kafka, 64 connections, of verify-only's rate",
            AtLeast(55.0),
            "%",
            percent(of_verify(&into[0], "per_second")),
        ),
        (
            "webhook to Kafka, 256 connections, of verify-only's rate",
            AtLeast(60.0),
            "%",
            percent(of_verify(&into[1], "per_second")),
        ),
        ("broker's CPU an event, keyed, 8 partitions", AtMost(9.0), "us", worst([broker(0), broker(1)])),
        (
            "16 sinks beside 1, a quarter of the events each",
            AtLeast(80.0),
            "%",
            percent(ratio(quarter("16"), "per_second", quarter("1"), "per_second")),
        ),
        (
            "SQS that answers at once, of the bare loop",
            AtLeast(80.0),
            "%",
            percent(ratio(&aws["receive"], "per_second", &aws["bare_receive"], "per_second")),
        ),
        (
            "resident memory at intake",
            AtMost(64.0),
            "MiB",
            numbers(&results["intake"]["bridge_peak_mib"]).reduce(f64::max),
        ),
    ];
    let goal = |(name, limit, unit, measured): (_, _, _, Option<f64>)| {
        let measured = measured.filter(|number| number.is_finite());
        Goal { name, limit, unit, measured: measured.ok_or_else(|| "not measured".into()) }
    };
    let mut goals: Vec<_> = lines.into_iter().map(goal).collect();
    goals.push(start(&results["start"]));
    goals.push(goal(("`make demo` from a cold clone to its table, 2 cores", AtMost(180.0), "s", None)));
    goals
}

/// The start counts only over as many records as the goal is for.
fn start(found: &Value) -> Goal {
    const GIB: f64 = 20.0;
    let (gib, ready) = (found["gib"].as_f64(), median(numbers(&found["ready_seconds"])));
    let measured = match gib {
        Some(gib) if gib >= GIB && ready.is_finite() => Ok(ready),
        Some(gib) => Err(format!("not measured: {gib} GiB were retained")),
        None => Err("not measured".into()),
    };
    Goal { name: "start with 20 GiB retained, cold", limit: Limit::AtMost(1.0), unit: "s", measured }
}

/// The goals as a table.
pub fn table(goals: &[Goal]) -> comfy_table::Table {
    let mut table = plain_table(&["GOAL", "LIMIT", "MEASURED", ""]);
    for Goal { name, limit, unit, measured } in goals {
        let (number, verdict) = match measured {
            Ok(number) => (format!("{number:.2} {unit}"), verdict_of(limit.met_by(*number))),
            Err(reason) => (String::new(), reason.as_str()),
        };
        table.add_row([*name, &limit.text(unit), &number, verdict]);
    }
    table
}

/// The intake of small bodies by so many connections.
struct Case<'r>(Option<&'r Value>);

impl<'r> Case<'r> {
    fn of(results: &'r Value, connections: u64) -> Self {
        let mut cases = results["intake"]["cases"].as_array().into_iter().flatten();
        Self(cases.find(|case| case["body_bytes"] == 1024 && case["connections"] == connections))
    }

    /// A figure of the settled bridge as a part of a floor's, round by round.
    fn ratio(&self, field: &str, floor: &str) -> Option<f64> {
        ratio(&self.0?["settled"], field, &self.0?[floor], field)
    }
}

/// The samples of the row with this name.
fn row<'r>(rows: &'r Value, name: &str) -> &'r Value {
    let mut rows = rows.as_array().into_iter().flatten();
    rows.find(|row| row["name"] == name).map_or(&Value::Null, |row| &row["samples"])
}

fn numbers(values: &Value) -> impl Iterator<Item = f64> {
    values.as_array().into_iter().flatten().filter_map(Value::as_f64)
}

fn fields(samples: &Value, field: &str) -> impl Iterator<Item = f64> {
    samples.as_array().into_iter().flatten().filter_map(move |sample| sample[field].as_f64())
}

/// The median of a field; `None` without a measurement.
fn middle(samples: &Value, field: &str) -> Option<f64> {
    Some(median(fields(samples, field))).filter(|middle| middle.is_finite())
}

/// The median of the rounds' ratios.
fn ratio(one: &Value, of_one: &str, other: &Value, of_other: &str) -> Option<f64> {
    let rounds = fields(one, of_one).zip(fields(other, of_other));
    Some(median(rounds.map(|(one, other)| one / other))).filter(|ratio| ratio.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found<'g>(goals: &'g [Goal], name: &str) -> &'g Goal {
        goals.iter().find(|goal| goal.name == name).expect("a goal of this name")
    }

    fn number(results: &Value, name: &str) -> f64 {
        *found(&goals(results), name).measured.as_ref().expect("measured")
    }

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        let all = goals(&json!({ "intake": null, "kafka": null }));
        assert!(all.iter().all(|goal| goal.measured.is_err()));
        let text = table(&all).to_string();
        assert_eq!(text.matches("not measured").count(), all.len());
        assert!(!text.contains("MISSED") && !text.contains(" met"), "{text}");
    }

    #[test]
    fn shares_are_medians_of_the_rounds_of_one_case() {
        let samples = |rates: [u64; 3]| {
            rates.map(|rate| json!({ "per_second": rate, "cpu_us_per_event": 1e6 / rate as f64 }))
        };
        let case = |body_bytes: u64, connections: u64, bridge: [u64; 3]| {
            json!({ "body_bytes": body_bytes, "connections": connections, "settled": samples(bridge),
                    "verify": samples([100, 100, 200]), "keep": samples([50, 50, 50]) })
        };
        let results = json!({ "intake": { "bridge_peak_mib": [60.0, 65.0], "cases": [
            case(4096, 64, [1, 1, 1]), case(1024, 64, [80, 70, 150]), case(1024, 1, [100, 100, 75])] } });
        assert!((number(&results, "intake, 1 KiB at 64 connections, of verify-only") - 75.0).abs() < 1e-9);
        assert!((number(&results, "1 connection, of the plain file that grows") - 200.0).abs() < 1e-9);
        assert!((number(&results, "resident memory at intake") - 65.0).abs() < 1e-9);
        let goals = goals(&results);
        let verdict = |name| table(std::slice::from_ref(found(&goals, name))).to_string();
        assert!(verdict("intake, 1 KiB at 64 connections, of verify-only").trim_end().ends_with("met"));
        assert!(verdict("resident memory at intake").trim_end().ends_with("MISSED"));
        assert!(verdict("intake, 1 KiB at 256 connections, of verify-only").contains("not measured"));
    }

    #[test]
    fn the_worse_of_two_rates_into_kafka_counts_and_neither_alone() {
        let through =
            |cpu: u64| json!([{ "per_second": 50, "cpu_us_per_event": cpu, "broker_us_per_event": cpu }]);
        let case = |connections: u64| {
            json!({ "body_bytes": 1024, "connections": connections,
                    "verify": [{ "per_second": 100, "cpu_us_per_event": 10 }] })
        };
        let mut results = json!({ "intake": { "cases": [case(64), case(256)] },
                                  "kafka": { "end_to_end": [through(15), through(25)] } });
        assert!(
            (number(&results, "CPU an event from webhook to Kafka, of verify-only's") - 2.5).abs() < 1e-9
        );
        assert!((number(&results, "broker's CPU an event, keyed, 8 partitions") - 25.0).abs() < 1e-9);
        assert!(
            (number(&results, "webhook to Kafka, 64 connections, of verify-only's rate") - 50.0).abs() < 1e-9
        );
        results["kafka"]["end_to_end"][1] = json!([{ "per_second": 50, "broker_us_per_event": null }]);
        let broker = "broker's CPU an event, keyed, 8 partitions";
        assert!(found(&goals(&results), broker).measured.is_err(), "a broker elsewhere is not seen");
    }

    #[test]
    fn a_start_over_fewer_records_is_no_measurement_of_the_goal() {
        let name = "start with 20 GiB retained, cold";
        let found_with = |gib: f64| json!({ "start": { "gib": gib, "ready_seconds": [0.7, 0.9, 0.8] } });
        assert!((number(&found_with(20.0), name) - 0.8).abs() < 1e-9);
        let small = goals(&found_with(2.0));
        assert_eq!(found(&small, name).measured, Err("not measured: 2 GiB were retained".into()));
    }
}
