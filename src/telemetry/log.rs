//! The log: its destination, its format, and how text from outside is made safe for it.
//!
//! Log events are key-value fields on stderr: one short line on a terminal, else one JSON object
//! per line. A thread of its own writes them, so that no delivery waits for a reader of the log that
//! has stopped. Bodies, secrets and signature headers are never fields. All other text that came over
//! the wire is wrapped in [`Shown`] first, because a terminal obeys control characters.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use super::short_line::ShortLine;

/// The environment variable with the log filter, as in `info,fanbridge::dispatch=debug`.
const FILTER_VARIABLE: &str = "FANBRIDGE_LOG";
/// The filter if the variable is not set. librdkafka reports every reconnect as `error`, and the AWS
/// SDK warns about missing credentials at every call, which the bridge reports once.
const FILTER_DEFAULT: &str = "info,librdkafka=warn,aws_config=error";

/// Most lines that wait to be written. Lines beyond that are dropped and counted.
const LINES_MAX: usize = 8192;

/// Counts the lines that were dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// The running log. Dropping it writes the lines that wait, for at most a second.
#[must_use]
pub struct Log(#[expect(dead_code, reason = "what counts is when it is dropped")] WorkerGuard);

/// Number of log lines dropped because stderr was not read fast enough.
pub fn lines_dropped() -> u64 {
    DROPPED.get().map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The value of `FANBRIDGE_LOG` is not a filter.
    #[error(
        "{FILTER_VARIABLE} is not a log filter ({0}): expected error, warn, info, debug, trace or off, and \
         `target=level` pairs, separated by commas"
    )]
    Filter(String),
    /// The process has set up a log before.
    #[error("the log of this process is set up already")]
    Twice,
}

/// Sends this process's log to stderr for as long as the returned value lives: short lines on a
/// terminal (without colours if `NO_COLOR` is set), else JSON. `FANBRIDGE_LOG` selects the lines; the
/// default is `info`.
///
/// # Errors
/// When the filter is not valid, or the log was set up before.
pub fn init_logging() -> Result<Log, LogError> {
    let filter = filter(std::env::var(FILTER_VARIABLE).ok().as_deref())?;
    let writer = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX);
    let (writer, guard) = writer.thread_name("log").finish(std::io::stderr());
    let dropped = writer.error_counter();
    let log = tracing_subscriber::fmt::layer().with_writer(writer);
    let log = if std::io::stderr().is_terminal() {
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        log.event_format(ShortLine).with_ansi(colours).boxed()
    } else {
        log.json().flatten_event(true).with_current_span(false).boxed()
    };
    let log = log.with_filter(filter_fn(holds_no_body));
    tracing_subscriber::registry().with(filter).with(log).try_init().map_err(|_| LogError::Twice)?;
    // Set only once, because a second log is an error above.
    let _ = DROPPED.set(dropped);
    Ok(Log(guard))
}

/// Whether log events from here contain no bodies, whatever the filter selects: at level `trace` the
/// AWS SDK logs whole requests and answers.
fn holds_no_body(metadata: &Metadata<'_>) -> bool {
    *metadata.level() != Level::TRACE || !metadata.target().starts_with("aws_")
}

fn filter(text: Option<&str>) -> Result<EnvFilter, LogError> {
    let text = text.filter(|text| !text.trim().is_empty()).unwrap_or(FILTER_DEFAULT);
    // The library would take any other word for a target, log all of that target and nothing else.
    let mut words =
        text.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.contains(['=', '[']));
    if let Some(word) = words.find(|word| word.parse::<LevelFilter>().is_err()) {
        return Err(LogError::Filter(format!("`{word}` is not a level")));
    }
    EnvFilter::try_new(text).map_err(|error| LogError::Filter(error.to_string()))
}

/// Most characters that [`Shown`] writes of a text.
pub const SHOWN_CHARS_MAX: usize = 256;

/// Text from outside, safe to show on a terminal or in a log.
///
/// Characters that could steer a terminal, break a line or reorder it (C0 and C1 controls, and with
/// them ANSI sequences; U+2028 and U+2029; bidirectional controls) are escaped as in Rust, and so is
/// the backslash, so that no text can look escaped that is not. The result has at most
/// [`SHOWN_CHARS_MAX`] characters and no cut escape; `…` stands for the rest.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |c: char| if steers_terminal(c) { c.escape_default().len() } else { 1 };
        // Count first: a text that is cut needs space for the `…`.
        let fits = self.0.chars().map(width).take(SHOWN_CHARS_MAX + 1).sum::<usize>() <= SHOWN_CHARS_MAX;
        let mut room = if fits { SHOWN_CHARS_MAX } else { SHOWN_CHARS_MAX - 1 };
        for c in self.0.chars() {
            let Some(left) = room.checked_sub(width(c)) else { break };
            room = left;
            if steers_terminal(c) { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        if fits { Ok(()) } else { f.write_char('…') }
    }
}

/// Whether a character can drive a terminal, break a line or reorder it, or starts an escape of
/// [`Shown`].
pub fn steers_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\\'
            | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{2028}' | '\u{2029}' | '\u{feff}'
            // Tag characters are invisible and can carry text.
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_text_of_any_script_is_shown_as_it_is() {
        for text in ["", "call.ring", "größe ✓ 通話", "a\u{301}", &"x".repeat(SHOWN_CHARS_MAX)] {
            assert_eq!(Shown(text).to_string(), text);
        }
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(Shown("a\r\nb").to_string(), r"a\r\nb");
        assert_eq!(Shown("\u{1b}[31mred").to_string(), r"\u{1b}[31mred");
        assert_eq!(Shown("\u{9b}31m").to_string(), r"\u{9b}31m");
        assert_eq!(Shown("\u{202e}gnp.exe\u{2028}").to_string(), r"\u{202e}gnp.exe\u{2028}");
        assert_eq!(Shown(r"\u{1b}").to_string(), r"\\u{1b}");
    }

    #[test]
    fn long_text_is_clipped_and_says_so() {
        let shown = Shown(&"é".repeat(SHOWN_CHARS_MAX + 1)).to_string();
        assert_eq!(shown.chars().count(), SHOWN_CHARS_MAX);
        assert!(shown.ends_with("é…"));
    }

    #[test]
    fn a_filter_that_is_none_is_refused_and_an_empty_one_is_the_default() {
        for text in ["fanbridge=loud", "inof", "fanbridge::dispatch", "info,dispatch"] {
            assert!(matches!(filter(Some(text)), Err(LogError::Filter(_))), "{text}");
        }
        assert!(filter(Some("off,fanbridge::dispatch=debug")).is_ok());
        assert!(filter(Some("warn,fanbridge::dispatch=trace")).is_ok());
        assert_eq!(filter(Some(" ")).map(|f| f.to_string()).ok(), filter(None).map(|f| f.to_string()).ok());
    }

    proptest! {
        #[test]
        fn nothing_shown_steers_a_terminal_or_is_too_long(
            text in proptest::collection::vec(
                prop_oneof![any::<char>(), (0_u32..0xa0).prop_map(|c| char::from_u32(c).unwrap_or(' ')),
                    (0x2000_u32..0x2070).prop_map(|c| char::from_u32(c).unwrap_or(' '))],
                0..400,
            ).prop_map(String::from_iter)
        ) {
            let shown = Shown(&text).to_string();
            prop_assert!(shown.chars().count() <= SHOWN_CHARS_MAX);
            prop_assert!(!shown.chars().any(|c| c != '\\' && steers_terminal(c)));
            // Unescaping gives back what was shown of the text: nothing is ambiguous.
            let whole: String = text
                .chars()
                .map(|c| if steers_terminal(c) { c.escape_default().to_string() } else { c.to_string() })
                .collect();
            prop_assert!(shown == whole || whole.starts_with(shown.trim_end_matches('…')));
        }
    }
}
