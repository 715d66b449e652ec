//! The region, account and name in ARNs of topics and in URLs of queues (pure).

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
        if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
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
}
