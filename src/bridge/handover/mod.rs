//! A new process takes the listening sockets of the running bridge, so that a restart refuses no connection
//! also where nobody else holds the sockets.
//!
//! The running bridge listens on `handover.sock` in the spool's directory, which its owner alone can enter.
//! The new process first checks whatever can be checked beside a running bridge; then it asks, takes the
//! descriptors, says that it has them, and waits until the other one has ended in order and released the
//! spool. Connections wait in the sockets' queues meanwhile. If the new process fails or dies before it has
//! said so, the running bridge goes on as if nothing had happened. If it dies later, the running bridge ends
//! all the same, because it takes no deliveries any more, and with an error: a supervisor starts it again.

mod giver;
mod taker;
mod wire;

use std::time::Duration;

pub(super) use self::giver::{Giver, SocketCopies};
pub(super) use self::taker::Predecessor;
use super::{Bridge, BridgeError};
use crate::config::{Config, ConfigurationFile};

/// How long either process waits for a message of the other.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How long a process that has stopped can take until its files are closed.
const CLOSES_WITHIN: Duration = Duration::from_secs(3);

impl Bridge {
    /// Starts the bridge on the listening sockets of the one that runs on the same spool, and which then
    /// ends. If none runs, the bridge starts as usual.
    ///
    /// # Errors
    /// When the running bridge does not give its sockets, or something cannot be used that is checked
    /// before: then it goes on. Else as for [`Bridge::start`].
    pub async fn take_over(config: Config, file: Option<ConfigurationFile>) -> Result<Self, BridgeError> {
        taker::rehearse(&config).await?;
        let sockets = taker::ask(&config).await?;
        Self::start_on(config, file, sockets).await
    }
}
