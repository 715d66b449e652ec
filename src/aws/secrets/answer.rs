//! What is asked of the services that keep secrets, and what their answers mean (pure).

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value as Json;

use super::UnreadSecret;
use crate::aws::refusal::{self, AwsRefusal};
use crate::reference::{AwsSecret, AwsSecretStore, without_line_end};
use crate::telemetry::Shown;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretValue {
    secret_string: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterAnswer {
    parameter: Parameter,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorAnswer {
    #[serde(rename = "__type")]
    code: String,
    #[serde(alias = "Message")]
    message: String,
}

/// The operation and the body of the request that reads a secret.
pub(super) fn question(secret: &AwsSecret) -> (&'static str, String) {
    let id = &secret.id;
    let (target, body) = match secret.store {
        AwsSecretStore::SecretsManager => {
            ("secretsmanager.GetSecretValue", serde_json::json!({ "SecretId": id }))
        }
        AwsSecretStore::ParameterStore => {
            ("AmazonSSM.GetParameter", serde_json::json!({ "Name": id, "WithDecryption": true }))
        }
    };
    (target, body.to_string())
}

/// The secret in an answer.
pub(super) fn secret(
    secret: &AwsSecret,
    status: u16,
    code: Option<&str>,
    body: &[u8],
) -> Result<SecretString, UnreadSecret> {
    if status != 200 {
        return Err(refused(secret, status, code, body));
    }
    let wrong = |problem: &str| UnreadSecret { problem: problem.into(), passes: false };
    // The parser's message could repeat a part of the secret.
    let unknown = || wrong("the answer is none that the service gives: look at `aws.endpoint`");
    let text = match secret.store {
        AwsSecretStore::SecretsManager => {
            let value: SecretValue = serde_json::from_slice(body).map_err(|_| unknown())?;
            value
                .secret_string
                .ok_or_else(|| wrong("the secret is binary, expected text: store it as `SecretString`"))?
        }
        AwsSecretStore::ParameterStore => {
            let answer: ParameterAnswer = serde_json::from_slice(body).map_err(|_| unknown())?;
            answer.parameter.value
        }
    };
    let text = match &secret.key {
        None => text,
        Some(key) => member(&text, key).map_err(wrong)?,
    };
    without_line_end(&text).map(Into::into).ok_or_else(|| wrong("it is empty"))
}

/// The text of a member of a JSON object.
fn member(text: &str, key: &str) -> Result<String, &'static str> {
    match serde_json::from_str::<Json>(text) {
        Ok(Json::Object(mut object)) => match object.remove(key) {
            Some(Json::String(text)) => Ok(text),
            Some(_) => Err("the key behind `#` has no text in the secret's JSON object"),
            None => Err("the secret's JSON object does not have the key behind `#`"),
        },
        _ => Err("the secret is no JSON object, so leave `#` and the key out"),
    }
}

fn refused(secret: &AwsSecret, status: u16, code: Option<&str>, body: &[u8]) -> UnreadSecret {
    let told: ErrorAnswer = serde_json::from_slice(body).unwrap_or_default();
    // Behind the code of the header, a colon may be followed by where it is documented.
    let code = code.map_or(&*told.code, |code| code.split(':').next().unwrap_or_default());
    let code = refusal::bare(code);
    let (service, call) = match secret.store {
        AwsSecretStore::SecretsManager => ("Secrets Manager", "secretsmanager:GetSecretValue"),
        AwsSecretStore::ParameterStore => ("Parameter Store", "ssm:GetParameter"),
    };
    let message = Shown(&told.message).to_string();
    let message = if message.is_empty() { format!("HTTP status {status}") } else { message };
    let (problem, passes) = match (code, refusal::told(code, &told.message)) {
        ("ResourceNotFoundException" | "ParameterNotFound" | "ParameterVersionNotFound", _) => {
            let place = "look at the name, at the region, and at the account of the credentials";
            (format!("{service} has no such secret ({message}): {place}"), false)
        }
        (_, Some(AwsRefusal::Denied)) => {
            let need = "and `kms:Decrypt` on its key, if that is one of yours";
            (format!("AWS refuses to show it ({message}): allow the role `{call}` on it, {need}"), false)
        }
        (_, Some(AwsRefusal::Credentials)) => {
            (format!("AWS does not know the credentials ({code}: {message})"), false)
        }
        (_, Some(AwsRefusal::Clock)) => {
            (format!("this machine's clock is wrong ({code}: {message}): set it"), false)
        }
        (_, Some(AwsRefusal::Throttled | AwsRefusal::Service | AwsRefusal::Expired)) => {
            (format!("{service} cannot answer now ({code}: {message})"), true)
        }
        _ if status >= 500 || status == 429 => (format!("{service} cannot answer now ({message})"), true),
        _ => (format!("{service} refuses ({code}: {message})"), false),
    };
    UnreadSecret { problem, passes }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use secrecy::ExposeSecret;

    use super::*;
    use crate::reference::Reference;

    fn reference(text: &str) -> AwsSecret {
        match text.parse().unwrap() {
            Reference::Aws(secret) => secret,
            _ => panic!("{text} is another kind"),
        }
    }

    fn read(text: &str, status: u16, body: &str) -> Result<String, UnreadSecret> {
        secret(&reference(text), status, None, body.as_bytes()).map(|text| text.expose_secret().to_owned())
    }

    #[test]
    fn a_secret_is_the_text_of_an_answer_or_one_member_of_its_json() {
        let manager = r#"{"Name":"a","SecretString":"hunter2\n","VersionStages":["AWSCURRENT"]}"#;
        assert_eq!(read("aws-sm:a", 200, manager).unwrap(), "hunter2");
        let object = r#"{"SecretString":"{\"user\":\"me\",\"secret\":\"hunter2\",\"n\":1}"}"#;
        assert_eq!(read("aws-sm:a#secret", 200, object).unwrap(), "hunter2");
        let parameter = r#"{"Parameter":{"Name":"/a","Type":"SecureString","Value":"hunter2","Version":3}}"#;
        assert_eq!(read("aws-ssm:/a", 200, parameter).unwrap(), "hunter2");
    }

    #[test]
    fn an_answer_without_a_usable_secret_is_a_problem_that_repeats_none_of_it() {
        let object = r#"{"SecretString":"{\"secret\":\"hunter2\",\"n\":1}"}"#;
        for (text, body, said) in [
            ("aws-sm:a#other", object, "does not have the key behind `#`"),
            ("aws-sm:a#n", object, "has no text"),
            ("aws-sm:a#b", r#"{"SecretString":"hunter2"}"#, "no JSON object"),
            ("aws-sm:a", r#"{"SecretBinary":"aHVudGVyMg=="}"#, "is binary"),
            ("aws-sm:a", r#"{"SecretString":" \n"}"#, "empty"),
            ("aws-sm:a", r#"{"SecretString":hunter2}"#, "`aws.endpoint`"),
            ("aws-ssm:/a", r#"{"SecretString":"hunter2"}"#, "`aws.endpoint`"),
        ] {
            let unread = read(text, 200, body).unwrap_err();
            assert!(unread.problem.contains(said) && !unread.passes, "{unread}");
            assert!(!unread.problem.contains("hunter2"), "{unread}");
        }
    }

    #[test]
    fn what_can_be_over_by_itself_is_told_from_what_needs_a_person() {
        let error = |code: &str| format!(r#"{{"__type":"x#{code}","message":"why"}}"#);
        for (status, code, said, passes) in [
            (400, "ResourceNotFoundException", "has no such secret (why)", false),
            (400, "ParameterNotFound", "has no such secret", false),
            (400, "AccessDeniedException", "allow the role `secretsmanager:GetSecretValue`", false),
            (400, "UnrecognizedClientException", "does not know the credentials", false),
            (400, "RequestExpired", "clock is wrong", false),
            (400, "ThrottlingException", "cannot answer now", true),
            (400, "ExpiredTokenException", "cannot answer now", true),
            (500, "InternalServiceError", "cannot answer now", true),
            (400, "InvalidRequestException", "refuses (InvalidRequestException: why)", false),
        ] {
            let unread = read("aws-sm:a", status, &error(code)).unwrap_err();
            assert!(unread.problem.contains(said), "{code}: {unread}");
            assert_eq!(unread.passes, passes, "{code}");
        }
        let of_header = "AccessDeniedException:http://internal.example/";
        let unread = secret(&reference("aws-ssm:/a"), 400, Some(of_header), b"").unwrap_err();
        assert!(unread.problem.contains("`ssm:GetParameter`"), "{unread}");
    }
}
