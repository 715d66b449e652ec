//! What a delivery shows without any key: a header that is missing or stands twice, a body that is no gzip.

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName};

use super::offered::{expected_form, signature_form};
use super::texts::place_of;
use super::{Candidate, DeliverySizes, RecordedDelivery};
use crate::event::single_header;
use crate::provider::DeliveryRefusal;
use crate::provider::body::GZIP_MAGIC;
use crate::provider::definition::Definition;
use crate::provider::scheme::{HmacScheme, TimestampPlace};

/// Longest name of a content encoding that is repeated in a message, in bytes.
const ENCODING_BYTES_MAX: usize = 20;

/// A fact about a delivery for which it is refused, or which explains why it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryFact {
    /// A header or field that is needed is not there.
    Missing {
        /// Where it should be, in words.
        place: String,
        /// Other sources whose signature header is there instead, with that header.
        instead: Vec<(String, HeaderName)>,
    },
    /// A header or field is there more than once.
    Repeated {
        /// Where, in words.
        place: String,
    },
    /// A header has not the form that the definition says.
    Malformed {
        /// Where, in words.
        place: String,
        /// Its form.
        found: String,
        /// The definition's form.
        expected: String,
    },
    /// The signature's header has more signatures than are considered.
    TooMany,
    /// The id contains the text that separates the signed parts.
    Ambiguous,
    /// The source has no secret.
    NoSecret,
    /// None of the source's secrets is valid at the moment.
    NoneLive,
    /// The body has an encoding that is not understood.
    Unsupported {
        /// Its name, if it is one.
        named: Option<String>,
    },
    /// The body begins as gzip does and is none.
    Undecodable,
    /// The headers say that the body is gzip, and it is not.
    NotCompressed,
    /// The body is larger than the bound.
    TooLarge {
        /// The key of the bound.
        key: &'static str,
        /// Bytes of the body, if they are known.
        bytes: Option<usize>,
        /// The bound in bytes.
        bytes_max: usize,
    },
    /// The headers state another length than the body has.
    OtherLength {
        /// What the headers state.
        stated: u64,
        /// What the body has.
        bytes: usize,
    },
}

impl DeliveryFact {
    /// The fact in a sentence.
    pub fn cause(&self) -> String {
        match self {
            Self::Missing { place, instead } if instead.is_empty() => format!("{place} is missing"),
            Self::Missing { place, instead } => {
                let there: Vec<String> = instead
                    .iter()
                    .map(|(source, header)| {
                        format!("`{header}` is there, in which source `{source}` expects its signature")
                    })
                    .collect();
                format!("{place} is missing; {}", there.join("; "))
            }
            Self::Repeated { place } => format!("{place} is there more than once, and either could count"),
            Self::Malformed { place, found, expected } => format!("{place} has {found}, expected {expected}"),
            Self::TooMany => "the signature's header has more than 16 signatures".into(),
            Self::Ambiguous => {
                "a signed part contains the text that separates it from the next, so the parts could be cut \
                 elsewhere"
                    .into()
            }
            Self::NoSecret => "the source has no secret, so it takes nothing but its provider's probe".into(),
            Self::NoneLive => "none of the source's secrets is valid at this moment".into(),
            Self::Unsupported { named } => {
                let named = named.as_ref().map(|name| format!(" (`{name}`)")).unwrap_or_default();
                format!("`content-encoding` names an encoding that the source does not take{named}")
            }
            Self::Undecodable => "the body begins as gzip does and cannot be inflated".into(),
            Self::NotCompressed => {
                "`content-encoding` is gzip and the body here is not compressed: it was inflated on its way, \
                 or when it was recorded"
                    .into()
            }
            Self::TooLarge { key, bytes: Some(bytes), bytes_max } => {
                format!("the body has {bytes} bytes, and `{key}` allows {bytes_max}")
            }
            Self::TooLarge { key, bytes: None, bytes_max } => {
                format!(
                    "the body inflates to more than `{key}` or `inflate_ratio_max` allows ({bytes_max} bytes)"
                )
            }
            Self::OtherLength { stated, bytes } => format!(
                "`content-length` is {stated} and the body here has {bytes} bytes: one of them is not as it \
                 came"
            ),
        }
    }

    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Missing { .. } => {
                "see that the sender's URL names this source, that signing is switched on, and that the \
                 proxy passes the header on"
            }
            Self::Repeated { .. } => "find out which hop adds the second one, and let one through",
            Self::Malformed { .. } => {
                "see that the header is recorded whole, and that the sender is what the definition describes"
            }
            Self::TooMany => "have the sender sign with its live secrets alone",
            Self::Ambiguous => "have the sender use ids without that text",
            Self::NoSecret => "add `secrets: [env:NAME]` to the source",
            Self::NoneLive => "list a secret that is valid now, or correct its `not_before` and `not_after`",
            Self::Unsupported { .. } => "have the body sent plain, or with gzip if the provider compresses",
            Self::Undecodable => {
                "record the body byte for byte: text tools break compressed bytes, and so does a broken \
                 upload"
            }
            Self::NotCompressed => {
                "record the body as it came: if the sender signs the compressed bytes, these are needed"
            }
            Self::TooLarge { .. } => "raise the bound if the provider sends such bodies",
            Self::OtherLength { .. } => {
                "record headers and body of one request, the body byte for byte and without another line \
                 break"
            }
        }
    }

    /// Whether another fault that a matching signature shows says the same better.
    pub(super) fn is_explained_by_a_match(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Malformed { .. })
    }
}

/// The facts behind a refusal.
pub(super) fn facts(
    definition: &Definition,
    candidates: &[Candidate<'_>],
    recorded: &RecordedDelivery<'_>,
    sizes: &DeliverySizes,
    refusal: &DeliveryRefusal,
) -> Vec<DeliveryFact> {
    let headers = recorded.headers;
    let has_secret = candidates.iter().any(|candidate| candidate.own);
    let mut facts = Vec::new();
    if !has_secret && definition.is_verified() {
        facts.push(DeliveryFact::NoSecret);
    }
    match refusal {
        DeliveryRefusal::UnsupportedEncoding => {
            facts.push(DeliveryFact::Unsupported { named: encoding_named(headers) });
        }
        DeliveryRefusal::Undecodable(_) => facts.push(DeliveryFact::Undecodable),
        DeliveryRefusal::TooLarge => facts.push(too_large(recorded, sizes)),
        DeliveryRefusal::OutOfTime { .. } => {}
        DeliveryRefusal::Unauthenticated("no_live_secret") if has_secret => {
            facts.push(DeliveryFact::NoneLive)
        }
        DeliveryRefusal::Unauthenticated(word) => {
            let scheme = definition.signature.hmac.as_ref();
            facts.extend(scheme.and_then(|scheme| unauthenticated(word, scheme, candidates, headers)));
        }
    }
    let is_said_to_be_gzip = encoding_named(headers).is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
    if is_said_to_be_gzip && !recorded.body.starts_with(&GZIP_MAGIC) {
        facts.push(DeliveryFact::NotCompressed);
    }
    facts.extend(other_length(recorded));
    facts
}

/// The fact behind a reason for which no signature was compared.
fn unauthenticated(
    word: &str,
    scheme: &HmacScheme,
    candidates: &[Candidate<'_>],
    headers: &HeaderMap,
) -> Option<DeliveryFact> {
    match word {
        "too_many_signatures" => return Some(DeliveryFact::TooMany),
        "ambiguous_parts" => return Some(DeliveryFact::Ambiguous),
        _ => {}
    }
    let (kind, part) = word.split_once('_')?;
    let stamp = scheme.timestamp.as_ref().map(|rule| &rule.place);
    let (place, header) = match (part, stamp) {
        ("signature", _) => (format!("`{}`", scheme.header), &scheme.header),
        ("id", _) => (format!("`{}`", scheme.id_header.as_ref()?), scheme.id_header.as_ref()?),
        ("timestamp", Some(place @ TimestampPlace::Header(name))) => (place_of(place), name),
        ("timestamp", Some(place)) => (place_of(place), &scheme.header),
        _ => return None,
    };
    match kind {
        "missing" => {
            let instead = if part == "signature" { instead(candidates, headers) } else { Vec::new() };
            Some(DeliveryFact::Missing { place, instead })
        }
        "ambiguous" => Some(DeliveryFact::Repeated { place }),
        "malformed" if part == "signature" => {
            let text = single_header(headers, header);
            let found = text.map_or_else(|| "bytes that are no ASCII".into(), signature_form);
            Some(DeliveryFact::Malformed { place, found, expected: expected_form(scheme) })
        }
        // A timestamp of another form is found only behind a signature that matches.
        "malformed" if single_header(headers, header).is_none() => Some(DeliveryFact::Malformed {
            place,
            found: "bytes that are no ASCII".into(),
            expected: "visible ASCII".into(),
        }),
        _ => None,
    }
}

/// The sources whose signature's header is there, with that header, each once.
fn instead(candidates: &[Candidate<'_>], headers: &HeaderMap) -> Vec<(String, HeaderName)> {
    let mut found: Vec<(String, HeaderName)> = Vec::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.own) {
        let Some(scheme) = &candidate.definition.signature.hmac else { continue };
        if headers.contains_key(&scheme.header) && !found.iter().any(|(source, _)| source == candidate.source)
        {
            found.push((candidate.source.into(), scheme.header.clone()));
        }
    }
    found
}

/// The name of the content encoding, if it is one name.
fn encoding_named(headers: &HeaderMap) -> Option<String> {
    let name = single_header(headers, CONTENT_ENCODING)?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (name.len() <= ENCODING_BYTES_MAX && name.chars().all(is_name)).then(|| name.into())
}

fn too_large(recorded: &RecordedDelivery<'_>, sizes: &DeliverySizes) -> DeliveryFact {
    let bytes = recorded.body.len();
    if bytes > sizes.sent_bytes_max {
        return DeliveryFact::TooLarge {
            key: "body_bytes_max",
            bytes: Some(bytes),
            bytes_max: sizes.sent_bytes_max,
        };
    }
    let bytes_max = sizes.inflate.inflated_bytes_max;
    DeliveryFact::TooLarge { key: "inflated_bytes_max", bytes: None, bytes_max }
}

fn other_length(recorded: &RecordedDelivery<'_>) -> Option<DeliveryFact> {
    let stated = single_header(recorded.headers, CONTENT_LENGTH)?.parse().ok()?;
    let bytes = recorded.body.len();
    (stated != bytes as u64).then_some(DeliveryFact::OtherLength { stated, bytes })
}
