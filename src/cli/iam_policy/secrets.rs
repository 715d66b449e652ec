//! The ARNs of secrets and parameters that a configuration names as `aws-sm:` and `aws-ssm:` (pure).

use crate::aws::arn::partition;

/// What Secrets Manager adds to the name of a secret to make its ARN: a hyphen and six characters of its own.
/// In a policy `?` stands for one character.
const SUFFIX: &str = "-??????";

/// Where secrets are whose references have a name in place of an ARN.
#[derive(Clone, Copy, Debug)]
pub(super) struct Home<'a> {
    /// `aws.region`.
    pub region: Option<&'a str>,
    /// `--account`.
    pub account: Option<&'a str>,
}

/// What a reference leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// A secret of Secrets Manager.
    Secret(String),
    /// A parameter of Systems Manager.
    Parameter(String),
}

/// The ARN behind a reference; `None` if AWS does not keep it.
///
/// # Errors
/// With what is not known of a name.
pub(super) fn kept(reference: &str, home: Home<'_>) -> Option<Result<Kept, String>> {
    if let Some(rest) = reference.strip_prefix("aws-sm:") {
        let id = rest.split_once('#').map_or(rest, |(id, _)| id);
        return Some(secret(id, home).map(Kept::Secret));
    }
    let id = reference.strip_prefix("aws-ssm:")?;
    Some(parameter(id, home).map(Kept::Parameter))
}

fn secret(id: &str, home: Home<'_>) -> Result<String, String> {
    if !id.starts_with("arn:") {
        return Ok(format!("{}:secret:{id}{SUFFIX}", place("secretsmanager", id, home)?));
    }
    let is_whole = id.rsplit_once('-').is_some_and(|(_, end)| {
        end.len() + 1 == SUFFIX.len() && end.chars().all(|c| c.is_ascii_alphanumeric())
    });
    Ok(if is_whole { id.to_owned() } else { format!("{id}{SUFFIX}") })
}

/// A version or a label behind a colon is no part of the ARN.
fn parameter(id: &str, home: Home<'_>) -> Result<String, String> {
    let arn = match id.starts_with("arn:") {
        true => id.to_owned(),
        false => format!("{}:parameter/{}", place("ssm", id, home)?, id.trim_start_matches('/')),
    };
    let colons = arn.match_indices(':').nth(5);
    Ok(colons.map_or(arn.as_str(), |(at, _)| &arn[..at]).to_owned())
}

fn place(service: &str, id: &str, home: Home<'_>) -> Result<String, String> {
    let Some(account) = home.account else {
        return Err(format!("the account of `{id}` is not known: add --account, or write its ARN"));
    };
    let region = home.region.ok_or_else(|| format!("the region of `{id}` is not known: set `aws.region`"))?;
    Ok(format!("arn:{}:{service}:{region}:{account}", partition(region)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Home<'_> = Home { region: Some("eu-west-1"), account: Some("123456789012") };

    #[test]
    fn a_name_and_an_arn_are_the_same_secret() {
        let manager = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:fanbridge/stream";
        let secret = |text: &str| Some(Ok(Kept::Secret(text.to_owned())));
        let open = format!("{manager}-??????");
        assert_eq!(kept("aws-sm:fanbridge/stream#key", HOME), secret(&open));
        assert_eq!(kept(&format!("aws-sm:{manager}"), HOME), secret(&open));
        let whole = format!("{manager}-AbCdE1");
        assert_eq!(kept(&format!("aws-sm:{whole}#key"), HOME), secret(&whole));
        assert_eq!(kept("env:NAME", HOME), None);
    }

    #[test]
    fn a_parameter_has_no_slash_too_many_and_no_version() {
        let arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/fanbridge/stream";
        let whole = format!("aws-ssm:{arn}:3");
        for text in ["aws-ssm:/fanbridge/stream", "aws-ssm:fanbridge/stream:3", &whole] {
            assert_eq!(kept(text, HOME), Some(Ok(Kept::Parameter(arn.to_owned()))), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_of_a_name_is_asked_for() {
        let asked = |home| match kept("aws-sm:a", home) {
            Some(Err(problem)) => problem,
            other => panic!("{other:?}"),
        };
        assert!(asked(Home { account: None, ..HOME }).contains("--account"));
        assert!(asked(Home { region: None, ..HOME }).contains("aws.region"));
    }
}
