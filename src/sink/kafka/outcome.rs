//! What a producer error means for the record that got it (pure).
//!
//! A refusal of a whole batch says nothing about one record of it: librdkafka gives every record
//! of a batch the broker's answer, also when only one of them was too large. So a record is judged
//! by a refusal only if it travelled alone; in company the refusal means: again, and alone.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::event::Outcome;
use crate::sink::in_flight::{rejected, retry};

/// What follows from an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// This very record is refused, if it was the only one.
    Refused(&'static str),
    /// The topic may not be written to: again later.
    Forbidden,
    /// The topic is not there: again later.
    Unknown,
    /// The queue, the connection or the broker is in trouble: again later.
    Trouble(&'static str),
}

/// What an error means.
pub(super) fn judge(code: Code) -> Judgement {
    use Judgement::{Forbidden, Refused, Trouble, Unknown};
    match code {
        Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::MessageBatchTooLarge => {
            Refused("too_large")
        }
        Code::InvalidRecord | Code::InvalidTimestamp => Refused("invalid_record"),
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => Forbidden,
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::InvalidTopic => {
            Unknown
        }
        Code::InvalidDifferentRecord => Trouble("refused_in_company"),
        Code::QueueFull => Trouble("queue_full"),
        // A fatal error empties the producer's queues; what was in them is published again.
        Code::Fatal | Code::GaplessGuarantee | Code::PurgeQueue | Code::PurgeInflight => {
            Trouble("producer_fatal")
        }
        Code::OutOfOrderSequenceNumber
        | Code::DuplicateSequenceNumber
        | Code::InvalidProducerEpoch
        | Code::UnknownProducerId => Trouble("producer_fatal"),
        Code::SaslAuthenticationFailed | Code::Authentication | Code::SSL => Trouble("authentication"),
        Code::MessageTimedOut | Code::OperationTimedOut | Code::RequestTimedOut | Code::TimedOutQueue => {
            Trouble("timed_out")
        }
        Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve => Trouble("unreachable"),
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => Trouble("not_enough_replicas"),
        _ => Trouble("broker_error"),
    }
}

impl Judgement {
    /// Whether other records of the topic should travel one by one for a while.
    pub fn sets_apart(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Forbidden)
    }

    /// The outcome of a record that got this error, alone or in company.
    pub fn outcome(self, code: Code, alone: bool) -> Outcome {
        match self {
            Self::Refused(word) if alone => rejected(word, format!("the broker refuses this record: {code}")),
            Self::Refused(_) => retry("refused_in_company", format!("its batch was refused: {code}")),
            Self::Forbidden => retry("topic_forbidden", format!("check the topic's ACL: {code}")),
            Self::Unknown => retry("unknown_topic", format!("create the topic: {code}")),
            Self::Trouble(word) => retry(word, code.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Accepted => "accepted",
            Outcome::Retry(reason) | Outcome::Rejected(reason) => reason.word,
        }
    }

    #[test]
    fn a_record_is_rejected_only_for_itself_and_only_when_it_was_alone() {
        for (code, expected) in
            [(Code::MessageSizeTooLarge, "too_large"), (Code::InvalidRecord, "invalid_record")]
        {
            let alone = judge(code).outcome(code, true);
            assert!(matches!(alone, Outcome::Rejected(_)) && word(&alone) == expected, "{alone:?}");
            let in_company = judge(code).outcome(code, false);
            assert!(matches!(in_company, Outcome::Retry(_)), "{in_company:?}");
            assert!(judge(code).sets_apart());
        }
    }

    #[test]
    fn trouble_of_a_topic_or_a_cluster_never_rejects_a_record() {
        for (code, expected) in [
            (Code::UnknownTopicOrPartition, "unknown_topic"),
            (Code::TopicAuthorizationFailed, "topic_forbidden"),
            (Code::PurgeQueue, "producer_fatal"),
            (Code::OutOfOrderSequenceNumber, "producer_fatal"),
            (Code::QueueFull, "queue_full"),
            (Code::NotEnoughReplicas, "not_enough_replicas"),
            (Code::PolicyViolation, "broker_error"),
        ] {
            for alone in [true, false] {
                let outcome = judge(code).outcome(code, alone);
                assert!(matches!(outcome, Outcome::Retry(_)) && word(&outcome) == expected, "{outcome:?}");
            }
        }
    }
}
