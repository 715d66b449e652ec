//! Reads secrets, settings and files that a configuration names.

use std::path::Path as FilePath;

use secrecy::SecretString;

use super::Check;
use crate::config::yaml::spans::Path;
use crate::reference::{Reference, path_problem, text_in_file, without_line_end};
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

    /// Reads the secret behind a reference.
    pub(in crate::config) fn secret(&mut self, reference: &Reference, at: &Path) -> Option<SecretString> {
        match self.fetch(reference) {
            Ok(text) => Some(text.into()),
            Err(label) => {
                self.error(at, "unreadable reference", label);
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
        };
        without_line_end(&text).ok_or_else(|| format!("{reference} is empty"))
    }
}
