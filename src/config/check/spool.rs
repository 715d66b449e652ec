//! The checks of the log on disk and of the duplicate window that replicas share.

use secrecy::ExposeSecret;

use super::{Check, largest_body};
use crate::config::SpoolConfig;
use crate::config::file::{ConfigFile, DuplicatesFile, LimitsFile, SpoolFile};
use crate::config::yaml::scalars::Size;
use crate::config::yaml::spans::Path;
use crate::dedup::shared::options::{PREFIX, PREFIX_BYTES_MAX};
use crate::dedup::shared::{Server, SharedWindowOptions};
use crate::spool::options::{
    ATTRIBUTES_BYTES_MAX, BYTES_MAX, RETAIN, SEGMENT_BYTES, SEGMENTS_MIN, SpoolOptions, TAIL_BYTES_MAX,
    WINDOW, segment_bytes,
};

impl Check<'_> {
    pub(in crate::config) fn spool(&mut self, file: &ConfigFile) -> SpoolConfig {
        let at = Path::default().key("spool");
        let (limits, largest, file) = (&file.limits, largest_body(file), &file.spool);
        self.check_size(&at, file.bytes_max, &BYTES_MAX);
        self.no_longer_than(&at, file.retain, &RETAIN);
        self.no_longer_than(&at.key("duplicates"), file.duplicates.window, &WINDOW);
        if file.dir.is_empty() {
            self.error(&at.key("dir"), "empty path", "expected the path of a directory".into());
        }
        self.check_path(&file.dir, &at.key("dir"));
        // A record has the decompressed body and its attributes, and must fit into a segment.
        let record = Size(largest.0.saturating_add(ATTRIBUTES_BYTES_MAX));
        self.at_least(&at.key(SEGMENT_BYTES.key), file.segment_bytes, record);
        // Also where `bytes_max` makes segments shorter.
        self.at_least(&at.key(BYTES_MAX.key), file.bytes_max, Size(record.0.saturating_mul(SEGMENTS_MIN)));
        self.check_segments(file, &at.key(SEGMENT_BYTES.key));
        let options = SpoolOptions {
            bytes_max: file.bytes_max.0,
            free_bytes_min: file.free_bytes_min.0,
            segment_bytes: segment_bytes(file.segment_bytes.0, file.bytes_max.0),
            retain: file.retain.0,
            window: file.duplicates.window.0,
            window_events_max: file.duplicates.events_max,
            tail_bytes_max: TAIL_BYTES_MAX,
            answer_within: limits.ack_timeout.0,
        };
        let shared_window = self.shared_window(&file.duplicates, limits, &at.key("duplicates"));
        SpoolConfig { dir: file.dir.clone().into(), options, shared_window }
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
        if !(1..=PREFIX_BYTES_MAX).contains(&prefix.len())
            || !prefix.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let label =
                format!("expected 1 to {PREFIX_BYTES_MAX} printable ASCII characters, such as `{PREFIX}`");
            self.error(&at.key("redis_prefix"), "unusable prefix", label);
        }
        let at = at.key("redis");
        let url = self.secret(file.redis.as_ref()?, &at)?;
        let server = match Server::parse(url.expose_secret()) {
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
}
