//! What became of a record, and why: the reasons, each declared once with its word and with what the
//! dispatcher makes of it (pure).

use crate::event::Placement;
use crate::scarce::Scarce;

/// A sink's outcome for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has the record, and says where as far as it knows: settle it.
    Accepted(Placement),
    /// The sink or the topic does not take the record now: keep it, back off, publish it again.
    Retry(Reason),
    /// The sink never takes this record: it becomes a dead letter.
    Rejected(Reason),
}

impl Outcome {
    /// [`Outcome::Accepted`] by a sink that does not say where the record is.
    pub const ACCEPTED: Self = Self::Accepted(Placement::Unstated);

    /// Whether the sink has the record, wherever that is.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    /// [`Outcome::Retry`] with this reason.
    pub fn retry(cause: Cause, detail: impl Into<String>) -> Self {
        Self::Retry(Reason::new(cause, detail))
    }

    /// [`Outcome::Rejected`] with this reason.
    pub fn rejected(cause: Cause, detail: impl Into<String>) -> Self {
        Self::Rejected(Reason::new(cause, detail))
    }
}

/// Why a record was not accepted, or what keeps a sink from publishing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The cause, from a fixed list.
    pub cause: Cause,
    /// An explanation for the operator. Contains no part of a body and no secret.
    pub detail: String,
}

impl Reason {
    /// A reason with an explanation.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }

    /// The cause's word.
    pub fn word(&self) -> &'static str {
        self.cause.word
    }
}

/// What a cause says about the sink's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CauseKind {
    /// Nothing: the record only stood behind another one, in one batch with it or in one producer.
    Waiting,
    /// Nothing yet: it can be an accident of one request, and degrades the sink if it lasts or happens again.
    Transient,
    /// The sink is degraded at once: this passes when somebody mends something, or when an overload ends.
    Lasting,
}

/// One of the fixed list of causes. Only this file makes any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cause {
    word: &'static str,
    kind: CauseKind,
    maybe_published: bool,
}

/// Causes of [`Outcome::Retry`], and of a sink that reports no outcome.
impl Cause {
    /// An earlier record of its key has to be published first.
    pub const HELD: Self = Self::waiting("held");
    /// Its batch was refused, perhaps because of another record.
    pub const REFUSED_IN_COMPANY: Self = Self::waiting("refused_in_company");
    /// It was published before an earlier record of its key that is tried again.
    pub const OVERTOOK: Self = Self::waiting("overtook").possibly_published();
    /// It was in a Kafka producer that had a fatal error.
    pub const PRODUCER_FATAL: Self = Self::waiting("producer_fatal").possibly_published();

    /// The topic or the service does not accept this machine's time. A record that waited in the client
    /// for the end of an outage can be too old for its topic by then; the next attempt stamps it anew.
    pub const CLOCK: Self = Self::transient("clock");
    /// The service failed at the request.
    pub const SERVICE_ERROR: Self = Self::transient("service_error").possibly_published();
    /// The request was not answered in time.
    pub const TIMED_OUT: Self = Self::transient("timed_out").possibly_published();
    /// No connection was made.
    pub const UNREACHABLE: Self = Self::transient("unreachable");

    /// The brokers do not take the credentials.
    pub const AUTHENTICATION: Self = Self::lasting("authentication");
    /// Any other error of a broker or of its client.
    pub const BROKER_ERROR: Self = Self::lasting("broker_error");
    /// The service does not take the credentials, or there are none.
    pub const CREDENTIALS: Self = Self::lasting("credentials");
    /// The disk, or the user's share of it, is full.
    pub const DISK_FULL: Self = Self::lasting("disk_full");
    /// The record's entry failed again and again in requests that the service carried out.
    pub const ENTRY_FAILED: Self = Self::lasting("entry_failed");
    /// A file reached the largest size that the process or the file system allows.
    pub const FILE_SIZE_LIMIT: Self = Self::lasting("file_size_limit");
    /// A file cannot be written.
    pub const IO: Self = Self::lasting("io");
    /// The sink reports no outcome.
    pub const NO_ANSWER: Self = Self::lasting("no_answer");
    /// Too few replicas of the partition are in sync. The leader can have kept the record all the same.
    pub const NOT_ENOUGH_REPLICAS: Self = Self::lasting("not_enough_replicas").possibly_published();
    /// The process or the machine has too many files open.
    pub const NO_DESCRIPTORS: Self = Self::lasting(Scarce::Descriptors.reason());
    /// The machine has too little memory.
    pub const NO_MEMORY: Self = Self::lasting(Scarce::Memory.reason());
    /// The sink's own queue is full.
    pub const QUEUE_FULL: Self = Self::lasting("queue_full");
    /// The service refuses the request, and not for a record in it.
    pub const REQUEST_REFUSED: Self = Self::lasting("request_refused");
    /// The service wants fewer requests.
    pub const THROTTLED: Self = Self::lasting("throttled");
    /// The topic is disabled.
    pub const TOPIC_DISABLED: Self = Self::lasting("topic_disabled");
    /// The credentials do not allow to write to the topic.
    pub const TOPIC_FORBIDDEN: Self = Self::lasting("topic_forbidden");
    /// The topic's encryption key cannot be used.
    pub const TOPIC_KEY: Self = Self::lasting("topic_key");
    /// The topic does not exist.
    pub const UNKNOWN_TOPIC: Self = Self::lasting("unknown_topic");
}

/// Causes of [`Outcome::Rejected`].
impl Cause {
    /// The service does not take the record's text or one of its attributes.
    pub const INVALID_PARAMETER: Self = Self::lasting("invalid_parameter");
    /// The record breaks a rule of its topic. Until it is known that other records pass the rule, the
    /// record is tried again for this cause.
    pub const INVALID_RECORD: Self = Self::lasting("invalid_record");
    /// The topic's name cannot be a directory's.
    pub const INVALID_TOPIC: Self = Self::lasting("invalid_topic");
    /// The record is larger than its topic takes.
    pub const TOO_LARGE: Self = Self::lasting("too_large");
    /// The record has characters that XML cannot carry.
    pub const XML_ILLEGAL: Self = Self::lasting("xml_illegal");
}

impl Cause {
    const fn waiting(word: &'static str) -> Self {
        Self { word, kind: CauseKind::Waiting, maybe_published: false }
    }

    const fn transient(word: &'static str) -> Self {
        Self { word, kind: CauseKind::Transient, maybe_published: false }
    }

    const fn lasting(word: &'static str) -> Self {
        Self { word, kind: CauseKind::Lasting, maybe_published: false }
    }

    const fn possibly_published(self) -> Self {
        Self { maybe_published: true, ..self }
    }

    /// The word in metrics, log and API. Nothing decides by it.
    pub const fn word(self) -> &'static str {
        self.word
    }

    /// What the cause says about the record's topic.
    pub const fn kind(self) -> CauseKind {
        self.kind
    }

    /// Whether the cause says nothing about the record's topic.
    pub fn is_waiting(self) -> bool {
        self.kind == CauseKind::Waiting
    }

    /// Whether the record might have been published all the same.
    pub const fn maybe_published(self) -> bool {
        self.maybe_published
    }
}

impl From<Scarce> for Cause {
    fn from(scarce: Scarce) -> Self {
        match scarce {
            Scarce::Descriptors => Self::NO_DESCRIPTORS,
            Scarce::Memory => Self::NO_MEMORY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A backlog is thousands of outcomes, each in a table until its batch is known.
    #[test]
    fn an_outcome_is_no_larger_with_a_place_than_with_a_reason() {
        assert!(size_of::<Outcome>() <= 56 && size_of::<Option<Outcome>>() <= 56);
    }

    /// Runbooks and alerts go by these words.
    #[test]
    fn the_words_that_alerts_go_by_stay_what_they_are() {
        for (cause, word, kind, maybe_published) in [
            (Cause::HELD, "held", CauseKind::Waiting, false),
            (Cause::REFUSED_IN_COMPANY, "refused_in_company", CauseKind::Waiting, false),
            (Cause::OVERTOOK, "overtook", CauseKind::Waiting, true),
            (Cause::PRODUCER_FATAL, "producer_fatal", CauseKind::Waiting, true),
            (Cause::CLOCK, "clock", CauseKind::Transient, false),
            (Cause::SERVICE_ERROR, "service_error", CauseKind::Transient, true),
            (Cause::TIMED_OUT, "timed_out", CauseKind::Transient, true),
            (Cause::UNREACHABLE, "unreachable", CauseKind::Transient, false),
            (Cause::from(Scarce::Descriptors), "no_descriptors", CauseKind::Lasting, false),
            (Cause::from(Scarce::Memory), "no_memory", CauseKind::Lasting, false),
        ] {
            assert_eq!((cause.word(), cause.kind(), cause.maybe_published()), (word, kind, maybe_published));
        }
    }
}
