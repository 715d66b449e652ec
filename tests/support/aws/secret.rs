//! Secrets in the emulator, as a test makes and replaces them.

use serde_json::{Value as Json, json};

use super::{REGION, unique};
use crate::support::client::Client;

/// A secret of Secrets Manager, or a parameter.
pub struct Secret {
    port: u16,
    /// Its name.
    pub name: String,
    is_parameter: bool,
}

impl Secret {
    /// A secret of Secrets Manager with a name of its own and this text, at the emulator.
    pub fn create(endpoint: &str, name: &str, text: &str) -> Self {
        let secret = Self { port: port_of(endpoint), name: unique(name), is_parameter: false };
        let body = json!({ "Name": secret.name, "SecretString": text, "ClientRequestToken": token() });
        secret.call("secretsmanager", "secretsmanager.CreateSecret", &body);
        secret
    }

    /// An encrypted parameter of Parameter Store.
    pub fn parameter(endpoint: &str, name: &str, text: &str) -> Self {
        let name = format!("/{}", unique(name));
        let secret = Self { port: port_of(endpoint), name, is_parameter: true };
        secret.replace(text);
        secret
    }

    /// Puts another text in its place, as a rotation does.
    pub fn replace(&self, text: &str) {
        if self.is_parameter {
            let body = json!({ "Name": self.name, "Value": text, "Type": "SecureString", "Overwrite": true });
            self.call("ssm", "AmazonSSM.PutParameter", &body);
        } else {
            let body = json!({ "SecretId": self.name, "SecretString": text, "ClientRequestToken": token() });
            self.call("secretsmanager", "secretsmanager.PutSecretValue", &body);
        }
    }

    /// Its ARN.
    pub fn arn(&self) -> String {
        let body = json!({ "SecretId": self.name });
        let described = self.call("secretsmanager", "secretsmanager.DescribeSecret", &body);
        described["ARN"].as_str().expect("a secret has an ARN").to_owned()
    }

    /// The emulator learns the region from the signature, and looks at nothing else of it.
    fn call(&self, service: &str, target: &str, body: &Json) -> Json {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, \
             SignedHeaders=host, Signature=none"
        );
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target),
            ("authorization", &authorization),
        ];
        let answer = Client::new(self.port).post("/", &headers, body.to_string().as_bytes());
        let answer = answer.expect("the emulator answers");
        assert!(answer.is_success(), "{target}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }
}

fn port_of(endpoint: &str) -> u16 {
    let port = endpoint.rsplit(':').next().map(|port| port.trim_end_matches('/'));
    port.and_then(|port| port.parse().ok()).expect("an endpoint with a port")
}

/// What tells one request from its repetition: 32 to 64 characters.
fn token() -> String {
    format!("{:0>40}", unique("t"))
}
