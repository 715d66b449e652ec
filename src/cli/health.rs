//! `fanbridge health`: asks a running bridge for one of its probes. For images without a shell, whose health
//! check can only be the binary itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::StatusCode;

use super::client::{Client, ClientAnswer, Target, block_on};
use super::output::print;
use super::{ConfigArgs, Exit, Failure, find};
use crate::config::{Config, admin_address, read_configuration};
use crate::scalars::Period;
use crate::telemetry::Shown;

/// What a probe's answer begins with if all is well.
const OK: &str = "ok";

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask whether an event can be stored, which is the default
    #[arg(long, group = "probe")]
    ready: bool,
    /// Ask whether the process makes progress, which depends on nothing outside it
    #[arg(long, group = "probe")]
    live: bool,
    /// Ask whether the spool has been recovered
    #[arg(long, group = "probe")]
    startup: bool,
    /// Address of the admin listener; by default the one in the configuration, on this machine
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// PEM file with the certificates to trust for https
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// How long the bridge can take to answer
    #[arg(long, value_name = "PERIOD", default_value = "4s", value_parser = within)]
    within: Period,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A probe: its path, and how the line about it begins.
struct Probe {
    path: &'static str,
    well: &'static str,
    ill: &'static str,
}

impl Args {
    fn probe(&self) -> Probe {
        match (self.live, self.startup) {
            (true, _) => Probe { path: "/livez", well: "live", ill: "not live" },
            (_, true) => Probe { path: "/startupz", well: "started", ill: "not started" },
            _ => Probe { path: "/readyz", well: "ready", ill: "not ready" },
        }
    }
}

/// Asks, and prints one line.
///
/// # Errors
/// Exit code 1 if the bridge says no, or does not answer; 78 if the configuration does not say where it is.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (target, base) = match &args.url {
        Some(url) => Target::url(url, args.ca.as_deref())?,
        None => (Target::of_admin(listener(&args.config)?), "/".to_owned()),
    };
    if base != "/" {
        let message =
            "--url is the address of the admin listener, without a path: the option says which probe";
        return Err(Failure::new(Exit::Usage, message));
    }
    let probe = args.probe();
    let asked = block_on(async {
        let client = Client::new(target)?;
        match tokio::time::timeout(args.within.0, client.get(probe.path)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(Exit::Failed, format!("no answer within {}", args.within))),
        }
    });
    match asked.map_err(|failure| failure.message).and_then(|answer| judged(&answer)) {
        Ok(noted) => print(&format!("{}{noted}\n", probe.well)),
        Err(why) => {
            print(&format!("{}: {why}\n", probe.ill))?;
            Err(Failure::new(Exit::Failed, ""))
        }
    }
}

/// Where the configuration puts the admin listener.
fn listener(args: &ConfigArgs) -> Result<SocketAddr, Failure> {
    let Some(path) = find(args) else { return Ok(Config::embedded_to_look()?.config.admin.listen) };
    let text = read_configuration(&path)
        .map_err(|error| Failure::io(format_args!("cannot read {}", path.display()), &error))?;
    address_in(&path, &text)
}

fn address_in(path: &Path, text: &[u8]) -> Result<SocketAddr, Failure> {
    let found =
        std::str::from_utf8(text).map_err(|_| "it is not UTF-8 text".to_owned()).and_then(admin_address);
    found.map_err(|problem| {
        let advice = "mend it, or name the listener with --url";
        Failure::new(
            Exit::Config,
            format!("cannot tell from {} where the bridge is: {problem}; {advice}", path.display()),
        )
    })
}

/// What an answer says beside its yes, or why it is a no; in one line, whatever it holds.
fn judged(answer: &ClientAnswer) -> Result<String, String> {
    let text = String::from_utf8_lossy(&answer.body);
    match answer.status {
        StatusCode::OK if text.starts_with(OK) => {
            let lines = text.lines().enumerate().map(|(at, line)| match at {
                0 => line[OK.len()..].to_owned(),
                _ => format!("; {line}"),
            });
            Ok(Shown(&lines.collect::<String>()).to_string())
        }
        StatusCode::OK => Err("this is not the admin listener of a bridge: see `admin.listen`".into()),
        StatusCode::SERVICE_UNAVAILABLE => {
            let problem = serde_json::from_slice::<serde_json::Value>(&answer.body).unwrap_or_default();
            let detail = problem["detail"].as_str().unwrap_or("without a reason");
            Err(Shown(detail).to_string())
        }
        status => Err(format!("the answer is {status}: see `admin.listen`")),
    }
}

fn within(text: &str) -> Result<Period, String> {
    let period: Period = text.parse()?;
    if period.0.is_zero() { Err("expected more than nothing".into()) } else { Ok(period) }
}
