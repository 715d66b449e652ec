//! The checks of the log on disk and of the duplicate window that replicas share.

use secrecy::ExposeSecret;

use super::Check;
use crate::config::file::ConfigFile;
use crate::config::yaml::spans::Path;
use crate::dedup::DuplicatesOptions;
use crate::dedup::shared::options::PREFIX_BYTES_MAX;
use crate::dedup::shared::{Server, SharedWindowOptions};
use crate::scalars::Size;
use crate::source::http::Limits;
use crate::spool::options::{ATTRIBUTES_BYTES_MAX, SEGMENTS_MIN, SpoolOptions, segment_bytes};

impl Check<'_> {
    pub(in crate::config) fn spool(&mut self, file: &ConfigFile, limits: &Limits) -> SpoolOptions {
        let at = Path::default().key("spool");
        let file = &file.spool;
        self.check_dir(&file.dir, &at.key("dir"));
        // A record has the decompressed body and its attributes, and must fit into a segment.
        let record = (limits.largest_body_bytes as u64).saturating_add(ATTRIBUTES_BYTES_MAX);
        self.at_least(&at.key("segment_bytes"), Size(file.segment_bytes), Size(record));
        // Also where `bytes_max` makes segments shorter.
        let records = Size(record.saturating_mul(SEGMENTS_MIN));
        self.at_least(&at.key("bytes_max"), Size(file.bytes_max), records);
        let used = segment_bytes(file.segment_bytes, file.bytes_max);
        self.check_segments(file, used, &at.key("segment_bytes"));
        SpoolOptions { segment_bytes: used, answer_within: limits.ack_timeout, ..file.clone() }
    }

    /// Warns about a configured segment size that the spool does not use.
    fn check_segments(&mut self, file: &SpoolOptions, used: u64, at: &Path) {
        if self.places.has(at) && used < file.segment_bytes {
            let label = format!(
                "segments are closed at {} instead, an eighth of `spool.bytes_max`, so that a full spool can \
                 remove some",
                Size(used)
            );
            self.warning(at, "segments too long for the spool", label);
        }
    }

    pub(in crate::config) fn shared_window(
        &mut self,
        file: &DuplicatesOptions,
        limits: &Limits,
    ) -> Option<SharedWindowOptions> {
        let at = Path::default().key("spool").key("duplicates");
        let prefix = &file.redis_prefix;
        if !(1..=PREFIX_BYTES_MAX).contains(&prefix.len())
            || !prefix.bytes().all(|byte| byte.is_ascii_graphic())
        {
            let label = format!(
                "expected 1 to {PREFIX_BYTES_MAX} printable ASCII characters, such as `{}`",
                DuplicatesOptions::default().redis_prefix
            );
            self.error(&at.key("redis_prefix"), "unusable prefix", label);
        }
        let at = at.key("redis");
        let kept = file.redis.as_ref()?;
        let url = self.secret(kept, &at)?;
        if self.is_unread(kept) {
            return None;
        }
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
            window: file.window,
            ack_timeout: limits.ack_timeout,
        })
    }
}
