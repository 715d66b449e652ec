//! The configuration of AWS: region, profile and endpoints.

/// How sources and sinks reach AWS.
#[derive(Clone, Debug, Default)]
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
}
