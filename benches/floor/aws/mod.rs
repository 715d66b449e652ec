//! SQS and SNS without AWS: a stub of both protocols, and what the SDK by itself does with it.
//!
//! The emulator that the tests use is slower than the bridge, so it would be what is measured. The
//! stub answers at once, or as late as it is told to, hands out messages that exist once each, and counts
//! calls. It knows just as much of the protocols as the bridge and the floors speak.

mod bare;
mod stub;

pub use bare::{Publish, Receive};
pub use stub::Stub;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

/// The settings of a client that speaks to the stub, with the SDK's own defaults otherwise.
async fn client(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("bench", "bench", None, None, "bench");
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .load()
        .await
}
