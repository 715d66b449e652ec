//! Where the events went that were just sent, from the steps of the running bridge.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

use super::super::Failure;
use super::super::client::{Client, path_with};
use super::super::tail::{STEPS_PATH, StepsPage};
use crate::admin::AdminOptions;
use crate::timeline::{Step, StepKind};

/// How long one request waits: less than the bridge lets it.
const POLL_MAX: Duration = Duration::from_secs(20);

/// Adds to the line of each accepted event where it went: for each sink that selects it the topic and the
/// place in it, `rejected`, or `pending` if the sink has said nothing in time. All events together have
/// `within`.
///
/// # Errors
/// When the admin listener does not answer, or keeps no steps.
pub(super) async fn add_outcomes(
    admin: &AdminOptions,
    lines: &mut [Value],
    within: Duration,
) -> Result<(), Failure> {
    let mut accepted = lines.iter_mut().filter(|line| line["verdict"] == "accepted").peekable();
    if accepted.peek().is_none() {
        return Ok(());
    }
    let client = Client::admin(admin).await?;
    let until = Instant::now() + within;
    for line in accepted {
        if let Some(id) = line["id"].as_str() {
            let outcome = Outcome::awaited(&client, id, until).await?;
            line["to"] = outcome.texts().into();
        }
    }
    Ok(())
}

/// What is known of one event in the sinks.
#[derive(Debug, Default)]
struct Outcome {
    /// The sinks that select it; `None` as long as no step says that it was accepted.
    selected_by: Option<Vec<String>>,
    /// Where it went, by sink.
    places: BTreeMap<String, String>,
}

impl Outcome {
    /// What is known once every sink has said something, or the time is over.
    async fn awaited(client: &Client, id: &str, until: Instant) -> Result<Self, Failure> {
        let mut outcome = Self::default();
        let mut after: Option<String> = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let wait = after.as_ref().map(|_| format!("{}ms", left.min(POLL_MAX).as_millis()));
            let parameters = [("id", Some(id)), ("after", after.as_deref()), ("wait", wait.as_deref())];
            let page: StepsPage = client.json(&path_with(STEPS_PATH, &parameters)).await?;
            page.items.into_iter().for_each(|item| outcome.note(id, item));
            if outcome.is_complete() || left.as_millis() == 0 {
                return Ok(outcome);
            }
            after = Some(page.next);
        }
    }

    /// Takes in what a step says. The id that was asked for can be the beginning of another one.
    fn note(&mut self, wanted: &str, item: Value) {
        let selected_by = Vec::<String>::deserialize(&item["selected_by"]).ok();
        let Ok(Step { kind, .. }) = serde_json::from_value(item) else { return };
        match kind {
            StepKind::Taken(taken) if taken.id == wanted && selected_by.is_some() => {
                self.selected_by = selected_by;
            }
            StepKind::Published(step) if step.id == wanted => {
                let place = format!("{} {} {}", step.sink, step.topic, step.placement);
                self.places.insert(step.sink, place.trim_end().to_owned());
            }
            StepKind::Rejected(step) if step.id == wanted => {
                let place = format!("{} rejected: {}", step.sink, step.reason);
                self.places.insert(step.sink, place);
            }
            _ => {}
        }
    }

    fn is_complete(&self) -> bool {
        let selected_by = self.selected_by.as_ref();
        selected_by.is_some_and(|sinks| sinks.iter().all(|sink| self.places.contains_key(sink)))
    }

    /// A text for each sink.
    fn texts(self) -> Vec<String> {
        let Some(selected_by) = self.selected_by else { return vec!["pending".into()] };
        if selected_by.is_empty() {
            return vec!["nowhere: no sink selects it".into()];
        }
        let place =
            |sink: &String| self.places.get(sink).cloned().unwrap_or_else(|| format!("{sink} pending"));
        selected_by.iter().map(place).collect()
    }
}
