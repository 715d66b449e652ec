//! References to what a configuration does not contain itself: `env:NAME`, `file:PATH`, and what AWS keeps,
//! `aws-sm:NAME` and `aws-ssm:NAME`.
//!
//! A reference says where a value is kept and never contains the value. A file that a reference names is
//! read up to a bound: a path that is named by mistake can have no end, as `/dev/zero` has none.

mod aws;

pub use self::aws::{AwsSecret, AwsSecretStore};

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use secrecy::SecretString;

/// Largest file in bytes; secrets, certificates and configurations are smaller.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The mark that some editors put invisibly in front of UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How a reference is written, for messages.
pub const FORMS: &str = "`env:NAME`, `file:PATH`, `aws-sm:NAME` or `aws-ssm:NAME`";

/// Whether a text is meant as a reference, by how it begins.
pub fn is_reference(text: &str) -> bool {
    ["env:", "file:", "aws-sm:", "aws-ssm:"].iter().any(|kind| text.starts_with(kind))
}

/// A reference to a secret: an environment variable, a file, or what AWS keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An environment variable.
    Env(String),
    /// A file; a line break at its end is ignored.
    File(PathBuf),
    /// A secret of AWS Secrets Manager or a parameter of Systems Manager.
    Aws(AwsSecret),
}

impl FromStr for Reference {
    type Err = String;

    /// The error never repeats the text, which could be the secret itself, pasted by mistake.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("env:") {
            let portable = |c: char| c.is_ascii_alphanumeric() || c == '_';
            return match name.chars().all(portable) && name.starts_with(|c: char| !c.is_ascii_digit()) {
                true => Ok(Self::Env(name.into())),
                false => Err("the name of an environment variable has letters, digits and `_` only".into()),
            };
        }
        if let Some(secret) = AwsSecret::parse(text) {
            return secret.map(Self::Aws).map_err(str::to_owned);
        }
        match text.strip_prefix("file:") {
            Some("") => Err("expected the path of a file after `file:`".into()),
            Some(path) => {
                path_problem(path).map_or_else(|| Ok(Self::File(path.into())), |problem| Err(problem.into()))
            }
            None => Err(format!("write a secret as {FORMS}, never the secret itself")),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Aws(secret) => secret.fmt(f),
        }
    }
}

/// Why a path would need a shell to expand it, `None` if it does not.
pub fn path_problem(path: &str) -> Option<&'static str> {
    let variable = |(_, rest): (&str, &str)| {
        rest.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '{' | '_'))
    };
    if path.starts_with('~') {
        return Some(
            "`~` is not expanded to the home directory: write the whole path, such as `/home/me/data`",
        );
    }
    path.split_once('$')
        .is_some_and(variable)
        .then_some("`$` is not expanded as a variable: write the whole path, such as `/home/me/data`")
}

/// The content of a file that a configuration names: a secret, a certificate or a key.
///
/// # Errors
/// When the file cannot be read, is not a regular file, or is larger than 1 MiB. A path named by
/// mistake could have no end, and a pipe might never begin.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Checked before it is opened: opening a pipe waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file, as a secret or a certificate has to be"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    match content.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other("it is larger than 1 MiB, which no secret and no certificate is")),
        false => Ok(content),
    }
}

/// The secret that a file has now, checked as strictly as at the start.
///
/// # Errors
/// When the file cannot be read or has no secret. The message names the file and repeats none of its
/// content.
pub fn secret_in_file(path: &Path) -> Result<SecretString, String> {
    let text = without_line_end(&text_in_file(path, &read_file)?);
    text.map(Into::into).ok_or_else(|| format!("{} is empty", path.display()))
}

/// The text of a file, read by `read`.
///
/// # Errors
/// When the file cannot be read, begins with a byte order mark or is not UTF-8. The message names the file
/// and repeats none of its content.
pub fn text_in_file(path: &Path, read: &dyn Fn(&Path) -> io::Result<Vec<u8>>) -> Result<String, String> {
    let content = read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if content.starts_with(BYTE_ORDER_MARK) {
        let advice = "which would count as part of the secret: save the file without it";
        return Err(format!("{} begins with a byte order mark, {advice}", path.display()));
    }
    String::from_utf8(content).map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

/// The text without the line break with which editors and `echo` end a file. `None` if nothing else
/// is left.
pub fn without_line_end(text: &str) -> Option<String> {
    let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
    (!text.trim().is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_that_only_a_shell_would_expand_is_refused() {
        for path in ["~/data", "~me/data", "$HOME/data", "/a/${NAME}/b", "/a/$_b"] {
            assert!(path_problem(path).is_some(), "{path}");
            assert!(format!("file:{path}").parse::<Reference>().is_err(), "{path}");
        }
        for path in ["data", "/a/b~", "/a/$", "/a/$1", "./~data"] {
            assert!(path_problem(path).is_none(), "{path}");
        }
    }

    #[test]
    fn a_secret_pasted_as_itself_is_refused_without_being_repeated() {
        for text in [
            "hunter2-canary",
            "env:hunter2-canary",
            "file:",
            "env:",
            "ENV:hunter2",
            "aws-sm:hunter2 canary",
            "aws-ssm:hunter2 canary",
            "aws:hunter2",
        ] {
            let problem = text.parse::<Reference>().unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
