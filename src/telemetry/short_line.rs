//! A line of the log for people: `14:09:39 WARN  the sink is degraded sink="lake" reason="no_broker"`.
//!
//! The time of day is UTC. The target, which only somebody who changes the code knows, is left out.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Seconds of a day.
const DAY: u64 = 86_400;
/// What ends a colour on a terminal.
const PLAIN: &str = "\u{1b}[0m";

/// The form of such lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShortLine;

impl<S, F> FormatEvent<S, F> for ShortLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, F>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() % DAY);
        let (hour, minute, second) = (now / 3600, now / 60 % 60, now % 60);
        let level = *event.metadata().level();
        let (colour, plain) = if writer.has_ansi_escapes() { (colour(level), PLAIN) } else { ("", "") };
        write!(writer, "{hour:02}:{minute:02}:{second:02} {colour}{level:<5}{plain} ")?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// What begins a level's colour on a terminal.
fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG => "\u{1b}[34m",
        Level::TRACE => "\u{1b}[35m",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Logged(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Logged {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(colours: bool, log: impl FnOnce()) -> String {
        let logged = Logged::default();
        let writer = logged.clone();
        let layer = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let layer = layer.event_format(ShortLine).with_ansi(colours);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = logged.0.lock().clone();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn a_line_has_the_time_of_day_the_level_the_message_and_the_fields() {
        let line = logged(false, || tracing::warn!(sink = "lake", records = 3, "the sink is degraded"));
        let (time, rest) = line.split_at(8);
        assert!(time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':'), "{line}");
        assert_eq!(rest, " WARN  the sink is degraded sink=\"lake\" records=3\n");
    }

    #[test]
    fn only_a_terminal_that_wants_them_gets_colours_and_nothing_logged_gives_it_others() {
        let steering = "a\u{1b}[2Jb";
        let line = logged(true, || tracing::error!("{steering}"));
        assert!(line.contains("\u{1b}[31mERROR\u{1b}[0m") && !line.contains("\u{1b}[2J"), "{line:?}");
        let line = logged(false, || tracing::error!("{steering}"));
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
}
