//! `fanbridge dead groups`: dead letters by their cause, and the names by which commands take a whole group.

use serde::Deserialize;
use serde_json::json;

use super::super::client::Client;
use super::super::output::Rows;
use super::super::{Exit, Failure, configuration_to_ask, notice};
use super::GroupsArgs;
use super::read::{Letters, query};
use crate::explain::cause::plural;
use crate::state::{DeadFilter, DeadGroup, DeadGroups};

/// Prints the groups.
pub(super) async fn groups(args: &GroupsArgs) -> Result<(), Failure> {
    let letters = Letters::reach(&configuration_to_ask(&args.config)?).await?;
    let filter = letters.resolved(args.filter.filter()).await?;
    let found = letters.groups(&filter).await?;
    let mut rows = Rows::new(&["group", "count", "sink", "reason", "type", "last", "detail"]);
    for group in &found.groups {
        let mut row = serde_json::to_value(group).unwrap_or_default();
        row["group"] = json!(group.id);
        rows.add(row);
    }
    rows.print(args.format)?;
    if found.ungrouped > 0 {
        notice(format_args!("{} of more causes are in no group", plural(found.ungrouped, "dead letter")));
    }
    Ok(())
}

/// How many causes these letters have: `1 cause, 4,812 events`; `None` if there are none.
pub(super) fn causes(found: &DeadGroups) -> Option<String> {
    let events = found.groups.iter().map(|group| group.count).sum::<u64>() + found.ungrouped;
    let (count, more) = (found.groups.len() as u64, if found.ungrouped > 0 { "more than " } else { "" });
    let advice = match found.groups.as_slice() {
        [] => return None,
        [one] => format!("`fanbridge dead redrive --group {}` takes all of it", one.id),
        _ => "`fanbridge dead groups` lists them".into(),
    };
    Some(format!("{more}{}, {}; {advice}", plural(count, "cause"), plural(events, "event")))
}

/// The groups of a running bridge's letters.
pub(super) async fn of_bridge(bridge: &Client, filter: &DeadFilter) -> Result<DeadGroups, Failure> {
    /// The answer as far as it is read.
    #[derive(Deserialize)]
    struct Answered {
        items: Vec<DeadGroup>,
        ungrouped: u64,
    }
    let Answered { items, ungrouped } = bridge.json(&query("/api/v1/dead/groups", filter, None)).await?;
    Ok(DeadGroups { groups: items, ungrouped })
}

/// The id of the group that is asked for by its id or the beginning of it.
///
/// # Errors
/// Exit code 1 if there is no such group, 2 if it can be several.
pub(super) fn named(found: &DeadGroups, asked: &str) -> Result<String, Failure> {
    let mut ids = found.groups.iter().map(|group| &group.id).filter(|id| id.starts_with(asked));
    match (ids.next(), ids.next()) {
        (Some(id), None) => Ok(id.clone()),
        (Some(_), Some(_)) => {
            let message = format!("several groups of dead letters begin with `{asked}`: give more digits");
            Err(Failure::new(Exit::Usage, message))
        }
        (None, _) => {
            let advice = "`fanbridge dead groups` lists those that there are";
            Err(Failure::new(Exit::Failed, format!("there is no group `{asked}` of dead letters: {advice}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Timestamp;

    fn found(ids: &[&str], ungrouped: u64) -> DeadGroups {
        let group = |id: &&str| DeadGroup {
            id: (*id).to_owned(),
            sink: Some("lake".into()),
            reason: "too_large".into(),
            detail: String::new(),
            event_type: None,
            count: 4812,
            bytes: 0,
            first: Timestamp(0),
            last: Timestamp(0),
            newest: 1,
        };
        DeadGroups { groups: ids.iter().map(group).collect(), ungrouped }
    }

    #[test]
    fn the_beginning_of_an_id_names_a_group_if_it_is_of_one() {
        let two = found(&["3fa9c1aa0011", "3fa0c1aa0011"], 0);
        assert_eq!(named(&two, "3fa9").expect("one"), "3fa9c1aa0011");
        assert_eq!(named(&two, "3fa").expect_err("two").exit, Exit::Usage);
        assert_eq!(named(&two, "0000").expect_err("none").exit, Exit::Failed);
    }

    #[test]
    fn the_causes_are_counted_before_the_letters() {
        let one = causes(&found(&["3fa9c1aa0011"], 0)).expect("letters");
        assert_eq!(
            one,
            "1 cause, 4,812 events; `fanbridge dead redrive --group 3fa9c1aa0011` takes all of it"
        );
        let many = causes(&found(&["a", "b"], 3)).expect("letters");
        assert_eq!(many, "more than 2 causes, 9,627 events; `fanbridge dead groups` lists them");
        assert_eq!(causes(&found(&[], 0)), None);
    }
}
