//! Why a request was refused, and what to do about it.

use super::super::configuration::{ConfiguredSource, ExplainedConfiguration};
use super::sns::of_sns;
use super::{CauseAndFix, Situation, plural};
use crate::scalars::Size;
use crate::timeline::RefusedStep;

/// Of a refused request; `behind` is the sink that is furthest behind, with how many events wait for it.
pub(in crate::explain) fn of_refused(
    refused: &RefusedStep,
    configuration: &ExplainedConfiguration,
    behind: Option<(String, u64)>,
) -> CauseAndFix {
    let (why, fix) = of_sns(refused.status, &refused.reason)
        .unwrap_or_else(|| why_and_fix(refused, configuration, behind));
    CauseAndFix::new(Situation::Refused, format!("refused with {}: {why}", refused.status), Some(fix))
}

/// Of a request that was refused for another reason than those of SNS.
fn why_and_fix(
    refused: &RefusedStep,
    configuration: &ExplainedConfiguration,
    behind: Option<(String, u64)>,
) -> (String, String) {
    let source = configuration.source(&refused.source);
    match (refused.status, refused.reason.as_str()) {
        (404, "no_such_path") => ("no source has this path".to_owned(), paths(configuration)),
        (405, _) => ("deliveries are sent with POST".to_owned(), paths(configuration)),
        (401, "missing_signature") => missing_signature(refused, configuration, source),
        (401, "no_secret") => {
            let fix = format!("list a secret under `sources.{}.secrets`", refused.source);
            ("no_secret: the source has no signing secret".to_owned(), fix)
        }
        (401, "no_live_secret") => {
            let source = &refused.source;
            let fix = format!(
                "list a secret under `sources.{source}.secrets` whose `not_before` and `not_after` allow it"
            );
            ("no_live_secret: no secret of the source is valid at this moment".to_owned(), fix)
        }
        (401, word) => (word.to_owned(), verify(&refused.source)),
        (413, word) => too_large(refused, word, source),
        (408, _) => (
            "the body came too slowly".to_owned(),
            "look at the network in between; `limits.body_timeout` bounds it".to_owned(),
        ),
        (400, "bad_encoding") => (
            "bad_encoding: the body is not the gzip that it is said to be, or that its first bytes say"
                .to_owned(),
            "have the sender, or the proxy in between, send it plain or as whole gzip".to_owned(),
        ),
        (400, "broken_body") => (
            "broken_body: the connection ended, or broke the rules of HTTP, before the body was whole"
                .to_owned(),
            "look at the network and the proxy in between; the provider sends it again".to_owned(),
        ),
        (415, word) => (
            format!("{word}: a body is taken plain or as gzip"),
            "have the sender, or the proxy in between, send it so".to_owned(),
        ),
        (503, word) => unavailable(word, behind),
        (500, _) => (
            "the bridge failed while it handled it".to_owned(),
            "the log of the bridge has the panic: please report it".to_owned(),
        ),
        (_, word) => (word.to_owned(), "mend what the reason says at the sender".to_owned()),
    }
}

/// Where deliveries can be posted to.
fn paths(configuration: &ExplainedConfiguration) -> String {
    let posted_to = configuration.sources.iter().filter(|source| source.is_posted_to);
    let paths: Vec<String> = posted_to.map(|source| format!("/in/{}", source.name)).collect();
    match paths.is_empty() {
        true => "configure a source that is posted to".into(),
        false => format!("post to {}", paths.join(" or ")),
    }
}

fn verify(source: &str) -> String {
    format!("`fanbridge verify {source} --body FILE --headers FILE` says what is wrong with the signature")
}

/// A delivery without the header of its source's provider can be one of another provider.
fn missing_signature(
    refused: &RefusedStep,
    configuration: &ExplainedConfiguration,
    source: Option<&ConfiguredSource>,
) -> (String, String) {
    let expected = source.and_then(|source| source.definition.signature_header());
    let expected = expected.map_or_else(String::new, |header| format!(" it has no `{header}`"));
    let has = |header: &str| refused.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(header));
    let definitions = configuration.definitions();
    let like = definitions.iter().find(|definition| definition.signature_header().is_some_and(has));
    let Some(like) = like else {
        return (format!("missing_signature:{expected}"), verify(&refused.source));
    };
    let provider = &like.provider;
    let why = format!("missing_signature:{expected}, and this looks like {provider}");
    let mut theirs = configuration.sources.iter().filter(|source| source.definition.provider == *provider);
    let fix = match theirs.find(|source| source.is_posted_to) {
        Some(source) => format!("post it to /in/{}", source.name),
        None => format!("configure a source with `provider: {provider}`, and post it there"),
    };
    (why, fix)
}

fn too_large(refused: &RefusedStep, word: &str, source: Option<&ConfiguredSource>) -> (String, String) {
    let bytes = refused.bytes.map_or_else(|| "its body".to_owned(), |bytes| plural(bytes, "byte"));
    match (word, source) {
        ("body_bytes", Some(source)) => (
            format!("{bytes}, at most {}", Size(source.body_bytes_max)),
            format!("raise `body_bytes_max` of the source {}, if the provider sends as much", source.name),
        ),
        ("inflated_bytes", _) => (
            format!("{bytes}, too many once they are inflated"),
            "raise `limits.inflated_bytes_max`, if the provider sends as much".into(),
        ),
        _ => (format!("{bytes}: {word}"), "raise `spool.bytes_max`".into()),
    }
}

fn unavailable(word: &str, behind: Option<(String, u64)>) -> (String, String) {
    let fix = match word {
        "spool_full" => {
            let (why, sink) = match behind {
                Some((sink, lag)) => (format!("{word}; {sink} is {} behind", plural(lag, "event")), sink),
                None => (format!("{word}; no sink is behind now"), "the sink that was behind".into()),
            };
            return (why, format!("mend {sink}; or raise `spool.bytes_max`"));
        }
        "ack_quarantined" => {
            return (
                format!("{word}: it cannot become an event, so that no sink accepts it"),
                "tell the provider; `fanbridge dead list` has it".to_owned(),
            );
        }
        "disk_low" | "disk_full" | "no_inodes" => "free space on the disk of `spool.dir`",
        "disk_hangs" | "ack_timeout" => "look at the disk of `spool.dir`",
        "no_descriptors" | "no_memory" => "raise the limits of this process",
        "in_flight_bytes" | "strangers_in_flight_bytes" => "raise `limits.in_flight_bytes_max`",
        word if word.starts_with("ack_") => "mend the sink that `ack.after` of the source names",
        "shutting_down" => "nothing: the bridge was stopping, and the provider sends it again",
        _ => "the provider sends it again; if it goes on, see `fanbridge run`'s log",
    };
    (word.to_owned(), fix.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::provider::builtin_named;

    fn configuration() -> ExplainedConfiguration {
        let source = |name: &str, provider: &str| ConfiguredSource {
            name: name.into(),
            event_source: format!("/{provider}/default"),
            definition: Arc::clone(&builtin_named(provider).expect("built in")),
            body_bytes_max: 2 << 20,
            is_posted_to: true,
        };
        let sources = vec![source("stream-video", "stream"), source("fastpix", "fastpix")];
        ExplainedConfiguration { sources, ..ExplainedConfiguration::default() }
    }

    fn refused(source: &str, status: u16, reason: &str) -> RefusedStep {
        RefusedStep {
            source: source.into(),
            request: 1,
            status,
            reason: reason.into(),
            bytes: Some(3_145_728),
            sha256: None,
            headers: vec![("x-signature".into(), "hex, 64 digits".into())],
            unsaid: 0,
        }
    }

    #[test]
    fn each_refusal_says_why_and_what_to_do() {
        let behind = || Some(("lake".to_owned(), 1204));
        for (step, cause, fix) in [
            (
                refused("stream-video", 413, "body_bytes"),
                "refused with 413: 3,145,728 bytes, at most 2 MiB",
                "raise `body_bytes_max` of the source",
            ),
            (
                refused("", 404, "no_such_path"),
                "refused with 404: no source has this path",
                "post to /in/stream-video or /in/fastpix",
            ),
            (
                refused("fastpix", 401, "missing_signature"),
                "refused with 401: missing_signature: it has no `fastpix-signature`, and this looks",
                "post it to /in/stream-video",
            ),
            (
                refused("fastpix", 401, "wrong_signature"),
                "refused with 401: wrong_signature",
                "`fanbridge verify fastpix --body FILE --headers FILE`",
            ),
            (
                refused("fastpix", 503, "spool_full"),
                "refused with 503: spool_full; lake is 1,204 events behind",
                "mend lake; or raise `spool.bytes_max`",
            ),
            (refused("fastpix", 503, "ack_timeout"), "refused with 503: ack_timeout", "look at the disk"),
            (
                refused("fastpix", 415, "unsupported_encoding"),
                "refused with 415: unsupported_encoding: a body is taken plain or as gzip",
                "have the sender",
            ),
            (
                refused("aws", 403, "other_topic"),
                "refused with 403: other_topic: its topic is not on the source's list",
                "`sns.topics`",
            ),
            (
                refused("aws", 401, "password"),
                "refused with 401: password: it lacks the user name",
                "the URL of the subscription's endpoint",
            ),
            (
                refused("aws", 503, "certificate_connection"),
                "refused with 503: certificate_connection: the certificate that SNS signs with",
                "reach SNS over HTTPS",
            ),
        ] {
            let told = of_refused(&step, &configuration(), behind());
            assert!(told.cause.starts_with(cause), "{}", told.cause);
            assert!(told.fix.as_ref().is_some_and(|told| told.contains(fix)), "{:?}", told.fix);
            assert_eq!(told.situation, Situation::Refused);
        }
    }
}
