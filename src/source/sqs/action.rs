//! The calls that are made to the service.

/// A call to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Receive,
    Delete,
    Extend,
}

impl Action {
    /// All actions, in the order of their values.
    pub(super) const ALL: [Self; 3] = [Self::Receive, Self::Delete, Self::Extend];

    /// The service's name for the action.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Receive => "ReceiveMessage",
            Self::Delete => "DeleteMessageBatch",
            Self::Extend => "ChangeMessageVisibilityBatch",
        }
    }

    /// The IAM permission that the action needs.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Self::Receive => "sqs:ReceiveMessage",
            Self::Delete => "sqs:DeleteMessage",
            Self::Extend => "sqs:ChangeMessageVisibility",
        }
    }
}
