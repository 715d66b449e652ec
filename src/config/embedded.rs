//! The configuration that the bridge uses if there is none: loopback, two sources, one file sink.
//!
//! The text in `embedded.yaml` is loaded by [`load`] like any other. Its secrets come from the
//! variables it names. Where these are not set, secrets are made once and stored in the spool's
//! directory, readable for their owner only, so that signatures made before a restart stay valid; the
//! text then names these files instead.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::check::Environment;
use super::load::{Loaded, load};
use super::{Config, Report};
use crate::reference::Reference;
use crate::sink::Output;
use crate::spool::options::DIR as DATA_DIR;

/// The text of the configuration.
pub const TEXT: &str = include_str!("embedded.yaml");

/// The secrets to make: variable, file name, and how the provider writes a secret.
const SECRETS: [(&str, &str, Writing); 2] = [
    ("FANBRIDGE_STREAM_SECRET", "stream", |bytes| hex::encode(bytes)),
    ("FANBRIDGE_FASTPIX_SECRET", "fastpix", |bytes| BASE64_STANDARD.encode(bytes)),
];

/// Who can reach the bridge, as the notice says it.
const ONLY_HERE: &str = "which only this machine can reach";

/// The file in the spool's directory with the addresses at which the bridge listens.
const ADDRESSES: &str = "addresses";

type Writing = fn(&[u8]) -> String;

/// The embedded configuration with its secrets.
#[derive(Debug)]
pub struct Embedded {
    /// The configuration.
    pub config: Config,
    /// A message for the person who started the bridge: where the secrets are, and what to do next.
    pub notice: String,
}

/// Why the embedded configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A secret could not be read or stored.
    #[error("cannot read or store a secret in {path}: {source}")]
    Secrets {
        /// Path of the secret's file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A secret is needed that no bridge has made yet.
    #[error(
        "there is no configuration, and no secret in {path}, where a bridge without a configuration \
         stores it: name a configuration with --config, start the bridge here with `fanbridge run`, or set \
         {variable}"
    )]
    Missing {
        /// Path of the missing file.
        path: PathBuf,
        /// The environment variable that could have the secret instead.
        variable: &'static str,
    },
    /// A variable or file has a value that is not a secret.
    #[error("{0}")]
    Config(#[from] Report),
}

impl Embedded {
    /// The configuration with its public listener at this address. The admin listener goes to the next port
    /// of the loopback address, or also to a free one if the port is 0.
    #[must_use]
    pub fn listening_at(mut self, address: SocketAddr) -> Self {
        let port = if address.port() == 0 { 0 } else { address.port().checked_add(1).unwrap_or(0) };
        self.config.http.listen = address;
        self.config.admin.listen.set_port(port);
        note_addresses(&mut self.config, "--listen");
        if !address.ip().is_loopback() {
            self.notice = self.notice.replacen(ONLY_HERE, "which other machines can reach, without TLS", 1);
        }
        self
    }
}

/// Writes down where the bridge with the embedded configuration listens, so that the other verbs find it.
///
/// # Errors
/// When the file cannot be written.
pub fn remember_addresses(dir: &Path, http: SocketAddr, admin: SocketAddr) -> io::Result<()> {
    let (path, draft) = (dir.join(ADDRESSES), dir.join(format!("{ADDRESSES}.{}", std::process::id())));
    fs::write(&draft, format!("http {http}\nadmin {admin}\n"))?;
    fs::rename(draft, path)
}

/// Has the configuration name the addresses of the bridge that was started last. Without it, the usual ones
/// count.
fn recall_addresses(dir: &Path, config: &mut Config) {
    let Ok(text) = fs::read_to_string(dir.join(ADDRESSES)) else { return };
    let address = |name: &str| -> Option<SocketAddr> {
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name)?.1.parse().ok()
    };
    if let (Some(http), Some(admin)) = (address("http"), address("admin")) {
        config.http.listen = http;
        config.admin.listen = admin;
        note_addresses(config, &dir.join(ADDRESSES).display().to_string());
    }
}

/// Notes among the values that count where the listeners are, and why.
fn note_addresses(config: &mut Config, because: &str) {
    let Config { http, admin, effective, .. } = config;
    effective.replace(&["http", "listen"], http.listen.to_string(), because);
    effective.replace(&["admin", "listen"], admin.listen.to_string(), because);
}

impl Config {
    /// The embedded configuration, with its data in `fanbridge-data` of the working directory.
    ///
    /// # Errors
    /// When a secret can neither be read nor stored.
    pub fn embedded_default() -> Result<Embedded, EmbeddedError> {
        embedded(Path::new(DATA_DIR), &|name| std::env::var(name).ok())
    }

    /// The embedded configuration for a verb that plays a provider. Makes no secrets.
    ///
    /// # Errors
    /// When a secret does not exist or cannot be read.
    pub fn embedded_as_left() -> Result<Embedded, EmbeddedError> {
        recalled(embedded_as_left(Path::new(DATA_DIR), &|name| std::env::var(name).ok()))
    }

    /// The embedded configuration for a verb that only looks up paths and addresses. Reads and makes
    /// no secrets, and has random ones instead.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn embedded_to_look() -> Result<Embedded, EmbeddedError> {
        recalled(embedded_to_look(Path::new(DATA_DIR), &|name| std::env::var(name).ok()))
    }
}

/// The configuration with the addresses at which the bridge was last.
fn recalled(embedded: Result<Embedded, EmbeddedError>) -> Result<Embedded, EmbeddedError> {
    let mut embedded = embedded?;
    recall_addresses(&embedded.config.spool.dir.clone(), &mut embedded.config);
    Ok(embedded)
}

/// The embedded configuration with its data in `dir`.
///
/// # Errors
/// When a secret can neither be read nor stored.
pub fn embedded(dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Embedded, EmbeddedError> {
    with_secrets(dir, |variable, path, write| match env(variable) {
        Some(secret) => Ok(EmbeddedSecret { secret, is_in_variable: true }),
        None => {
            let secret = kept_secret(path, write)
                .map_err(|source| EmbeddedError::Secrets { path: path.to_owned(), source })?;
            Ok(EmbeddedSecret { secret, is_in_variable: false })
        }
    })
}

fn embedded_as_left(dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Embedded, EmbeddedError> {
    with_secrets(dir, |variable, path, _| match env(variable) {
        Some(secret) => Ok(EmbeddedSecret { secret, is_in_variable: true }),
        None if !path.exists() => Err(EmbeddedError::Missing { path: path.to_owned(), variable }),
        None => {
            let secret = read_secret(path)
                .map_err(|source| EmbeddedError::Secrets { path: path.to_owned(), source })?;
            Ok(EmbeddedSecret { secret, is_in_variable: false })
        }
    })
}

fn embedded_to_look(dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Embedded, EmbeddedError> {
    with_secrets(dir, |variable, path, write| {
        let bytes =
            random_bytes().map_err(|source| EmbeddedError::Secrets { path: path.to_owned(), source })?;
        Ok(EmbeddedSecret { secret: write(&bytes), is_in_variable: env(variable).is_some() })
    })
}

/// A secret, and whether it is in its variable, or else in its file.
struct EmbeddedSecret {
    secret: String,
    is_in_variable: bool,
}

/// The configuration with these secrets.
fn with_secrets(
    dir: &Path,
    secret_of: impl Fn(&'static str, &Path, Writing) -> Result<EmbeddedSecret, EmbeddedError>,
) -> Result<Embedded, EmbeddedError> {
    let (mut secrets, mut files) = (Vec::new(), Vec::new());
    let mut text = TEXT.to_owned();
    let mut notice = format!("no configuration file: using the embedded one, {ONLY_HERE}\n");
    for (variable, name, write) in SECRETS {
        let path = dir.join("secrets").join(name);
        let EmbeddedSecret { secret, is_in_variable } = secret_of(variable, &path, write)?;
        let kept =
            if is_in_variable { format!("in ${variable}") } else { format!("kept in {}", path.display()) };
        notice.push_str(&format!("  POST /in/{name}: signed with the secret {kept}\n"));
        if is_in_variable {
            secrets.push((variable, secret));
        } else {
            let of_variable = Reference::Env(variable.into()).to_string();
            text = text.replace(&of_variable, &Reference::File(path.clone()).to_string());
            files.push((path, secret));
        }
    }
    notice.push_str("next: fanbridge send stream call.created · fanbridge init > fanbridge.yaml");
    let known =
        |name: &str| secrets.iter().find(|(variable, _)| *variable == name).map(|(_, secret)| secret.clone());
    let now = SystemTime::now().into();
    let kept = |path: &Path| {
        let file = files.iter().find(|(file, _)| file == path);
        file.map(|(_, secret)| secret.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    let outside = Environment { env: &known, read: &kept, now };
    let Loaded { mut config, .. } = load("the embedded configuration", &text, &outside)?;
    config.spool.dir = dir.into();
    for sink in &mut config.sinks {
        if let Output::File(file) = &mut sink.output {
            file.dir = dir.join("topics");
        }
    }
    Ok(Embedded { config, notice })
}

/// The secret in a file, which the first call makes.
///
/// The secret is written to a draft and then linked to its name: no process reads half a secret, and
/// two processes that start at once use the same one.
fn kept_secret(path: &Path, write: Writing) -> io::Result<String> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    if !path.exists() {
        let draft = path.with_extension(std::process::id().to_string());
        // A draft can exist only if a process with this id died here. A new file is certainly not
        // another process's file or link.
        let _ = fs::remove_file(&draft);
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(write(&random_bytes()?).as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        linked.or_else(
            |error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) },
        )?;
    }
    read_secret(path)
}

fn read_secret(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map(|secret| secret.trim_end().to_owned())
}

/// 32 random bytes, as many as the signature's digest has.
pub(super) fn random_bytes() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_up_secrets_survive_a_restart_and_only_their_owner_reads_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let fingerprints = || -> Vec<String> {
            let config = embedded(dir.path(), &|_| None).expect("usable").config;
            config.sources.iter().map(|source| source.secrets[0].secret.fingerprint().to_owned()).collect()
        };
        assert_eq!(fingerprints(), fingerprints());
        let mode = fs::metadata(dir.path().join("secrets/stream")).expect("kept").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_secret_from_the_environment_is_used_and_not_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        let env = |_: &str| Some("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned());
        let embedded = embedded(dir.path(), &env).expect("usable");
        assert!(!dir.path().join("secrets").exists());
        assert!(!format!("{embedded:?}").contains("MDEyMzQ1"));
        assert!(embedded.notice.contains("$FANBRIDGE_STREAM_SECRET"));
    }

    #[test]
    fn who_plays_the_provider_has_the_bridges_secrets_or_is_told_how_to_get_them() {
        let dir = tempfile::tempdir().expect("a directory");
        let missing = embedded_as_left(dir.path(), &|_| None).expect_err("nothing is there").to_string();
        assert!(missing.contains("secrets/stream") && missing.contains("`fanbridge run`"), "{missing}");
        assert!(fs::read_dir(dir.path()).expect("readable").next().is_none(), "and nothing is made");
        let fingerprint =
            |embedded: Embedded| embedded.config.sources[0].secrets[0].secret.fingerprint().to_owned();
        let kept = fingerprint(embedded(dir.path(), &|_| None).expect("usable"));
        assert_eq!(fingerprint(embedded_as_left(dir.path(), &|_| None).expect("usable")), kept);
        assert_ne!(fingerprint(embedded_to_look(dir.path(), &|_| None).expect("usable")), kept);
    }

    #[test]
    fn a_secret_is_referred_to_where_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let in_file = |_: &str| None;
        let in_variable = |name: &str| {
            let secret = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=".to_owned();
            (name == "FANBRIDGE_STREAM_SECRET").then_some(secret)
        };
        let file = format!("file:{}", dir.path().join("secrets/stream").display());
        type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;
        let environments: [(Variables<'_>, &str); 2] =
            [(&in_file, &file), (&in_variable, "env:FANBRIDGE_STREAM_SECRET")];
        for (env, expected) in environments {
            for made in [
                embedded(dir.path(), env),
                embedded_as_left(dir.path(), env),
                embedded_to_look(dir.path(), env),
            ] {
                let config = made.expect("usable").config;
                let stream = config.sources.iter().find(|source| source.name == *"stream").expect("a source");
                assert_eq!(stream.secrets[0].kept.to_string(), expected);
                assert_eq!(config.effective.values["sources"]["stream"]["secrets"][0], expected);
            }
        }
    }

    #[test]
    fn a_bridge_at_another_address_is_found_there_and_keeps_its_admin_listener_to_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |address: &str| {
            let embedded = embedded(dir.path(), &|_| None).expect("usable");
            embedded.listening_at(address.parse().expect("an address"))
        };
        for (address, admin) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("127.0.0.1:8100", "127.0.0.1:8101"),
            ("[::1]:65535", "127.0.0.1:0"),
            ("0.0.0.0:80", "127.0.0.1:81"),
        ] {
            let Embedded { config, notice } = at(address);
            assert_eq!(
                (config.http.listen.to_string(), config.admin.listen.to_string()),
                (address.into(), admin.into())
            );
            assert_eq!(notice.contains(ONLY_HERE), !address.starts_with("0.0.0.0"), "{notice}");
        }

        let looked = || recalled(embedded_to_look(dir.path(), &|_| None)).expect("usable").config;
        let usual = looked().http.listen.port();
        assert_eq!(usual, 8080, "nothing is written down");
        let (http, admin) = (([127, 0, 0, 1], 4001).into(), ([127, 0, 0, 1], 4002).into());
        remember_addresses(dir.path(), http, admin).expect("written");
        assert_eq!((looked().http.listen, looked().admin.listen), (http, admin));
        fs::write(dir.path().join(ADDRESSES), "http 127.0.0.1:4001\nadmin nonsense").expect("written");
        assert_eq!(looked().http.listen.port(), usual, "half of it counts for nothing");
    }

    #[test]
    fn without_a_configuration_nobody_else_can_reach_the_bridge() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = embedded(dir.path(), &|_| None).expect("usable").config;
        assert!(config.http.listen.ip().is_loopback() && config.admin.listen.ip().is_loopback());
    }
}
