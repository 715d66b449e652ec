//! `fanbridge dead`: redrives and drops the dead letters of a running bridge; in `read`, lists, shows and
//! exports them, and in `groups`, lists their causes.
//!
//! Changes are requested from the admin API of the running bridge, because a redriven event goes through
//! its spool. Without `--yes` a change only says what it would do.

mod groups;
mod read;

use indicatif::ProgressBar;

use super::client::{Client, block_on};
use super::output::{Format, Rows};
use super::running::{running, unheard, unopened};
use super::{ConfigArgs, Exit, Failure, configuration_to_ask, notice};
use crate::admin::{Counted, DropRequest, RedriveRequest};
use crate::dead_letter::{Dropped, Redriven, Remaining};
use crate::state::DeadFilter;

/// Letters per redrive request: few enough to finish well within the client's time-out.
const REDRIVE_PAGE: usize = 200;
const REDRIVE: &str = "/api/v1/dead/redrive";
/// What only a running bridge can change.
const WHAT: &str = "dead letters";

/// Arguments of `dead`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List dead letters, oldest first
    List(ListArgs),
    /// List the causes of dead letters, the most frequent first
    Groups(GroupsArgs),
    /// Print one dead letter with its body, as JSON
    Show(ShowArgs),
    /// Deliver dead letters again
    Redrive(RedriveArgs),
    /// Print dead letters with their bodies, as JSON Lines
    Export(ExportArgs),
    /// Remove dead letters for good
    Drop(DropArgs),
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// List only dead letters with a higher number
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: u64,
    /// List at most this many
    #[arg(long, value_name = "N", default_value_t = 100)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1000))]
    limit: u64,
    /// How to print the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct GroupsArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// How to print the groups
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// Number of the dead letter
    id: u64,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct RedriveArgs {
    /// Numbers of the dead letters, instead of a filter
    #[arg(value_name = "ID")]
    #[arg(conflicts_with_all = ["sink", "quarantined", "reason", "event_type", "group", "all"])]
    ids: Vec<u64>,
    #[command(flatten)]
    filter: FilterArgs,
    /// Redrive all dead letters
    #[arg(long, conflicts_with_all = ["sink", "quarantined", "reason", "event_type", "group"])]
    all: bool,
    /// Only say how many dead letters would be redriven
    #[arg(long)]
    dry_run: bool,
    /// Redrive them; without --yes or --dry-run the command only says how many, and fails
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// How to print the dead letters that stay
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct DropArgs {
    /// Numbers of the dead letters
    #[arg(value_name = "ID", required_unless_present = "group", conflicts_with = "group")]
    ids: Vec<u64>,
    /// Drop all dead letters of this group, which `dead groups` lists
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only say how many dead letters would be dropped
    #[arg(long)]
    dry_run: bool,
    /// Drop them; a dropped dead letter cannot be restored
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, clap::Args)]
struct FilterArgs {
    /// Only dead letters of this sink
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,
    /// Only quarantined deliveries, which never became an event and have no sink
    #[arg(long, conflicts_with = "sink")]
    quarantined: bool,
    /// Only dead letters with this reason
    #[arg(long, value_name = "WORD")]
    reason: Option<String>,
    /// Only dead letters with this event type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only dead letters of this group, which `dead groups` lists
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

impl FilterArgs {
    fn filter(&self) -> DeadFilter {
        DeadFilter {
            sink: self.sink.clone(),
            quarantined: self.quarantined,
            reason: self.reason.clone(),
            event_type: self.event_type.clone(),
            group: self.group.clone(),
        }
    }
}

/// Runs the verb.
///
/// # Errors
/// Exit code 1 if letters stay that were to be redriven or there is no such letter, 2 without
/// `--yes`, 74 if neither the bridge nor the state file can be read, 75 if a change needs a running
/// bridge.
pub fn run(args: &Args) -> Result<(), Failure> {
    block_on(async {
        match &args.verb {
            Verb::List(args) => read::list(args).await,
            Verb::Groups(args) => groups::groups(args).await,
            Verb::Show(args) => read::show(args).await,
            Verb::Redrive(args) => redrive(args).await,
            Verb::Export(args) => read::export(args).await,
            Verb::Drop(args) => drop(args).await,
        }
    })
}

/// The whole id of a group of the bridge's dead letters.
async fn whole(bridge: &Client, group: &str) -> Result<String, Failure> {
    groups::named(&groups::of_bridge(bridge, &DeadFilter::default()).await?, group)
}

/// Fails if some of the requested letters did not exist. Called after the others were processed.
fn complete(missing: &[u64]) -> Result<(), Failure> {
    if missing.is_empty() { Ok(()) } else { Err(none_such(missing)) }
}

fn none_such(ids: &[u64]) -> Failure {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    Failure::new(Exit::Failed, format!("there is no dead letter {}", ids.join(", ")))
}

async fn redrive(args: &RedriveArgs) -> Result<(), Failure> {
    let filter = args.filter.filter();
    let mut request = RedriveRequest { dry_run: true, ..RedriveRequest::default() };
    if !args.ids.is_empty() {
        request.ids = Some(args.ids.clone());
    } else if args.all || filter != DeadFilter::default() {
        request.filter = Some(filter);
    } else {
        let which =
            "say which dead letters: numbers, --sink, --quarantined, --reason, --type, --group or --all";
        return Err(Failure::new(Exit::Usage, which));
    }
    let bridge = running(&configuration_to_ask(&args.config)?, WHAT).await?;
    if let Some(group) = request.filter.as_mut().and_then(|filter| filter.group.as_mut()) {
        *group = whole(&bridge, group).await?;
    }
    let counted: Counted = bridge.change(REDRIVE, &request).await?;
    if !confirmed("redriven", &counted, args.dry_run, args.yes)? {
        return complete(&counted.missing);
    }

    request.dry_run = false;
    // A letter that becomes a dead letter again meanwhile is not redriven once more.
    request.through = request.filter.as_ref().map(|_| counted.through);
    request.limit = request.filter.as_ref().map(|_| REDRIVE_PAGE);
    let bar = ProgressBar::new(counted.count);
    let (mut redriven, mut delivered, mut kept, mut missing) = (0, 0, Vec::new(), Vec::new());
    let stopped = loop {
        let page: Redriven = bridge.change(REDRIVE, &request).await?;
        redriven += page.redriven;
        delivered += page.already_delivered;
        kept.extend(page.kept);
        missing.extend(page.missing);
        bar.set_position(redriven + delivered + kept.len() as u64);
        match page.last {
            Some(last) if request.filter.is_some() && page.stopped.is_none() => request.after = last,
            _ => break page.stopped,
        }
    };
    bar.finish_and_clear();
    let delivered = if delivered > 0 { format!(", already delivered {delivered}") } else { String::new() };
    notice(format_args!("redriven {redriven}{delivered}, kept {}", kept.len()));
    report(&kept, stopped, args.format)?;
    complete(&missing)
}

fn report(kept: &[Remaining], stopped: Option<String>, format: Format) -> Result<(), Failure> {
    let clean = kept.is_empty();
    if !clean {
        let mut rows = Rows::new(&["id", "reason", "detail"]);
        kept.iter().for_each(|letter| rows.add(serde_json::to_value(letter).unwrap_or_default()));
        rows.print(format)?;
    }
    match stopped {
        Some(why) => {
            let message = format!("the redrive stopped early: {why}; the other dead letters are unchanged");
            Err(Failure::new(Exit::Temporary, message))
        }
        None if clean => Ok(()),
        None => Err(Failure::new(Exit::Failed, "some dead letters could not be redriven and stay")),
    }
}

async fn drop(args: &DropArgs) -> Result<(), Failure> {
    let bridge = running(&configuration_to_ask(&args.config)?, WHAT).await?;
    let mut ids = args.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let group = match &args.group {
        Some(group) => Some(whole(&bridge, group).await?),
        None => None,
    };
    let named = group.is_none().then(|| ids.clone());
    let count =
        RedriveRequest { ids: named, group: group.clone(), dry_run: true, ..RedriveRequest::default() };
    let counted: Counted = bridge.change(REDRIVE, &count).await?;
    if !confirmed("dropped", &counted, args.dry_run, args.yes)? {
        return complete(&counted.missing);
    }
    let confirm =
        if group.is_some() { usize::try_from(counted.count).unwrap_or(usize::MAX) } else { ids.len() };
    let done: Dropped = bridge.change("/api/v1/dead/drop", &DropRequest { ids, group, confirm }).await?;
    notice(format_args!("dropped {}", done.dropped));
    complete(&done.missing)
}

/// Says how many letters a change affects. Returns whether to go on.
fn confirmed(done: &str, counted: &Counted, dry_run: bool, yes: bool) -> Result<bool, Failure> {
    let count = counted.count;
    let letters = if count == 1 { "dead letter" } else { "dead letters" };
    if count == 0 {
        complete(&counted.missing)?;
        notice("no dead letter matches");
    } else if dry_run {
        notice(format_args!("{count} {letters} would be {done}"));
    } else if !yes {
        return Err(Failure::new(
            Exit::Usage,
            format!("{count} {letters} would be {done}: repeat the command with --yes to do it"),
        ));
    }
    Ok(yes && count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_needs_yes_and_something_to_change() {
        let counted =
            |count, missing: &[u64]| Counted { dry_run: true, count, through: 9, missing: missing.into() };
        let (two, none) = (counted(2, &[7]), counted(0, &[]));
        assert!(confirmed("dropped", &two, false, true).expect("confirmed"));
        assert!(!confirmed("dropped", &two, true, false).expect("a dry run"));
        assert!(!confirmed("dropped", &none, false, true).expect("nothing to do"));
        assert_eq!(confirmed("dropped", &two, false, false).expect_err("not confirmed").exit, Exit::Usage);
        let nobody = confirmed("dropped", &counted(0, &[7, 8]), false, false).expect_err("nothing there");
        assert_eq!(
            (nobody.exit, nobody.to_string().as_str()),
            (Exit::Failed, "there is no dead letter 7, 8")
        );
    }
}
