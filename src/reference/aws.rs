//! References to secrets that AWS keeps: `aws-sm:NAME#KEY` and `aws-ssm:NAME`, each also with an ARN in place
//! of the name.

use std::fmt;

/// A secret that AWS keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AwsSecret {
    /// Which service keeps it.
    pub store: AwsSecretStore,
    /// Its name or its ARN, as the service takes either.
    pub id: String,
    /// The member of the JSON object that it is, if it is not the secret as a whole.
    pub key: Option<String>,
}

/// A service of AWS that keeps secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AwsSecretStore {
    /// Secrets Manager.
    SecretsManager,
    /// Parameter Store, a part of Systems Manager.
    ParameterStore,
}

/// Longest name in Secrets Manager, in characters.
const SECRET_NAME_MAX: usize = 512;
/// Longest name in Parameter Store with its path, in characters.
const PARAMETER_NAME_MAX: usize = 2048;

const NO_SECRET: &str = "expected the name or the ARN of a secret after `aws-sm:`, and behind `#` the key of \
    a JSON object if the secret is one, such as `aws-sm:fanbridge/stream#secret`";
const NO_PARAMETER: &str = "expected the name or the ARN of a parameter after `aws-ssm:`, such as \
    `aws-ssm:/fanbridge/stream`";

impl AwsSecret {
    /// The reference that a text is; `None` if it is of another kind. The error never repeats the text.
    pub(super) fn parse(text: &str) -> Option<Result<Self, &'static str>> {
        if let Some(rest) = text.strip_prefix("aws-sm:") {
            let (id, key) = match rest.split_once('#') {
                Some((id, key)) => (id, Some(key)),
                None => (rest, None),
            };
            let fits = is_id(id, "secretsmanager", "secret:", is_secret_name);
            if !fits || key.is_some_and(|key| key.is_empty() || key.contains(char::is_control)) {
                return Some(Err(NO_SECRET));
            }
            let key = key.map(str::to_owned);
            return Some(Ok(Self { store: AwsSecretStore::SecretsManager, id: id.into(), key }));
        }
        let id = text.strip_prefix("aws-ssm:")?;
        let fits = is_id(id, "ssm", "parameter/", is_parameter_name);
        let secret = Self { store: AwsSecretStore::ParameterStore, id: id.into(), key: None };
        Some(if fits { Ok(secret) } else { Err(NO_PARAMETER) })
    }

    /// The region that its ARN names.
    pub fn region(&self) -> Option<&str> {
        self.id.starts_with("arn:").then(|| self.id.split(':').nth(3))?
    }
}

impl fmt::Display for AwsSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = match self.store {
            AwsSecretStore::SecretsManager => "aws-sm",
            AwsSecretStore::ParameterStore => "aws-ssm",
        };
        write!(f, "{store}:{}", self.id)?;
        self.key.as_ref().map_or(Ok(()), |key| write!(f, "#{key}"))
    }
}

/// Whether it is a name, or the ARN of a resource of this service whose name follows `kind`.
fn is_id(id: &str, service: &str, kind: &str, is_name: impl Fn(&str) -> bool) -> bool {
    if !id.starts_with("arn:") {
        return is_name(id);
    }
    let parts: Vec<&str> = id.splitn(6, ':').collect();
    let [_, partition, its_service, region, account, resource] = parts[..] else { return false };
    let lower = |text: &str| {
        text.contains('-') && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    (partition == "aws" || (partition.starts_with("aws-") && lower(partition)))
        && its_service == service
        && lower(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && resource.strip_prefix(kind).is_some_and(is_name)
}

fn is_secret_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/_+=.@-".contains(&b);
    (1..=SECRET_NAME_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// A version or a label may follow a colon.
fn is_parameter_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"/_.-".contains(&b);
    let (name, version) = text.split_once(':').unwrap_or((text, "1"));
    (1..=PARAMETER_NAME_MAX).contains(&name.len())
        && name.bytes().all(fits)
        && !version.is_empty()
        && version.bytes().all(|b| fits(b) && b != b'/')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_or_an_arn_leads_to_a_secret_and_a_key_into_its_json() {
        let manager = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:fanbridge/stream-AbCdEf";
        let parameter = "arn:aws-us-gov:ssm:us-gov-west-1:123456789012:parameter/fanbridge/stream";
        for (text, id, key, region) in [
            ("aws-sm:fanbridge/stream".to_owned(), "fanbridge/stream", None, None),
            ("aws-sm:a#the key".to_owned(), "a", Some("the key"), None),
            (format!("aws-sm:{manager}#b"), manager, Some("b"), Some("eu-west-1")),
            ("aws-ssm:/fanbridge/stream".to_owned(), "/fanbridge/stream", None, None),
            ("aws-ssm:stream:3".to_owned(), "stream:3", None, None),
            (format!("aws-ssm:{parameter}"), parameter, None, Some("us-gov-west-1")),
        ] {
            let secret = AwsSecret::parse(&text).unwrap().unwrap();
            assert_eq!((secret.id.as_str(), secret.key.as_deref(), secret.region()), (id, key, region));
            assert_eq!(secret.to_string(), text, "it is written as it was read");
        }
    }

    #[test]
    fn what_aws_would_refuse_as_a_name_is_refused_at_once() {
        for text in [
            "aws-sm:",
            "aws-sm:#key",
            "aws-sm:a#",
            "aws-sm:a b",
            "aws-sm:arn:aws:secretsmanager:eu-west-1:12:secret:a",
            "aws-sm:arn:aws:ssm:eu-west-1:123456789012:parameter/a",
            "aws-sm:arn:aws:secretsmanager:evil.example/x-:123456789012:secret:a",
            "aws-ssm:",
            "aws-ssm:/a#key",
            "aws-ssm:/a:",
            "aws-ssm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:a",
        ] {
            assert!(AwsSecret::parse(text).unwrap().is_err(), "{text}");
        }
        assert_eq!(AwsSecret::parse("env:A"), None);
    }
}
