//! How AWS is reached: region, profile and endpoints, the block `aws`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How every source and sink reaches AWS. Credentials come from the usual places: environment,
/// profile, web identity, container or instance role.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AwsOptions {
    /// The region, unless a queue's URL or a topic's ARN names one.
    pub region: Option<String>,
    /// The profile in the shared AWS configuration files.
    pub profile: Option<String>,
    /// The URL for all services, instead of the region's own endpoints.
    pub endpoint: Option<String>,
    /// Use the FIPS 140 endpoints.
    pub fips: bool,
    /// Use the dual-stack endpoints, which also have IPv6 addresses.
    pub dual_stack: bool,
    /// After how many seconds the secrets of sources that AWS keeps are read again.
    // Above the upper bound, a former secret would be over before the new one is known.
    #[schemars(range(min = 1, max = 300))]
    pub read_secrets_every_seconds: u64,
}

impl Default for AwsOptions {
    fn default() -> Self {
        Self {
            region: None,
            profile: None,
            endpoint: None,
            fips: false,
            dual_stack: false,
            read_secrets_every_seconds: 60,
        }
    }
}
