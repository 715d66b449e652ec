//! What a producer error means for the record that got it (pure).
//!
//! A refusal of a whole batch says nothing about one of its records: librdkafka gives every record of
//! the batch the broker's answer, even if only one of them was too large. So a refusal counts against
//! a record only if the record was sent alone; a record refused in a batch is sent again, alone.
//!
//! Even a record that was sent alone is rejected only for what is its own, whatever the state of the
//! machine, the topic or the cluster: its size, or a rule of the topic that other records pass. Every
//! other error is trouble that an operator can end: the record is kept and tried again.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::sink::{Cause, Outcome};

/// The meaning of an error code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// This record is refused for good if it was sent alone.
    Refused(Cause),
    /// This record is refused for good if it was sent alone and the topic takes other records now;
    /// otherwise the refusal is about the topic.
    RefusedByRule,
    /// The topic takes no record with this machine's time stamp: try again later.
    Clock,
    /// These credentials are not allowed to write to the topic: try again later.
    Forbidden,
    /// The topic does not exist: try again later.
    Unknown,
    /// The queue, the connection or the broker has a problem: try again later.
    Trouble(Cause),
}

/// How the record that got an error was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Journey {
    /// In a batch with other records, any of which can have caused the error.
    Batched,
    /// As a batch of its own.
    Single {
        /// Whether the topic recently took another record that was sent alone.
        others_pass: bool,
    },
}

/// The meaning of this error code.
pub(super) fn judge(code: Code) -> Judgement {
    use Judgement::{Clock, Forbidden, Refused, RefusedByRule, Trouble, Unknown};
    match code {
        // `MessageBatchTooLarge`: the record is larger than a segment of the topic.
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Refused(Cause::TOO_LARGE),
        // A compacted topic requires a key, and some brokers validate records: some records of a
        // topic fulfil that and others do not, or, if it requires the number of a schema, none does.
        Code::InvalidRecord => RefusedByRule,
        Code::InvalidTimestamp => Clock,
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => Forbidden,
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::InvalidTopic => {
            Unknown
        }
        Code::InvalidDifferentRecord => Trouble(Cause::REFUSED_IN_COMPANY),
        Code::QueueFull => Trouble(Cause::QUEUE_FULL),
        // A fatal error empties the producer's queues; the records in them are published again.
        Code::Fatal | Code::GaplessGuarantee | Code::PurgeQueue | Code::PurgeInflight => {
            Trouble(Cause::PRODUCER_FATAL)
        }
        Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::InvalidProducerEpoch
        | Code::UnknownProducerId => Trouble(Cause::PRODUCER_FATAL),
        Code::SaslAuthenticationFailed | Code::Authentication | Code::SSL => Trouble(Cause::AUTHENTICATION),
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => {
            Trouble(Cause::TIMED_OUT)
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => Trouble(Cause::UNREACHABLE),
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => Trouble(Cause::NOT_ENOUGH_REPLICAS),
        _ => Trouble(Cause::BROKER_ERROR),
    }
}

const RULE: &str = "the topic refuses this record and has taken no other record since: a compacted topic \
    requires a key, and some brokers validate records; relax the topic's `cleanup.policy` or the validation";
const CLOCK: &str = "the topic does not accept the time of this machine's clock: correct this clock or the \
    broker's, or check the topic's `message.timestamp.after.max.ms` and `message.timestamp.before.max.ms`";

impl Judgement {
    /// Whether the topic's records have to be sent one by one for a while, because each refused batch
    /// costs a producer.
    pub fn isolates_topic(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::RefusedByRule | Self::Clock | Self::Forbidden)
    }

    /// The outcome of a record that was sent in this way and got this error.
    pub fn outcome(self, code: Code, journey: Journey) -> Outcome {
        let refused = |cause| Outcome::rejected(cause, format!("the broker refuses this record: {code}"));
        match (self, journey) {
            (Self::Refused(_) | Self::RefusedByRule, Journey::Batched) => Outcome::retry(
                Cause::REFUSED_IN_COMPANY,
                format!("the broker refused the batch of this record: {code}"),
            ),
            (Self::Refused(cause), Journey::Single { .. }) => refused(cause),
            (Self::RefusedByRule, Journey::Single { others_pass: true }) => refused(Cause::INVALID_RECORD),
            (Self::RefusedByRule, Journey::Single { others_pass: false }) => {
                Outcome::retry(Cause::INVALID_RECORD, format!("{RULE}: {code}"))
            }
            (Self::Clock, _) => Outcome::retry(Cause::CLOCK, format!("{CLOCK}: {code}")),
            (Self::Forbidden, _) => Outcome::retry(
                Cause::TOPIC_FORBIDDEN,
                format!("grant these credentials write access to the topic: {code}"),
            ),
            (Self::Unknown, _) => Outcome::retry(Cause::UNKNOWN_TOPIC, format!("create the topic: {code}")),
            (Self::Trouble(cause), _) => Outcome::retry(cause, code.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::types::RDKafkaRespErr;

    use super::*;

    /// Every code for which a record may ever be rejected: its word, what is the record's own in it,
    /// and whether that is only so while the topic takes others.
    const OWN_FAULTS: [(Code, &str, &str, bool); 3] = [
        (Code::MessageSizeTooLarge, "too_large", "its size; smaller ones pass", false),
        (Code::MessageBatchTooLarge, "too_large", "its size, beyond a whole segment", false),
        (Code::InvalidRecord, "invalid_record", "it lacks what others of the topic have", true),
    ];
    const JOURNEYS: [Journey; 3] =
        [Journey::Batched, Journey::Single { others_pass: false }, Journey::Single { others_pass: true }];

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Accepted(_) => "accepted",
            Outcome::Retry(reason) | Outcome::Rejected(reason) => reason.word(),
        }
    }

    #[test]
    fn a_record_is_rejected_only_for_itself_and_only_when_it_was_alone() {
        for (code, expected, _, wants_proof) in OWN_FAULTS {
            let single = judge(code).outcome(code, Journey::Single { others_pass: true });
            assert!(matches!(single, Outcome::Rejected(_)) && word(&single) == expected, "{single:?}");
            let unproven = judge(code).outcome(code, Journey::Single { others_pass: false });
            assert_eq!((matches!(unproven, Outcome::Retry(_)), word(&unproven)), (wants_proof, expected));
            let batched = judge(code).outcome(code, Journey::Batched);
            assert!(matches!(batched, Outcome::Retry(_)), "{batched:?}");
            assert!(judge(code).isolates_topic());
        }
    }

    #[test]
    fn no_other_code_of_a_broker_or_of_the_client_rejects_a_record() {
        let known = (-200..=200).filter_map(|code| RDKafkaRespErr::try_from(code).ok()).map(Code::from);
        let others: Vec<_> = known.filter(|code| OWN_FAULTS.iter().all(|(own, ..)| own != code)).collect();
        assert!(others.len() > 150, "{} codes", others.len());
        for code in others {
            for journey in JOURNEYS {
                let outcome = judge(code).outcome(code, journey);
                assert!(matches!(outcome, Outcome::Retry(_)), "{code:?}: {outcome:?}");
            }
        }
    }

    #[test]
    fn a_time_that_the_topic_does_not_take_is_the_clocks_fault_and_says_what_to_do() {
        for journey in JOURNEYS {
            let Outcome::Retry(reason) =
                judge(Code::InvalidTimestamp).outcome(Code::InvalidTimestamp, journey)
            else {
                panic!("a record is rejected for the machine's clock");
            };
            assert_eq!(reason.cause, Cause::CLOCK);
            assert!(reason.detail.contains("correct this clock or the broker's"), "{}", reason.detail);
        }
    }

    #[test]
    fn trouble_of_a_topic_or_a_cluster_is_told_by_its_word() {
        for (code, expected) in [
            (Code::UnknownTopicOrPartition, "unknown_topic"),
            (Code::TopicAuthorizationFailed, "topic_forbidden"),
            (Code::PurgeQueue, "producer_fatal"),
            (Code::OutOfOrderSequenceNumber, "producer_fatal"),
            (Code::QueueFull, "queue_full"),
            (Code::NotEnoughReplicas, "not_enough_replicas"),
            (Code::PolicyViolation, "broker_error"),
            // Of a request to fetch; and of a batch that was damaged on its way.
            (Code::InvalidMessageSize, "broker_error"),
            (Code::InvalidMessage, "broker_error"),
        ] {
            for journey in JOURNEYS {
                assert_eq!(word(&judge(code).outcome(code, journey)), expected, "{code:?}");
            }
        }
    }
}
