//! The configuration of an SNS source: which topics can deliver, and how they prove their identity.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;

use crate::aws::arn::TopicArn;

/// Least length of a raw delivery's password in bytes: 128 bits.
pub const PASSWORD_BYTES_MIN: usize = 16;

/// SNS topics that deliver to the bridge.
#[derive(Clone, Debug)]
pub struct SnsSourceOptions {
    /// The only topics that are allowed to deliver.
    pub topics: Vec<TopicArn>,
    /// Whether signatures made with SHA-1 are accepted.
    pub allow_sha1: bool,
    /// User name and password of raw deliveries, if they are accepted.
    pub raw: Option<RawDelivery>,
    /// The test server for signing certificates, if there is one.
    pub certificate_double: Option<CertificateDouble>,
}

/// User name and password that replace the signature of a raw delivery.
#[derive(Clone, Debug)]
pub struct RawDelivery {
    /// The user name in the subscription's URL.
    pub username: String,
    /// The password in the subscription's URL.
    pub password: SecretString,
}

/// A test server that stands in for the hosts of signing certificates, on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateDouble {
    /// The server's address, which is a loopback address.
    pub address: SocketAddr,
    /// PEM file with the only authority to trust for the connection to the server.
    pub authority: PathBuf,
}
