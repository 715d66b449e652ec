//! The region, account and name in ARNs and in URLs of queues (pure).

use std::fmt;
use std::str::FromStr;

/// The ARN of an SNS topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TopicArn {
    text: String,
    region: std::ops::Range<usize>,
    name: usize,
}

impl TopicArn {
    /// Parses `arn:{partition}:sns:{region}:{account}:{name}`.
    ///
    /// # Errors
    /// With a message that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let [arn, partition, service, region, account, name] = parts[..] else {
            return Err("expected `arn:aws:sns:{region}:{account}:{name}`".into());
        };
        let lower = |text: &str, extra: &str| {
            !text.is_empty()
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra.contains(c))
        };
        if arn != "arn" || service != "sns" || !partition.starts_with("aws") || !lower(partition, "-") {
            return Err("expected it to begin with `arn:aws:sns:`".into());
        }
        if !lower(region, "-") || !region.contains('-') {
            return Err(format!("`{}` is not a region", region.escape_debug()));
        }
        if !is_account(account) {
            return Err("the account in an ARN has 12 digits".into());
        }
        if let Some(problem) = topic_name_problem(name) {
            return Err(problem);
        }
        let start = arn.len() + partition.len() + service.len() + 3;
        Ok(Self { text: text.into(), region: start..start + region.len(), name: text.len() - name.len() })
    }

    /// The text of the ARN.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The region in the ARN.
    pub fn region(&self) -> &str {
        &self.text[self.region.clone()]
    }

    /// The topic's name, with `.fifo` if it is a FIFO topic.
    pub fn name(&self) -> &str {
        &self.text[self.name..]
    }

    /// Whether it is a FIFO topic.
    pub fn is_fifo(&self) -> bool {
        self.text.ends_with(".fifo")
    }
}

impl FromStr for TopicArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for TopicArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rule of SNS: `[A-Za-z0-9_-]{1,256}`, and for a FIFO topic `.fifo` at the end.
fn topic_name_problem(name: &str) -> Option<String> {
    let plain = name.strip_suffix(".fifo").unwrap_or(name);
    let stray = plain.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
    if plain.is_empty() || name.len() > 256 {
        Some(format!("an SNS topic's name has 1 to 256 characters, this name has {}", name.len()))
    } else {
        stray.map(|stray| {
            format!("{stray:?} is not allowed in an SNS topic's name: use a-z, A-Z, 0-9, `_` and `-`")
        })
    }
}

/// The ARN of a cluster of Amazon MSK.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MskCluster {
    text: String,
    /// What the ARNs of its topics begin with.
    topics: String,
}

impl MskCluster {
    /// The text of the ARN.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The ARN of the topic with this name.
    pub fn topic(&self, name: &str) -> String {
        format!("{}/{name}", self.topics)
    }
}

impl FromStr for MskCluster {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected `arn:aws:kafka:{region}:{account}:cluster/{name}/{uuid}`".to_owned();
        let (place, resource) = resource_of(text, "kafka").ok_or_else(expected)?;
        let name = resource.strip_prefix("cluster/").ok_or_else(expected)?;
        let fits =
            |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        let (cluster, uuid) = name.split_once('/').ok_or_else(expected)?;
        if !fits(cluster) || !fits(uuid) {
            return Err(expected());
        }
        Ok(Self { text: text.into(), topics: format!("{place}topic/{name}") })
    }
}

/// The ARN of a key, which a policy needs in place of an alias.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyArn(pub String);

impl FromStr for KeyArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected `arn:aws:kms:{region}:{account}:key/{id}`";
        let (_, resource) = resource_of(text, "kms").ok_or_else(|| expected.to_owned())?;
        if resource.starts_with("alias/") {
            return Err(format!("an alias is no resource of a policy: {expected}"));
        }
        let id = resource.strip_prefix("key/").ok_or_else(|| expected.to_owned())?;
        match !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            true => Ok(Self(text.into())),
            false => Err(expected.into()),
        }
    }
}

/// What an ARN of a service has in front of its resource, the last colon included, and the resource.
fn resource_of<'a>(text: &'a str, service: &str) -> Option<(&'a str, &'a str)> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [arn, partition, its_service, region, account, resource] = parts[..] else { return None };
    let lower = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let fits = arn == "arn"
        && (partition == "aws" || (partition.starts_with("aws-") && lower(partition)))
        && its_service == service
        && region.contains('-')
        && lower(region)
        && is_account(account);
    fits.then(|| (&text[..text.len() - resource.len()], resource))
}

/// Whether a text is the number of an account.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The partition of AWS that a region is in.
pub fn partition(region: &str) -> &'static str {
    // The last one is for every region that no other line names.
    const PARTITIONS: [(&str, &str); 8] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-isob-", "aws-iso-b"),
        ("us-isof-", "aws-iso-f"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-iso-", "aws-iso"),
        ("eusc-", "aws-eusc"),
        ("", "aws"),
    ];
    PARTITIONS.iter().find(|(start, _)| region.starts_with(start)).map_or("aws", |(_, partition)| partition)
}

/// The ARN of the queue with this URL, whose last two parts are the account and the queue's name. The region
/// counts if the URL does not name one.
///
/// # Errors
/// With a message that says what the URL lacks.
pub fn queue_arn(url: &str, region: Option<&str>) -> Result<String, String> {
    let uri: http::Uri = url.parse().map_err(|_| "it is no URL".to_owned())?;
    let mut parts = uri.path().trim_start_matches('/').rsplitn(3, '/');
    let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let plain = name.strip_suffix(".fifo").unwrap_or(name);
    // A `*` in it would be every queue.
    let is_name = !plain.is_empty() && plain.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if !is_name || !is_account(account) {
        return Err("it does not end with an account of 12 digits and the name of a queue".into());
    }
    let region = queue_region(&uri).or(region).ok_or_else(|| {
        "neither it nor the configuration names a region: set `region` of the queue or `aws.region`"
            .to_owned()
    })?;
    Ok(format!("arn:{}:sqs:{region}:{account}:{name}", partition(region)))
}

/// The region in a queue's URL, if the URL has a host of AWS:
/// `https://sqs.{region}.amazonaws.com/{account}/{name}` and its FIPS, dual-stack, China, sovereign and older
/// forms.
pub fn queue_region(url: &http::Uri) -> Option<&str> {
    let host = url.host()?;
    let inner = ["amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws"]
        .iter()
        .find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.'))?;
    let region = match inner.split_once('.') {
        Some(("sqs" | "sqs-fips", region)) => region,
        Some((region, "queue")) => region,
        _ => return None,
    };
    let fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (region.contains('-') && region.chars().all(fine)).then_some(region)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_arn_tells_region_name_and_kind() {
        let arn = TopicArn::parse("arn:aws:sns:eu-west-1:111111111111:stream-video").unwrap();
        assert_eq!((arn.region(), arn.name(), arn.is_fifo()), ("eu-west-1", "stream-video", false));
        let arn = TopicArn::parse("arn:aws-cn:sns:cn-north-1:111111111111:a.fifo").unwrap();
        assert_eq!((arn.region(), arn.name(), arn.is_fifo()), ("cn-north-1", "a.fifo", true));
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for text in [
            "",
            "orders",
            "arn:aws:sqs:eu-west-1:111111111111:a",
            "arn:aws:sns:eu-west-1:1:a",
            "arn:aws:sns::111111111111:a",
            "arn:aws:sns:evil.com/x-:111111111111:a",
            "arn:aws:sns:eu-west-1:111111111111:",
            "arn:aws:sns:eu-west-1:111111111111:a.b",
            "arn:aws:sns:eu-west-1:111111111111:a:subscription",
            "arn:aws:sns:eu-west-1:111111111111:.fifo",
        ] {
            assert!(TopicArn::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_queues_url_tells_its_region_where_the_service_wrote_it() {
        for (url, region) in [
            ("https://sqs.eu-west-1.amazonaws.com/111111111111/q", Some("eu-west-1")),
            ("https://sqs-fips.us-gov-west-1.amazonaws.com/111111111111/q", Some("us-gov-west-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/111111111111/q", Some("cn-north-1")),
            ("https://sqs.eusc-de-east-1.amazonaws.eu/111111111111/q", Some("eusc-de-east-1")),
            ("https://eu-west-1.queue.amazonaws.com/111111111111/q", Some("eu-west-1")),
            ("https://sqs.eu-west-1.api.aws/111111111111/q", Some("eu-west-1")),
            ("http://127.0.0.1:4566/queue/eu-west-1/111111111111/q", None),
            ("https://sqs.eu-west-1.amazonaws.com.evil.example/111111111111/q", None),
            ("https://sqs.evil.eu-west-1.amazonaws.com/111111111111/q", None),
        ] {
            assert_eq!(queue_region(&url.parse().unwrap()), region, "{url}");
        }
    }

    #[test]
    fn a_queues_url_is_its_arn() {
        for (url, arn) in [
            (
                "https://sqs.eu-west-1.amazonaws.com/111111111111/q.fifo",
                "arn:aws:sqs:eu-west-1:111111111111:q.fifo",
            ),
            (
                "https://sqs.cn-north-1.amazonaws.com.cn/111111111111/q",
                "arn:aws-cn:sqs:cn-north-1:111111111111:q",
            ),
            ("http://127.0.0.1:4566/queue/x/111111111111/q", "arn:aws-us-gov:sqs:us-gov-1:111111111111:q"),
        ] {
            assert_eq!(queue_arn(url, Some("us-gov-1")), Ok(arn.to_owned()), "{url}");
        }
        assert!(queue_arn("http://127.0.0.1:4566/111111111111/q", None).unwrap_err().contains("aws.region"));
        let host = "http://127.0.0.1:4566";
        for path in ["/q", "/111111111111/", "/111111111111/*", "/111111111111/.fifo", " "] {
            let url = format!("{host}{path}");
            assert!(queue_arn(&url, Some("eu-west-1")).is_err(), "{url}");
        }
    }

    #[test]
    fn a_cluster_or_a_key_is_named_by_its_whole_arn() {
        let cluster: MskCluster = "arn:aws:kafka:eu-west-1:111111111111:cluster/a-b/0-1".parse().unwrap();
        assert_eq!(cluster.topic("x.y"), "arn:aws:kafka:eu-west-1:111111111111:topic/a-b/0-1/x.y");
        for text in [
            "arn:aws:kafka:eu-west-1:111111111111:cluster/a",
            "arn:aws:kafka:eu-west-1:111111111111:cluster/*/*",
            "arn:aws:kafka:*:111111111111:cluster/a/b",
            "arn:aws:kafka:eu-west-1:1:cluster/a/b",
            "arn:aws:sns:eu-west-1:111111111111:a",
            "a",
        ] {
            assert!(text.parse::<MskCluster>().is_err(), "{text}");
        }
        assert!("arn:aws:kms:eu-west-1:111111111111:key/mrk-1".parse::<KeyArn>().is_ok());
        let alias = "arn:aws:kms:eu-west-1:111111111111:alias/a".parse::<KeyArn>().unwrap_err();
        assert!(alias.starts_with("an alias"), "{alias}");
        for text in ["alias/a", "arn:aws:kms:eu-west-1:111111111111:key/*", "arn:aws:kms::1:key/a"] {
            assert!(text.parse::<KeyArn>().is_err(), "{text}");
        }
    }
}
