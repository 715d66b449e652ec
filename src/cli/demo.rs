//! `fanbridge demo`: sends every known event type, signed, through the real front, and shows the
//! topic files that result.
//!
//! It starts the bridge on the embedded configuration (the same binary, spool and code as in
//! production; only the sink is a local stand-in), plays the providers, and then counts the delivered
//! events. Every number it prints is read back from the answers and the topic files, and it fails if
//! a number is not as expected.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use http::HeaderMap;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::client::{Client, Target, block_on};
use super::output::{Format, Rows};
use super::run::failure;
use super::{Exit, Failure, notice};
use crate::bridge::{Bridge, BridgeError};
use crate::config::Config;
use crate::event::Timestamp;
use crate::provider::{self, Definition, SigningSecret, TypeInfo};
use crate::routing::TopicTemplate;
use crate::selection::Selection;
use crate::sink::LINGER;
use crate::sink::file::FileSinkOptions;
use crate::sink::{CarriedAttributes, Output, SinkOptions, StartFrom};
use crate::source::{DeliveryFate, SourceOptions};

/// An event type that is in no catalogue.
const INVENTED: &str = "call.teleported";
/// Numbers per millisecond, more than a run sends events.
const NUMBERS_PER_MILLISECOND: u64 = 1000;
/// How long the sinks can take to deliver the accepted events.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(20);

/// `fanbridge demo` takes no arguments.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the demo.
///
/// # Errors
/// When the bridge cannot start, or a count is not as expected.
pub fn run(_args: &Args) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Runtime::new().map_err(|error| Failure::io("cannot start the runtime", &error))?;
    runtime.block_on(demonstrate()).map_err(failed)
}

fn failed(error: anyhow::Error) -> Failure {
    match error.downcast::<BridgeError>() {
        Ok(error) => failure(error),
        Err(error) => Failure::new(Exit::Failed, format!("{error:#}")),
    }
}

async fn demonstrate() -> anyhow::Result<()> {
    let embedded = Config::embedded_default()?;
    let mut config = embedded.config;
    // Free ports, because a bridge might already use the usual ones.
    config.http.listen.set_port(0);
    config.admin.listen.set_port(0);
    let data = config.spool.dir.clone();
    let all =
        config.sinks.first().map(|sink| sink.name.clone()).context("the embedded default has a sink")?;
    config.sinks.push(explicit_sink(&data));
    // The providers' side reads the same secrets from the embedded configuration: a bridge does not
    // give its secrets away.
    let players = Config::embedded_default()?.config.sources.into_iter();
    let players: Vec<Player> = players.map(Player::new).collect::<anyhow::Result<_>>()?;

    let bridge = Bridge::start(config).await?;
    let (endpoint, _) = Target::url(&format!("http://{}/", bridge.http_address()), None)?;
    let front = Client::new(endpoint)?;
    notice(format_args!(
        "fanbridge {}   spool {}   sinks {all}, explicit → {}",
        env!("CARGO_PKG_VERSION"),
        data.display(),
        data.join("topics").display()
    ));
    notice(format_args!("admin: http://{}/readyz and /metrics while this runs", bridge.admin_address()));
    let stop = CancellationToken::new();
    let running = tokio::spawn(bridge.run(stop.clone()));

    // The bridge keeps its threads, and what plays the providers has its own.
    let played = tokio::task::block_in_place(|| block_on(async { Ok(play(&front, &players).await) }));
    let played = played.map_err(anyhow::Error::from).flatten();
    let delivered = match &played {
        Ok(played) => deliveries(&data, played).await,
        Err(_) => Ok(Delivered::default()),
    };
    stop.cancel();
    running.await.context("the bridge panicked")??;
    let (played, delivered) = (played?, delivered?);
    print_topics(&delivered)?;
    conclude(&played, &delivered, &data)
}

/// A second sink with a list of every catalogued type, on which an invented type is not.
fn explicit_sink(data: &Path) -> SinkOptions {
    let types = provider::builtin().iter().flat_map(|definition| definition.catalogue.types());
    SinkOptions {
        name: "explicit".into(),
        topic: TopicTemplate::parse(TopicTemplate::DEFAULT)
            .unwrap_or_else(|_| unreachable!("the default parses")),
        selection: Selection::Only(types.map(|info| info.name.to_string()).collect()),
        from: StartFrom::Next,
        detaches: false,
        linger: LINGER,
        attributes: CarriedAttributes::default(),
        output: Output::File(FileSinkOptions { dir: data.join("explicit"), rotate_bytes: 64 << 20 }),
    }
}

/// A provider that the demo plays: its definition and the secret it shares with the bridge.
struct Player {
    source: String,
    definition: Arc<Definition>,
    secret: SigningSecret,
}

impl Player {
    fn new(source: SourceOptions) -> anyhow::Result<Self> {
        let secret = source.secrets.into_iter().next().map(|kept| kept.secret);
        let secret = secret.with_context(|| format!("source `{}` has no secret", source.name))?;
        Ok(Self { source: source.name.to_string(), definition: source.definition, secret })
    }

    /// The types that this provider sends to webhooks, and the number of those it sends to clients
    /// only.
    fn types(&self) -> (Vec<&TypeInfo>, usize) {
        let (sent, not): (Vec<_>, Vec<_>) = self.definition.catalogue.types().partition(|info| info.webhook);
        (sent, not.len())
    }

    /// Signs a body and sends it.
    async fn send(&self, front: &Client, body: Vec<u8>, id: &str) -> anyhow::Result<Answered> {
        let now = Timestamp::from(SystemTime::now());
        let headers = provider::sign(&self.definition, &self.secret, &body, now, id);
        self.post(front, headers, body).await
    }

    async fn post(&self, front: &Client, headers: HeaderMap, body: Vec<u8>) -> anyhow::Result<Answered> {
        let answer = front.post(&format!("/in/{}", self.source), headers, body.into()).await?;
        let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |key: &str| json.get(key).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let verdict = DeliveryFate::named(&text("verdict"));
        Ok(Answered { status: answer.status.as_u16(), verdict, id: text("id") })
    }
}

/// The front's answer to one delivery.
struct Answered {
    status: u16,
    /// `None` if the delivery was refused.
    verdict: Option<DeliveryFate>,
    id: String,
}

/// The deliveries that were sent, by answer.
#[derive(Default)]
struct Played {
    /// Event types by event id, of accepted events with a catalogued type.
    accepted: BTreeMap<String, String>,
    invented: Option<String>,
    duplicates: usize,
    quarantined: usize,
    refused: usize,
    websocket_only: usize,
    ack: Vec<Duration>,
}

/// Sends every catalogued type, then four deliveries that get other answers.
async fn play(front: &Client, players: &[Player]) -> anyhow::Result<Played> {
    let mut played = Played::default();
    let total: usize = players.iter().map(|player| player.types().0.len()).sum();
    notice(format_args!("sending {total} signed events: every known type that a webhook carries"));
    let progress = progress_bar(total);
    let mut number = number_before(Timestamp::from(SystemTime::now()));
    let mut retry = None;
    for player in players {
        let (sent, websocket_only) = player.types();
        played.websocket_only += websocket_only;
        for info in sent {
            number += 1;
            let now = Timestamp::from(SystemTime::now());
            let body = provider::sample(&player.definition, &info.name, now, number)
                .context("a catalogued type has a sample")?;
            let began = Instant::now();
            let answer = player.send(front, body.clone(), &number.to_string()).await?;
            played.ack.push(began.elapsed());
            ensure!(
                answer.verdict == Some(DeliveryFate::Accepted),
                "{} was answered {} {}, expected 200 accepted",
                info.name,
                answer.status,
                answer.verdict.map_or("", DeliveryFate::as_str)
            );
            played.accepted.insert(answer.id, info.name.to_string());
            retry = Some((player, body, number.to_string()));
            progress.inc(1);
        }
    }
    progress.finish();

    let (player, body, id) = retry.context("at least one type was sent")?;
    let duplicate = Some(DeliveryFate::Duplicate);
    played.duplicates += usize::from(player.send(front, body, &id).await?.verdict == duplicate);
    let stream = players
        .iter()
        .find(|player| &*player.definition.provider == "stream")
        .context("stream is built in")?;
    let event = |kind: &str| {
        format!(r#"{{"type":"{kind}","created_at":{number}000000000,"call_cid":"default:demo"}}"#)
            .into_bytes()
    };
    let invented = stream.send(front, event(INVENTED), "").await?;
    played.invented = (invented.verdict == Some(DeliveryFate::Accepted)).then_some(invented.id);
    let unusable = format!(r#"{{"type":"call.created","type":"call.ended","n":{number}}}"#).into_bytes();
    let quarantined = Some(DeliveryFate::Quarantined);
    played.quarantined += usize::from(stream.send(front, unusable, "").await?.verdict == quarantined);
    let forged = provider::sign(&stream.definition, &stream.secret, b"{}", Timestamp(0), "");
    played.refused += usize::from(stream.post(front, forged, event("call.created")).await?.status == 401);
    Ok(played)
}

/// The number before the first one of a run that begins now. Event ids are made of these numbers, so
/// that a second run does not repeat them: each millisecond has more numbers than a run needs.
fn number_before(now: Timestamp) -> u64 {
    now.0.unsigned_abs() / 1_000_000 * NUMBERS_PER_MILLISECOND
}

fn progress_bar(total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template(" {bar:32} {pos}/{len}  {per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    // Draws on a terminal only.
    ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr()).with_style(style)
}

/// The parts of a topic file's line that the demo counts.
#[derive(Deserialize)]
struct Line {
    id: String,
    family: String,
    partitionkey: Option<String>,
}

/// The delivered events of both sinks, by event id.
#[derive(Default)]
struct Delivered {
    all: BTreeMap<String, (String, Line)>,
    explicit: BTreeSet<String>,
    doubles: usize,
}

/// Reads the topic files until every accepted event is there, or until [`DELIVERY_TIMEOUT`].
async fn deliveries(data: &Path, played: &Played) -> anyhow::Result<Delivered> {
    let deadline = Instant::now() + DELIVERY_TIMEOUT;
    loop {
        let delivered = read_topics(data, played)?;
        let complete =
            delivered.all.len() > played.accepted.len() && delivered.explicit.len() >= played.accepted.len();
        if complete || Instant::now() > deadline {
            return Ok(delivered);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn read_topics(data: &Path, played: &Played) -> anyhow::Result<Delivered> {
    let ours = |id: &str| played.accepted.contains_key(id) || played.invented.as_deref() == Some(id);
    let mut delivered = Delivered::default();
    for (topic, line) in lines(&data.join("topics"))? {
        if ours(&line.id) {
            delivered.doubles += usize::from(delivered.all.insert(line.id.clone(), (topic, line)).is_some());
        }
    }
    let explicit = lines(&data.join("explicit"))?.into_iter().map(|(_, line)| line.id);
    delivered.explicit = explicit.filter(|id| ours(id)).collect();
    Ok(delivered)
}

/// Every whole line in a directory of topics, with its topic.
fn lines(dir: &Path) -> anyhow::Result<Vec<(String, Line)>> {
    let mut lines = Vec::new();
    for topic in entries(dir)? {
        let name = topic.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for file in
            entries(&topic)?.into_iter().filter(|file| file.extension().is_some_and(|end| end == "jsonl"))
        {
            let text = fs::read_to_string(&file)?;
            // The last line might not be finished yet.
            for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
                lines.push((
                    name.clone(),
                    serde_json::from_str(line).with_context(|| file.display().to_string())?,
                ));
            }
        }
    }
    Ok(lines)
}

/// The entries of a directory, without those that begin with a full stop, which are the sink's own.
fn entries(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let paths =
                entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
            let hidden = |path: &PathBuf| {
                path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
            };
            Ok(paths.into_iter().filter(|path| !hidden(path)).collect())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// Prints the delivered events by family and topic, with their numbers of events and keys.
fn print_topics(delivered: &Delivered) -> anyhow::Result<()> {
    let mut rows: BTreeMap<(&str, &str), (usize, BTreeSet<&str>)> = BTreeMap::new();
    for (topic, line) in delivered.all.values() {
        let row = rows.entry((&line.family, topic)).or_default();
        row.0 += 1;
        row.1.extend(line.partitionkey.as_deref());
    }
    let mut table = Rows::new(&["family", "topic", "events", "keys"]);
    for ((family, topic), (events, keys)) in rows {
        table.add(json!({ "family": family, "topic": topic, "events": events, "keys": keys.len() }));
    }
    table.print(Format::Table)?;
    Ok(())
}

/// Prints the counts and where to look next. Fails if a count is not as expected.
fn conclude(played: &Played, delivered: &Delivered, data: &Path) -> anyhow::Result<()> {
    let invented = played.invented.as_deref().unwrap_or_default();
    println!(
        "accepted {}   duplicate {}   quarantined {}   refused {}   median ack {:.1} ms",
        played.accepted.len() + usize::from(played.invented.is_some()),
        played.duplicates,
        played.quarantined,
        played.refused,
        median_millis(&played.ack),
    );
    println!("{} more types are sent to WebSocket clients only, never to a webhook", played.websocket_only);
    println!(
        "a type invented just now ({INVENTED}): {} under select: all, {} by an explicit list",
        if delivered.all.contains_key(invented) { "delivered" } else { "MISSING" },
        if delivered.explicit.contains(invented) { "LET IN" } else { "kept out" },
    );
    println!("look: {}   next: fanbridge init > fanbridge.yaml", data.join("topics").display());

    let broken = broken(played, delivered);
    ensure!(broken.is_empty(), "the demo failed; these statements are not true: {}", broken.join("; "));
    Ok(())
}

/// The expectations that were not met, as sentences.
fn broken(played: &Played, delivered: &Delivered) -> Vec<&'static str> {
    let types: BTreeSet<&String> = played.accepted.values().collect();
    let invented = played.invented.as_deref().unwrap_or_default();
    let checks = [
        ("every type was sent once", types.len() == played.accepted.len()),
        (
            "every accepted event was delivered by the sink without a list",
            delivered.all.len() == played.accepted.len() + 1,
        ),
        ("no event was delivered twice", delivered.doubles == 0),
        ("every catalogued type passed the explicit list", delivered.explicit.len() == played.accepted.len()),
        ("the invented type was delivered under select: all", delivered.all.contains_key(invented)),
        ("the explicit list kept the invented type out", !delivered.explicit.contains(invented)),
        ("the retried delivery was a duplicate", played.duplicates == 1),
        ("the unusable delivery was quarantined", played.quarantined == 1),
        ("the forged delivery was refused", played.refused == 1),
    ];
    checks.into_iter().filter(|(_, held)| !held).map(|(what, _)| what).collect()
}

fn median_millis(durations: &[Duration]) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map_or(0.0, |median| median.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two types and the invented one, all as they must be.
    fn faultless() -> (Played, Delivered) {
        let line = |id: &str| Line { id: id.into(), family: "f".into(), partitionkey: None };
        let played = Played {
            accepted: [("1", "a"), ("2", "b")].map(|(id, kind)| (id.into(), kind.into())).into(),
            invented: Some("3".into()),
            duplicates: 1,
            quarantined: 1,
            refused: 1,
            ..Played::default()
        };
        let delivered = Delivered {
            all: ["1", "2", "3"].map(|id| (id.into(), ("t".into(), line(id)))).into(),
            explicit: ["1", "2"].map(String::from).into(),
            doubles: 0,
        };
        (played, delivered)
    }

    #[test]
    fn a_demonstration_in_which_every_count_is_right_succeeds() {
        let (played, delivered) = faultless();
        assert!(conclude(&played, &delivered, Path::new("data")).is_ok());
    }

    #[test]
    fn one_wrong_count_of_any_kind_is_named_and_ends_with_1() {
        type Spoil = fn(&mut Played, &mut Delivered);
        let spoilt: [(Spoil, &str); 11] = [
            (|played, _| drop(played.accepted.insert("2".into(), "a".into())), "every type was sent once"),
            (|_, delivered| drop(delivered.all.remove("1")), "every accepted event was delivered"),
            (|_, delivered| delivered.doubles = 1, "no event was delivered twice"),
            (|_, delivered| delivered.explicit.clear(), "passed the explicit list"),
            (|_, delivered| drop(delivered.all.remove("3")), "the invented type was delivered"),
            (|played, _| played.invented = None, "the invented type was delivered"),
            (|_, delivered| delivered.explicit.extend(["3".into()]), "kept the invented type out"),
            (|played, _| played.duplicates = 0, "was a duplicate"),
            (|played, _| played.quarantined = 0, "was quarantined"),
            (|played, _| played.refused = 0, "was refused"),
            (|played, _| played.refused = 2, "was refused"),
        ];
        for (spoil, expected) in spoilt {
            let (mut played, mut delivered) = faultless();
            spoil(&mut played, &mut delivered);
            let error = conclude(&played, &delivered, Path::new("data")).expect_err(expected);
            assert!(error.to_string().contains(expected), "{error} does not say: {expected}");
            assert_eq!(failed(error).exit as u8, 1);
        }
    }

    #[test]
    fn a_run_that_begins_within_the_same_second_has_numbers_of_its_own() {
        let sent: usize = provider::builtin()
            .iter()
            .map(|definition| definition.catalogue.types().filter(|info| info.webhook).count())
            .sum();
        let begin = Timestamp::from(SystemTime::now());
        let next = Timestamp(begin.0 + 1_000_000);
        assert!(number_before(begin) + sent as u64 <= number_before(next), "{sent} types");
        assert!(number_before(next) < 1 << 53, "every reader of JSON keeps such a number");
    }
}
