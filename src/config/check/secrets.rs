//! Reads secrets, settings and files that a configuration names. What AWS keeps is noted first; a second
//! check finds it fetched.

use std::path::Path as FilePath;

use secrecy::SecretString;

use super::Check;
use crate::config::embedded::random_bytes;
use crate::config::yaml::spans::Path;
use crate::reference::{AwsSecret, Reference, path_problem, text_in_file, without_line_end};
use crate::scalars::Setting;

impl Check<'_> {
    /// Checks that a file can be read and returns its path. A `file:` in front is allowed.
    pub(in crate::config) fn readable(&mut self, path: &str, at: &Path) -> Option<std::path::PathBuf> {
        let path = path.strip_prefix("file:").unwrap_or(path);
        if self.check_path(path, at) {
            return None;
        }
        let path = FilePath::new(path);
        match (self.outside.read)(path) {
            Ok(content) if content.is_empty() => {
                self.error(at, "empty file", format!("{} is empty", path.display()));
                None
            }
            Ok(_) => Some(path.into()),
            Err(error) => {
                self.error(at, "unreadable file", format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// Reports a path that would need a shell to expand it. Returns whether it was reported.
    pub(in crate::config) fn check_path(&mut self, path: &str, at: &Path) -> bool {
        let problem = path_problem(path);
        if let Some(problem) = problem {
            self.error(at, "path that is not expanded", problem.into());
        }
        problem.is_some()
    }

    /// Reports a directory that is empty or would need a shell to expand it.
    pub(in crate::config) fn check_dir(&mut self, dir: &FilePath, at: &Path) {
        if dir.as_os_str().is_empty() {
            self.error(at, "empty path", "expected the path of a directory".into());
        }
        self.check_path(&dir.to_string_lossy(), at);
    }

    /// Reads the secret behind a reference. One that [is not read](Self::is_unread) has a value that stands
    /// for it.
    pub(in crate::config) fn secret(&mut self, reference: &Reference, at: &Path) -> Option<SecretString> {
        if let Reference::Aws(secret) = reference {
            return self.aws_secret(secret, at);
        }
        match self.fetch(reference) {
            Ok(text) => Some(text.into()),
            Err(label) => {
                self.error(at, "unreadable reference", label);
                None
            }
        }
    }

    /// Whether its value is not known here, because AWS keeps it and is not asked.
    pub(in crate::config) fn is_unread(&self, reference: &Reference) -> bool {
        matches!(reference, Reference::Aws(_)) && self.fetched.is_none()
    }

    fn aws_secret(&mut self, secret: &AwsSecret, at: &Path) -> Option<SecretString> {
        self.aws_secrets.insert(secret.clone());
        let Some(fetched) = self.fetched else { return self.stand_in(at) };
        match fetched.get(secret) {
            Ok(text) => Some(text),
            Err(unread) => {
                self.error(at, "unreadable reference", unread.problem).passes = unread.passes;
                None
            }
        }
    }

    /// Stands for a secret that AWS was not asked for. Nobody can guess it, in case a bridge should ever
    /// verify with it; and hexadecimal digits are a secret in every encoding.
    fn stand_in(&mut self, at: &Path) -> Option<SecretString> {
        match random_bytes() {
            Ok(bytes) => Some(hex::encode(bytes).into()),
            Err(error) => {
                self.error(at, "no random bytes", format!("cannot read /dev/urandom: {error}"));
                None
            }
        }
    }

    /// The value of a setting, written out or behind a reference.
    pub(in crate::config) fn setting(&mut self, setting: &Setting, at: &Path) -> Option<SecretString> {
        match setting {
            Setting::Text(text) => Some(text.clone().into()),
            Setting::Kept(reference) => self.secret(reference, at),
        }
    }

    fn fetch(&self, reference: &Reference) -> Result<String, String> {
        let text = match reference {
            Reference::Env(name) => (self.outside.env)(name)
                .ok_or_else(|| format!("the environment variable `{name}` is not set"))?,
            Reference::File(path) => text_in_file(path, self.outside.read)?,
            Reference::Aws(secret) => return Err(format!("{secret} is asked of AWS")),
        };
        without_line_end(&text).ok_or_else(|| format!("{reference} is empty"))
    }
}
