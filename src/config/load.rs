//! Turns a text into a [`Config`], or reports everything that is wrong with it.
//!
//! The steps: YAML to a tree (a syntax error stops here), the tree to a checked shape, the shape to
//! its meaning. Each step reports its problems and goes on with the usable part, so that one run
//! shows all problems. Nothing is bound, written or connected. Environment and files are read through
//! [`Outside`]; the only global that counts is the working directory, at which relative paths begin.

use std::net::SocketAddr;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::environment::Environment;
use super::file::{ConfigFile, DuplicatesFile, HttpFile, LimitsFile, SpoolFile, seconds};
use super::report::{Problem, Report, Severity};
use super::scalars::{Period, Size};
use super::schema_check;
use super::sinks::SinkSurroundings;
use super::sources::expect_custom_types;
use super::spans::{Path, Spans};
use super::{Config, SpoolConfig, tree};
use crate::admin::AdminOptions;
use crate::dedup::shared::Server;
use crate::dedup::shared::SharedWindowOptions;
use crate::source::http::{HttpOptions, TlsOptions};
use crate::spool::{RECORD_BYTES_MAX, SEGMENTS_MIN, segment_bytes};

/// A usable configuration and its warnings.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The warnings about what was probably not meant.
    pub warnings: Report,
}

/// Loads a configuration. `origin` names the text in messages, usually by its file.
///
/// # Errors
/// With all problems, warnings included, in the order of their places.
pub fn load(origin: &str, text: &str, outside: &Environment<'_>) -> Result<Loaded, Report> {
    let mut report = Report::new(origin, text);
    let tree = match tree::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            report.add(Problem {
                severity: Severity::Error,
                title: "unreadable YAML".into(),
                label: error.message,
                notes: Vec::new(),
                span: error.span,
                path: String::new(),
            });
            return Err(report);
        }
    };
    let (json, places) = schema_check::check(&tree, &schema(), &mut report);
    let mut check = Check { report, places, outside };
    let config = check.config(json, text);
    match config {
        Some(config) if !check.report.has_errors() => Ok(Loaded { config, warnings: check.report }),
        _ => Err(check.report),
    }
}

/// Loads a configuration from bytes.
///
/// # Errors
/// As for [`load`], and when the bytes are not UTF-8 text.
pub fn load_bytes(origin: &str, bytes: &[u8], outside: &Environment<'_>) -> Result<Loaded, Report> {
    let start = match std::str::from_utf8(bytes) {
        Ok(text) => return load(origin, text, outside),
        Err(error) => error.valid_up_to(),
    };
    // The text before the invalid byte stays as it is, and so does the byte's offset.
    let mut report = Report::new(origin, &String::from_utf8_lossy(bytes));
    report.add(Problem {
        severity: Severity::Error,
        title: "not UTF-8 text".into(),
        label: "this byte is not UTF-8; save the file as UTF-8".into(),
        notes: Vec::new(),
        span: start..start + char::REPLACEMENT_CHARACTER.len_utf8(),
        path: String::new(),
    });
    Err(report)
}

/// The JSON Schema of the file.
pub fn schema() -> Json {
    schemars::schema_for!(ConfigFile).into()
}

/// First 12 hexadecimal digits of the text's SHA-256, which identify the configuration in the log.
pub fn fingerprint(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..6])
}

/// The checks of meaning. Those of sources, selections and sinks are in the files of these names.
pub(super) struct Check<'c> {
    pub(super) report: Report,
    pub(super) places: Spans,
    pub(super) outside: &'c Environment<'c>,
}

impl Check<'_> {
    fn config(&mut self, mut json: Json, text: &str) -> Option<Config> {
        self.warn_of_placeholders(&json, &Path::default());
        let providers = json.as_object_mut().and_then(|top| top.remove("providers"));
        let file: ConfigFile = match serde_json::from_value(json) {
            Ok(file) => file,
            // `shape` has reported the reason. In case it has not, the parser's message is better
            // than none.
            Err(error) => {
                if !self.report.has_errors() {
                    self.error(&Path::default(), "unusable configuration", error.to_string());
                }
                return None;
            }
        };
        let top = Path::default();
        let mut definitions = self.definitions(providers.unwrap_or_default());
        expect_custom_types(&mut definitions, &file);
        let sources = self.sources(&file, &definitions);
        let known = self.known_types(&file, &sources, &definitions);
        let selection = self.selection(&file.select, &top.key("select"), &known);
        let around = SinkSurroundings { selection: &selection, sources: &sources, known: &known };
        let sinks = self.sinks(&file, &around);
        self.check_sizes(&file, &sinks);
        Some(Config {
            http: self.http(&file),
            admin: self.admin(&file),
            spool: self.spool(&file),
            aws: self.aws(&file),
            sources,
            selection,
            sinks,
            shutdown_grace: std::time::Duration::from_secs(file.shutdown_grace_seconds.0),
            fingerprint: fingerprint(text),
        })
    }

    fn http(&mut self, file: &ConfigFile) -> HttpOptions {
        let at = Path::default().key("limits");
        let (limits, file, largest) = (&file.limits, &file.http, largest_body(file));
        self.at_least(&at.key("body_bytes_max"), limits.body_bytes_max, BODY_BYTES_LEAST);
        self.at_least(&at.key("inflated_bytes_max"), limits.inflated_bytes_max, limits.body_bytes_max);
        self.at_most(&at.key("inflated_bytes_max"), limits.inflated_bytes_max, INFLATED_BYTES_MOST);
        // The largest body must fit into the memory for all bodies, or it is never accepted.
        self.at_least(&at.key("in_flight_bytes_max"), limits.in_flight_bytes_max, largest);
        self.at_most(&at.key("in_flight_bytes_max"), limits.in_flight_bytes_max, IN_FLIGHT_BYTES_MOST);
        self.at_most(&at.key("body_bytes_per_second_min"), limits.body_bytes_per_second_min, Size(1 << 30));
        for (key, period) in [
            ("header_timeout", limits.header_timeout),
            ("body_timeout", limits.body_timeout),
            ("idle_timeout", limits.idle_timeout),
            ("ack_timeout", limits.ack_timeout),
        ] {
            if period.0.is_zero() {
                self.error(
                    &at.key(key),
                    "zero duration",
                    format!("with `{key}: 0s` every request would time out"),
                );
            }
            self.no_longer_than(&at.key(key), period, PATIENCE_LONGEST);
        }
        HttpOptions {
            listen: file.listen.0,
            tls: self.tls(file),
            body_bytes_max: in_memory(limits.body_bytes_max),
            inflated_bytes_max: in_memory(limits.inflated_bytes_max),
            inflate_ratio_max: limits.inflate_ratio_max,
            header_timeout: limits.header_timeout.0,
            body_timeout: limits.body_timeout.0,
            body_bytes_per_second_min: in_memory(limits.body_bytes_per_second_min),
            idle_timeout: limits.idle_timeout.0,
            ack_timeout: limits.ack_timeout.0,
            connections_max: limits.connections_max,
            connections_per_address_max: limits.connections_per_address_max,
            in_flight_bytes_max: in_memory(limits.in_flight_bytes_max),
            largest_body_bytes: in_memory(largest),
        }
    }

    fn tls(&mut self, file: &HttpFile) -> Option<TlsOptions> {
        let tls = file.tls.as_ref()?;
        let at = Path::default().key("http").key("tls");
        let certificate = self.readable(tls.certificate.as_deref()?, &at.key("certificate"));
        let key = self.readable(tls.key.as_deref()?, &at.key("key"));
        Some(TlsOptions { certificate: certificate?, key: key? })
    }

    fn admin(&mut self, file: &ConfigFile) -> AdminOptions {
        let at = Path::default().key("admin");
        let listen = file.admin.listen.0;
        let token = file.admin.token.as_ref().and_then(|token| self.secret(token, &at.key("token")));
        if file.admin.token.is_none() && !listen.ip().is_loopback() && !self.places.has(&at.key("token")) {
            self.error(
                &at.key("listen"),
                "admin listener without a token",
                "whoever reaches this port from another machine could read and redrive events".into(),
            )
            .notes
            .push("add `token: env:NAME` under `admin`, or listen on 127.0.0.1".into());
        }
        if collide(listen, file.http.listen.0) {
            let public = file.http.listen.0;
            let label = format!("`http` listens on {public}; the admin listener needs another port");
            self.error(&at.key("listen"), "one address for two listeners", label);
        }
        if let Some(token) = &token {
            let length = secrecy::ExposeSecret::expose_secret(token).len();
            if length < TOKEN_BYTES_MIN {
                let label = format!("the token has {length} bytes, expected at least {TOKEN_BYTES_MIN}");
                self.error(&at.key("token"), "token that can be guessed", label);
            }
        }
        AdminOptions { listen, token }
    }

    fn spool(&mut self, file: &ConfigFile) -> SpoolConfig {
        let at = Path::default().key("spool");
        let (limits, largest, file) = (&file.limits, largest_body(file), &file.spool);
        self.at_most(&at.key("bytes_max"), file.bytes_max, SPOOL_BYTES_MOST);
        self.no_longer_than(&at.key("retain"), file.retain, KEPT_LONGEST);
        let at_window = at.key("duplicates").key("window");
        self.no_longer_than(&at_window, file.duplicates.window, KEPT_LONGEST);
        if file.dir.is_empty() {
            self.error(&at.key("dir"), "empty path", "expected the path of a directory".into());
        }
        self.check_path(&file.dir, &at.key("dir"));
        // A record has the decompressed body and its attributes, and must fit into a segment.
        let record = Size(largest.0.saturating_add(ATTRIBUTES_BYTES_MAX));
        self.at_least(&at.key("segment_bytes"), file.segment_bytes, record);
        // Also where `bytes_max` makes segments shorter.
        self.at_least(&at.key("bytes_max"), file.bytes_max, Size(record.0.saturating_mul(SEGMENTS_MIN)));
        self.check_segments(file, &at.key("segment_bytes"));
        SpoolConfig {
            dir: file.dir.clone().into(),
            bytes_max: file.bytes_max.0,
            free_bytes_min: file.free_bytes_min.0,
            retain: file.retain.0,
            segment_bytes: file.segment_bytes.0,
            duplicates_window: file.duplicates.window.0,
            duplicates_events_max: file.duplicates.events_max,
            ack_timeout: limits.ack_timeout.0,
            shared_window: self.shared_window(&file.duplicates, limits, &at.key("duplicates")),
        }
    }

    /// Warns about a configured segment size that the spool does not use.
    fn check_segments(&mut self, file: &SpoolFile, at: &Path) {
        let (asked_for, used) = (file.segment_bytes, segment_bytes(file.segment_bytes.0, file.bytes_max.0));
        if self.places.has(at) && used < asked_for.0 {
            let label = format!(
                "segments are closed at {} instead, an eighth of `spool.bytes_max`, so that a full spool can \
                 remove some",
                Size(used)
            );
            self.warning(at, "segments too long for the spool", label);
        }
    }

    fn shared_window(
        &mut self,
        file: &DuplicatesFile,
        limits: &LimitsFile,
        at: &Path,
    ) -> Option<SharedWindowOptions> {
        let prefix = &file.redis_prefix;
        if !(1..=64).contains(&prefix.len()) || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            let label = "expected 1 to 64 printable ASCII characters, such as `fanbridge:`".into();
            self.error(&at.key("redis_prefix"), "unusable prefix", label);
        }
        let at = at.key("redis");
        let url = self.secret(file.redis.as_ref()?, &at)?;
        let server = match Server::parse(secrecy::ExposeSecret::expose_secret(&url)) {
            Ok(server) => server,
            Err(problem) => {
                self.error(&at, "unusable Redis URL", problem.into());
                return None;
            }
        };
        if server.shows_its_password() {
            let label = "the password crosses the network in plain text; `rediss://` encrypts it".into();
            self.warning(&at, "password without TLS", label);
        }
        Some(SharedWindowOptions {
            server,
            prefix: prefix.clone(),
            window: file.window.0,
            ack_timeout: limits.ack_timeout.0,
        })
    }

    /// Reports a size below its minimum.
    pub(super) fn at_least(&mut self, at: &Path, size: Size, least: Size) {
        if size < least {
            self.error(at, "size too small", format!("expected at least {least} for `{at}`, found {size}"));
        }
    }

    /// Reports a size above its maximum.
    pub(super) fn at_most(&mut self, at: &Path, size: Size, most: Size) {
        if size > most {
            self.error(at, "size too large", format!("expected at most {most} for `{at}`, found {size}"));
        }
    }

    /// Reports a period above its maximum.
    fn no_longer_than(&mut self, at: &Path, period: Period, longest: Period) {
        if period > longest {
            let label = format!("expected at most {longest} for `{at}`, found {period}");
            self.error(at, "time too long", label);
        }
    }

    /// Reports an error at the value of `at`.
    pub(super) fn error(&mut self, at: &Path, title: &str, label: String) -> &mut Problem {
        let span = self.places.value(at);
        self.add(Severity::Error, span, at, title, label)
    }

    /// Reports an error at the key of `at`.
    pub(super) fn error_at_key(&mut self, at: &Path, title: &str, label: String) -> &mut Problem {
        let span = self.places.key(at);
        self.add(Severity::Error, span, at, title, label)
    }

    /// Reports a warning at the value of `at`.
    pub(super) fn warning(&mut self, at: &Path, title: &str, label: String) -> &mut Problem {
        let span = self.places.value(at);
        self.add(Severity::Warning, span, at, title, label)
    }

    fn add(
        &mut self,
        severity: Severity,
        span: std::ops::Range<usize>,
        at: &Path,
        title: &str,
        label: String,
    ) -> &mut Problem {
        let path = at.to_string();
        self.report.add(Problem { severity, title: title.into(), label, notes: Vec::new(), span, path })
    }

    /// Reports a name that is not `[a-z0-9-]{1,63}`, because names become part of paths, files and
    /// labels.
    pub(super) fn check_name(&mut self, at: &Path, name: &str) {
        let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=63).contains(&name.len()) || !name.chars().all(fine) {
            let label = "expected 1 to 63 characters of a-z, 0-9 and `-`".into();
            self.error_at_key(at, &format!("unusable name `{}`", name.escape_debug()), label);
        }
    }

    /// Reports a name that has another meaning where names are shown.
    pub(super) fn check_free(&mut self, at: &Path, name: &str, (taken, meaning): (&str, &str)) {
        if name == taken {
            let label = format!("this name stands for {meaning}; choose another one");
            self.error_at_key(at, &format!("reserved name `{name}`"), label);
        }
    }
}

/// Most bytes of an event's attributes beside its body.
const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;
/// Least limit on bodies in bytes: events are larger than that.
pub(super) const BODY_BYTES_LEAST: Size = Size(1 << 10);
/// Largest body in bytes that fits into a record of the spool.
pub(super) const INFLATED_BYTES_MOST: Size = Size(RECORD_BYTES_MAX as u64 - ATTRIBUTES_BYTES_MAX);
/// Most memory for bodies in bytes, above what any machine has.
const IN_FLIGHT_BYTES_MOST: Size = Size(1 << 40);
/// Most bytes on disk, above what any file system takes.
const SPOOL_BYTES_MOST: Size = Size(1 << 60);
/// Longest wait for a peer or a disk.
const PATIENCE_LONGEST: Period = seconds(86_400);
/// Longest time for which events and duplicates are kept: ten years.
const KEPT_LONGEST: Period = seconds(3_650 * 86_400);
/// Least length of an admin token in bytes: 128 bits.
const TOKEN_BYTES_MIN: usize = 16;

/// Whether two listeners cannot both be bound. The unspecified address takes the port on all
/// addresses, and an IPv4 address can also be written in IPv6.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let (ip, other_ip) = (one.ip().to_canonical(), other.ip().to_canonical());
    let overlap = ip == other_ip || ip.is_unspecified() || other_ip.is_unspecified();
    overlap && one.port() == other.port() && one.port() != 0
}

/// Largest body of any source after decompression.
fn largest_body(file: &ConfigFile) -> Size {
    let own = file.sources.values().filter_map(|source| source.body_bytes_max);
    own.fold(file.limits.inflated_bytes_max, Size::max)
}

pub(super) fn in_memory(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
