//! Compiles the signature part of a definition. A contradiction or ambiguity is a problem, before the
//! first delivery arrives.

use super::Compiler;
use crate::provider::definition_file::{FormFile, SchemeFile, SignatureFile, TimestampFile};
use crate::provider::scheme::{Algorithm, Form, HmacScheme, Part, Scheme, TimestampPlace, TimestampRule};
use crate::provider::secret::SecretForm;

/// What Stripe's API keys begin with: people take them for the signing secret, `whsec_…`.
const STRIPE_API_KEYS: [&str; 3] = ["sk_", "rk_", "pk_"];

impl Compiler {
    pub(super) fn signature(&mut self, provider: &str, file: &SignatureFile) -> Scheme {
        let secret = SecretForm {
            encoding: file.secret_encoding,
            prefix: file.secret_prefix.clone(),
            api_key_prefixes: if provider == "stripe" { &STRIPE_API_KEYS } else { &[] },
        };
        let algorithm = match file.scheme {
            SchemeFile::HmacSha1 => Some(Algorithm::Sha1),
            SchemeFile::HmacSha256 => Some(Algorithm::Sha256),
            SchemeFile::HmacSha512 => Some(Algorithm::Sha512),
            SchemeFile::None => None,
        };
        if algorithm.is_none() != file.insecure_no_verification {
            let message = match algorithm {
                None => "must be true with `scheme: none`, because anybody can then send events",
                Some(_) => "contradicts the scheme, expected only with `scheme: none`",
            };
            self.problem(&["signature", "insecure_no_verification"], message);
        }
        let open = algorithm.is_none();
        Scheme { hmac: algorithm.and_then(|algorithm| self.hmac(algorithm, file)), open, secret }
    }

    fn hmac(&mut self, algorithm: Algorithm, file: &SignatureFile) -> Option<HmacScheme> {
        let header = self.header(file.header.as_deref(), &["signature", "header"]);
        if file.header.is_none() {
            self.problem(&["signature", "header"], "is missing, expected the header with the signature");
        }
        let form = self.form(file);
        let id_header = self.header(file.id_header.as_deref(), &["signature", "id_header"]);
        let timestamp = file.timestamp.as_ref().and_then(|stamp| self.timestamp(stamp, file));
        let stamp_header = match timestamp.as_ref().map(|rule| &rule.place) {
            Some(TimestampPlace::Header(name)) => Some(name),
            _ => None,
        };
        let others: [(&[&str], _); 2] = [
            (&["signature", "id_header"], id_header.as_ref()),
            (&["signature", "timestamp", "header"], stamp_header),
        ];
        for (path, other) in others {
            if other.is_some() && other == header.as_ref() {
                self.problem(path, "is the header with the signature, expected another header");
            }
        }
        let signed = self.template(file);
        Some(HmacScheme {
            algorithm,
            header: header?,
            form: form?,
            encoding: file.encoding,
            signed,
            id_header,
            timestamp,
        })
    }

    fn form(&mut self, file: &SignatureFile) -> Option<Form> {
        let single = file.form == FormFile::Single;
        if !single && file.prefix.is_some() {
            self.problem(&["signature", "prefix"], "has no effect here, expected only with `form: single`");
        }
        match (&file.version, single) {
            (None, true) => Some(Form::Single { prefix: file.prefix.clone().unwrap_or_default() }),
            (Some(version), false) if is_token(version) => {
                let version = version.clone();
                Some(match file.form {
                    FormFile::Fields => Form::Fields { version },
                    _ => Form::Versions { version },
                })
            }
            (Some(_), true) => {
                self.problem(
                    &["signature", "version"],
                    "has no effect with `form: single`, expected `form: versions` or `form: fields`",
                );
                None
            }
            (_, false) => {
                self.problem(&["signature", "version"], "expected the name of a signature, such as `v1`");
                None
            }
        }
    }

    fn timestamp(&mut self, file: &TimestampFile, of: &SignatureFile) -> Option<TimestampRule> {
        let place = match (&file.header, &file.field) {
            (Some(name), None) => {
                TimestampPlace::Header(self.header(Some(name), &["signature", "timestamp", "header"])?)
            }
            (None, Some(name)) if of.version.as_ref() == Some(name) => {
                let message = "is the field with the signature (`version`), expected another field";
                self.problem(&["signature", "timestamp", "field"], message);
                return None;
            }
            (None, Some(name)) if of.form == FormFile::Fields && is_token(name) => {
                TimestampPlace::Field(name.clone())
            }
            (None, Some(_)) => {
                let message = "expected the name of a field of the signature header, with `form: fields`";
                self.problem(&["signature", "timestamp", "field"], message);
                return None;
            }
            _ => {
                self.problem(&["signature", "timestamp"], "expected either `header` or `field`");
                return None;
            }
        };
        Some(TimestampRule { place, tolerance_seconds: file.tolerance_seconds })
    }

    /// The signed text. It must contain each part that a header states, and no part that none states.
    fn template(&mut self, file: &SignatureFile) -> Vec<Part> {
        let path = &["signature", "signed"];
        let parts = match parts(file.signed.as_deref().unwrap_or("{body}")) {
            Ok(parts) => parts,
            Err(message) => {
                self.problem(path, message);
                return Vec::new();
            }
        };
        let wanted = [
            (Part::Body, true, "{body}", "the body"),
            (Part::Id, file.id_header.is_some(), "{id}", "`id_header`"),
            (Part::Timestamp, file.timestamp.is_some(), "{timestamp}", "`timestamp`"),
        ];
        for (part, stated, place, whence) in wanted {
            match (parts.iter().filter(|other| **other == part).count(), stated) {
                (1, true) | (0, false) => {}
                (0, true) => {
                    let message = format!("lacks `{place}`, expected it once, because {whence} is given");
                    self.problem(path, message);
                }
                (_, false) => self.problem(path, format!("has `{place}`, but {whence} is not given")),
                (_, true) => self.problem(path, format!("has `{place}` more than once")),
            }
        }
        let adjoining = parts.windows(2).any(|pair| !pair.iter().any(|part| matches!(part, Part::Text(_))));
        let body_last = parts.last() == Some(&Part::Body) || !parts.contains(&Part::Body);
        if adjoining || !body_last {
            let message =
                "is ambiguous, expected text between two placeholders, and `{body}` as the last one";
            self.problem(path, message);
        }
        parts
    }
}

/// The parts of a signed text.
fn parts(template: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find(['{', '}']) {
        let place = rest[start..].split_inclusive('}').next().unwrap_or_default();
        if start > 0 {
            parts.push(Part::Text(rest[..start].into()));
        }
        parts.push(match place {
            "{id}" => Part::Id,
            "{timestamp}" => Part::Timestamp,
            "{body}" => Part::Body,
            other => {
                return Err(format!(
                    "`{other}` is unknown, expected `{{id}}`, `{{timestamp}}` or `{{body}}`"
                ));
            }
        });
        rest = &rest[start + place.len()..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(parts)
}

/// Whether a text can be the name of an entry in a signature header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}
