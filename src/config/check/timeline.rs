//! The check of the timeline's memory.

use super::Check;
use crate::config::file::ConfigFile;
use crate::config::yaml::spans::Path;
use crate::scalars::{SIZE_TITLES, Size};
use crate::timeline::TimelineOptions;
use crate::timeline::options::BYTES_LEAST;

impl Check<'_> {
    pub(in crate::config) fn timeline(&mut self, file: &ConfigFile) -> TimelineOptions {
        let options = file.timeline.clone();
        if (1..BYTES_LEAST).contains(&options.bytes_max) {
            let at = Path::default().key("timeline").key("bytes_max");
            let (least, found) = (Size::from(BYTES_LEAST), Size::from(options.bytes_max));
            let label = format!("expected at least {least} for `{at}`, or 0 to keep no steps, found {found}");
            self.error(&at, SIZE_TITLES[0], label);
        }
        options
    }
}
