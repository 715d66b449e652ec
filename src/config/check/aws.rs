//! The checks of the AWS blocks: how AWS is reached, queues, and topics on either side.

use std::collections::BTreeSet;

use secrecy::ExposeSecret;

use super::Check;
use super::sinks::SinkSurroundings;
use crate::aws::AwsOptions;
use crate::aws::arn::{TopicArn, queue_region};
use crate::config::file::{CertificateDoubleFile, ConfigFile, RawDeliveryFile, SnsSourceFile, SourceFile};
use crate::config::topics::topics;
use crate::config::yaml::spans::Path;
use crate::routing::TopicTemplate;
use crate::selection::Selection;
use crate::sink::sns::SnsSinkOptions;
use crate::source::sns::options::PASSWORD_BYTES_MIN;
use crate::source::sns::{CertificateDouble, RawDelivery, SnsSourceOptions};
use crate::source::sqs::SqsOptions;
use crate::source::{Channel, SourceSecret};

impl Check<'_> {
    pub(in crate::config) fn aws(&mut self, aws: AwsOptions) -> AwsOptions {
        let at = Path::default().key("aws");
        for (key, value) in [("region", &aws.region), ("profile", &aws.profile)] {
            if value.as_ref().is_some_and(String::is_empty) {
                let label = format!("leave `{key}` out to use the AWS environment or profile");
                self.error(&at.key(key), "empty value", label);
            }
        }
        if let Some(endpoint) = &aws.endpoint {
            self.check_endpoint(endpoint, &at.key("endpoint"));
        }
        aws
    }

    /// Reports queues with a host that is not of AWS: requests go to the region's endpoint, whatever
    /// host the URL names.
    pub(in crate::config) fn check_queues_are_reached(&mut self, file: &ConfigFile) {
        let queues = file.sources.iter().filter_map(|(name, source)| Some((name, source.sqs.as_ref()?)));
        for (name, sqs) in queues {
            let url = web_url(&sqs.queue_url);
            if file.aws.endpoint.is_none() && url.is_some_and(|url| queue_region(&url).is_none()) {
                let at = Path::default().key("sources").key(name).key("sqs").key("queue_url");
                let label = "requests go to the region's AWS endpoint, not to this host; set `aws.endpoint`, \
                             too";
                self.error(&at, "queue that would not be reached", label.into());
            }
        }
    }

    fn check_endpoint(&mut self, endpoint: &str, at: &Path) {
        let Some(url) = web_url(endpoint) else {
            self.error(at, "not a URL", "expected `https://host` or `http://host:port`".into());
            return;
        };
        if url.scheme() == Some(&http::uri::Scheme::HTTP) && !is_loopback(&url) {
            let label = "every event crosses the network in plain text; expected `https://`".into();
            self.warning(at, "AWS without TLS", label);
        }
    }

    /// How deliveries reach a source; `None` if the block is unusable.
    pub(in crate::config) fn channel(&mut self, file: &SourceFile, at: &Path) -> Option<Channel> {
        match (&file.sqs, &file.sns) {
            (None, None) if self.places.has(&at.key("sqs")) || self.places.has(&at.key("sns")) => None,
            (None, None) => Some(Channel::Webhook),
            (Some(sqs), None) => self.sqs(sqs, &at.key("sqs")).map(Channel::Sqs),
            (None, Some(sns)) => self.sns_source(sns, &at.key("sns")).map(Channel::Sns),
            (Some(_), Some(_)) => {
                let label = "a source has `sqs` or `sns`, not both; give each a source of its own".into();
                self.error_at_key(at, "source of two kinds", label);
                None
            }
        }
    }

    /// Warns about secrets of a source whose deliveries the provider does not sign.
    pub(in crate::config) fn no_secrets(&mut self, file: &SourceFile, at: &Path) -> Vec<SourceSecret> {
        if !file.secrets.is_empty() {
            let label = "deliveries from SQS and SNS have no provider's signature, so these are never used";
            self.warning(&at.key("secrets"), "unused secrets", label.into());
        }
        Vec::new()
    }

    fn sqs(&mut self, sqs: &SqsOptions, at: &Path) -> Option<SqsOptions> {
        if sqs.visibility_timeout.subsec_nanos() > 0 {
            let label = "SQS counts whole seconds".into();
            self.error(&at.key("visibility_timeout"), "not a visibility time-out", label);
        }
        let at_url = at.key("queue_url");
        let Some(url) = web_url(&sqs.queue_url).filter(|url| url.path().len() > 1) else {
            if self.has_usable(&at_url) {
                let label = "expected `https://sqs.{region}.amazonaws.com/{account}/{queue}`".into();
                self.error(&at_url, "not the URL of a queue", label);
            }
            return None;
        };
        let named = queue_region(&url);
        match (named, &sqs.region) {
            (Some(named), Some(region)) if named != region => {
                let label = format!("the queue's URL names the region `{named}`");
                self.error(&at.key("region"), "two regions for one queue", label);
            }
            _ => {}
        }
        Some(SqsOptions { region: named.map(str::to_owned).or_else(|| sqs.region.clone()), ..sqs.clone() })
    }

    fn sns_source(&mut self, file: &SnsSourceFile, at: &Path) -> Option<SnsSourceOptions> {
        let at_topics = at.key("topics");
        if file.topics.is_empty() && !self.places.has_inside(&at_topics) {
            let label = "expected the ARNs of the topics that are allowed to deliver here".into();
            self.error(&at_topics, "no topic is configured", label);
        }
        if file.allow_sha1 {
            let label = "set the topic's SignatureVersion to 2 and remove this key".into();
            self.warning(&at.key("allow_sha1"), "signatures made with SHA-1", label);
        }
        let raw = file.raw.as_ref().and_then(|raw| self.raw_delivery(raw, &at.key("raw")));
        let double = file.certificate_double.as_ref();
        let double = double.and_then(|double| self.certificate_double(double, &at.key("certificate_double")));
        let allow_sha1 = file.allow_sha1;
        Some(SnsSourceOptions { topics: file.topics.clone(), allow_sha1, raw, certificate_double: double })
    }

    fn raw_delivery(&mut self, file: &RawDeliveryFile, at: &Path) -> Option<RawDelivery> {
        let username = file.username.clone()?;
        if username.is_empty() || username.contains(':') {
            let label = "expected a name without `:`".into();
            self.error(&at.key("username"), "not a user name", label);
        }
        let at = at.key("password");
        let password = self.secret(file.password.as_ref()?, &at)?;
        if password.expose_secret().len() < PASSWORD_BYTES_MIN {
            let label = format!("the password has fewer than {PASSWORD_BYTES_MIN} bytes");
            self.error(&at, "password that can be guessed", label);
        }
        Some(RawDelivery { username, password })
    }

    /// A test server for certificates. Only a loopback address is accepted, so that no other machine
    /// can be one by accident.
    fn certificate_double(&mut self, file: &CertificateDoubleFile, at: &Path) -> Option<CertificateDouble> {
        let authority = self.readable(file.authority.as_deref()?, &at.key("authority"))?;
        let address = file.address?.0;
        if !address.ip().is_loopback() {
            let label = "a test server for certificates must have a loopback address".into();
            self.error(&at.key("address"), "not a loopback address", label);
            return None;
        }
        let label = "deliveries that SNS itself has signed are refused while this is set".into();
        self.warning(at, "test server for certificates", label);
        Some(CertificateDouble { address, authority })
    }

    /// The settings of a sink whose topics are in this region. Without a region, a problem was
    /// reported before.
    pub(in crate::config) fn sns_sink(
        &mut self,
        sns: &SnsSinkOptions,
        region: Option<String>,
        at: &Path,
    ) -> Option<SnsSinkOptions> {
        let region = region?;
        if let Some(stated) = sns.region.as_ref().filter(|stated| **stated != region) {
            let label = format!("the topic's ARN names the region `{region}`, not `{stated}`");
            self.error(&at.key("region"), "two regions for one sink", label);
        }
        Some(SnsSinkOptions { region: Some(region), ..sns.clone() })
    }

    /// Reports impossible ARNs that the template can produce. Returns the region that all ARNs name.
    pub(in crate::config) fn check_arns(
        &mut self,
        template: &TopicTemplate,
        selection: &Selection,
        at: &Path,
        around: &SinkSurroundings<'_>,
    ) -> Option<String> {
        let topics = topics(around.sources, around.selection, selection, template);
        let mut names: BTreeSet<String> = topics.into_iter().map(|topic| topic.name).collect();
        // Without a usable source, only the template's own text can be checked.
        if names.is_empty() {
            names.insert(template.render("provider", "family", "source"));
        }
        let arns: Vec<_> = names.iter().map(|name| (name, TopicArn::parse(name))).collect();
        let wrong = arns.iter().filter_map(|(name, arn)| Some(format!("`{name}`: {}", arn.as_ref().err()?)));
        if self.report_impossible(wrong, at) {
            return None;
        }
        let mut regions: BTreeSet<&str> =
            arns.iter().filter_map(|(_, arn)| Some(arn.as_ref().ok()?.region())).collect();
        let region = regions.pop_first()?.to_owned();
        if !regions.is_empty() {
            let label = "a sink publishes to one region; give each region a sink of its own".into();
            self.error(at, "topics in several regions", label);
        }
        Some(region)
    }
}

/// A URL with scheme and host that the AWS SDK accepts.
fn web_url(text: &str) -> Option<http::Uri> {
    let url: http::Uri = text.parse().ok()?;
    let scheme = url.scheme_str()?;
    let (plain, host) = (url.authority()?.as_str(), url.host()?);
    // The parser accepts any digits after the colon, and reports no port if they are none.
    let is_port = plain == host || url.port_u16().is_some_and(|port| port > 0);
    (matches!(scheme, "http" | "https") && !plain.contains('@') && !host.is_empty() && is_port).then_some(url)
}

pub(super) fn is_loopback(url: &http::Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
