//! What is wrong with a delivery, in the words that an operator reads: the cause, and what to do about it.
//!
//! No cause repeats a part of a secret, of a signature or of a body.

use super::bodies::BodyChange;
use super::facts::DeliveryFact;
use super::keys::SecretChange;
use super::offered::OfferFault;
use super::texts::TextFault;
use crate::provider::builtin_named;
use crate::provider::definition::Definition;

/// One thing that is wrong with a delivery. Everything but a [`DeliveryFact`] is known from a signature that
/// matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureFault {
    /// A secret of the source matches once it is changed.
    Secret {
        /// The secret's reference.
        name: String,
        /// The change.
        change: SecretChange,
        /// Other sources that have the changed secret.
        also: Vec<SecretOwner>,
    },
    /// A secret of the source matches that is not valid at the moment.
    NotLive {
        /// The secret's reference.
        name: String,
        /// Since when, or from when on.
        period: NotLivePeriod,
        /// Other sources that have the secret.
        also: Vec<SecretOwner>,
    },
    /// Other sources expect just this signature.
    OtherSource {
        /// Those sources, with their secrets.
        owners: Vec<SecretOwner>,
        /// Their provider, if it is not that of the source.
        provider: Option<String>,
    },
    /// The delivery is signed as the source expects it, but with a secret of other sources.
    OtherSecret {
        /// Those sources, with their secrets.
        owners: Vec<SecretOwner>,
        /// What has to be done to the secret.
        change: SecretChange,
    },
    /// Other sources take the signature as it is, whatever is wrong with it for this one.
    TakenElsewhere {
        /// Those sources, with their secrets.
        owners: Vec<SecretOwner>,
    },
    /// Another body was signed.
    Body(BodyChange),
    /// Another text was signed around the body.
    Text(TextFault),
    /// The signature is written otherwise.
    Offer(OfferFault),
    /// The signature is right, and its timestamp is not.
    Time(TimeFault),
    /// What the delivery shows without any key.
    Fact(DeliveryFact),
}

/// A source and its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretOwner {
    /// The source's name.
    pub source: String,
    /// The secret's reference.
    pub secret: String,
}

/// When a secret is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLivePeriod {
    /// It ended at this moment.
    Ended(String),
    /// It begins at this moment.
    Begins(String),
}

/// What is wrong with a signed timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeFault {
    /// It is in milliseconds.
    Milliseconds,
    /// It is no number.
    NoNumber,
    /// It is too far from this machine's clock.
    OutOfTime {
        /// The timestamp less this machine's clock.
        skew_seconds: i64,
        /// The largest difference that is allowed.
        tolerance_seconds: u64,
    },
}

impl SignatureFault {
    /// What is wrong.
    pub fn cause(&self) -> String {
        match self {
            Self::Secret { name, change, also } => {
                format!("the signature matches {} ({name}){}", change.phrase(), had_also(also))
            }
            Self::NotLive { name, period, also } => {
                let period = match period {
                    NotLivePeriod::Ended(moment) => format!("ended {moment}"),
                    NotLivePeriod::Begins(moment) => format!("begins {moment}"),
                };
                format!("the signature matches {name}, which {period}{}", had_also(also))
            }
            Self::OtherSource { owners, provider: None } => {
                format!("signed with the secret of {}", joined(owners, "and"))
            }
            Self::OtherSource { owners, provider: Some(provider) } => {
                let owners = joined(owners, "and");
                format!("this is a delivery of `{provider}`, signed with the secret of {owners}")
            }
            Self::OtherSecret { owners, change: SecretChange::AsItIs } => {
                format!("signed with the secret of {}", joined(owners, "and"))
            }
            Self::OtherSecret { owners, change } => {
                let phrase = change.phrase();
                format!("signed with the secret of {}: it matches {phrase}", joined(owners, "and"))
            }
            Self::TakenElsewhere { owners } => {
                format!("as it is, the signature is right for {}", joined(owners, "and"))
            }
            Self::Body(change) => change.cause(),
            Self::Text(fault) => fault.cause(),
            Self::Offer(fault) => fault.cause(),
            Self::Time(fault) => fault.cause(),
            Self::Fact(fact) => fact.cause(),
        }
    }

    /// What to do about it, for a source of this definition.
    pub fn fix(&self, definition: &Definition) -> String {
        match self {
            Self::Secret { change, .. } => match change.fix() {
                Ok(advice) => advice.into(),
                Err(keys) => set(definition, &keys),
            },
            Self::NotLive { period: NotLivePeriod::Ended(_), .. } => {
                "have the provider sign with a secret that is valid; or list it until nobody signs with it, \
                 with a later `not_after`"
                    .into()
            }
            Self::NotLive { .. } => {
                "the provider signs with it already: give it an earlier `not_before`".into()
            }
            Self::OtherSource { owners, provider } => {
                let paths = paths(owners);
                match provider {
                    None => format!("post it to {paths}, or list that secret for this source as well"),
                    Some(_) => format!("post it to {paths}"),
                }
            }
            Self::OtherSecret { change: SecretChange::AsItIs, .. } => {
                "list that secret for this source, or have the sender sign with this source's own".into()
            }
            Self::OtherSecret { .. } => {
                "have the sender sign with this source's own secret, as its provider shows it".into()
            }
            Self::TakenElsewhere { owners } => format!("post it to {} if that is meant", paths(owners)),
            Self::Body(BodyChange::Inflated) => {
                set(definition, BodyChange::Inflated.fix().trim_start_matches("set "))
            }
            Self::Body(change) => change.fix().into(),
            Self::Text(fault) => fault.keys().map_or_else(Into::into, |keys| set(definition, keys)),
            Self::Offer(fault) => fault.keys().map_or_else(Into::into, |keys| set(definition, &keys)),
            Self::Time(fault) => fault.fix().into(),
            Self::Fact(fact) => fact.fix().into(),
        }
    }
}

impl TimeFault {
    fn cause(self) -> String {
        match self {
            Self::Milliseconds => {
                "the signature is right, but the timestamp is in milliseconds, expected seconds".into()
            }
            Self::NoNumber => "the signature is right, but the timestamp is no number of seconds".into(),
            Self::OutOfTime { skew_seconds, tolerance_seconds } => {
                let seconds = skew_seconds.unsigned_abs();
                let allowed = format!("{tolerance_seconds} s are allowed");
                if skew_seconds < 0 {
                    format!(
                        "the signature is right, but the delivery is {seconds} s old, or the sender's clock \
                         is {seconds} s behind; {allowed}"
                    )
                } else {
                    format!(
                        "the signature is right, but the sender's clock is {seconds} s ahead of this moment; \
                         {allowed}"
                    )
                }
            }
        }
    }

    fn fix(self) -> &'static str {
        match self {
            Self::Milliseconds => "send seconds: the sender states the number of milliseconds since 1970",
            Self::NoNumber => "have the sender state the number of seconds since 1970, in digits alone",
            Self::OutOfTime { .. } => {
                "mend NTP on this machine or at the sender; for a delivery that was recorded earlier, give \
                 the moment at which it came with `--at`"
            }
        }
    }
}

/// What to set in a definition. A built-in one follows its provider's documents, so that its sender is more
/// likely wrong.
fn set(definition: &Definition, keys: &str) -> String {
    let provider = &definition.provider;
    if builtin_named(provider).is_some() {
        format!(
            "mend the sender, which does not do as `{provider}` documents it; or set {keys} in the \
             definition of a provider of your own"
        )
    } else {
        format!("set {keys} in the definition of `{provider}`, or mend the sender")
    }
}

/// The sources and their secrets, as a part of a sentence.
pub(super) fn joined(owners: &[SecretOwner], word: &str) -> String {
    let owners = owners.iter().map(|SecretOwner { source, secret }| format!("source `{source}` ({secret})"));
    owners.collect::<Vec<_>>().join(&format!(" {word} "))
}

fn paths(owners: &[SecretOwner]) -> String {
    owners.iter().map(|owner| format!("/in/{}", owner.source)).collect::<Vec<_>>().join(" or ")
}

fn had_also(owners: &[SecretOwner]) -> String {
    match owners {
        [] => String::new(),
        owners => format!("; the same key is that of {}", joined(owners, "and")),
    }
}
