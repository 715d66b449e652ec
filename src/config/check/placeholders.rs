//! The check for placeholders that `fanbridge init` prints and the user has to replace.

use serde_json::Value as Json;

use super::Check;
use crate::config::yaml::spans::Path;

/// The account in the ARNs and URLs that `fanbridge init` and the documents print. It belongs to nobody.
pub const PLACEHOLDER_ACCOUNT: &str = "111111111111";

impl Check<'_> {
    /// Warns about each value with the placeholder of an account.
    pub(in crate::config) fn warn_of_placeholders(&mut self, json: &Json, at: &Path) {
        match json {
            Json::String(text) if text.split(['/', ':']).any(|part| part == PLACEHOLDER_ACCOUNT) => {
                let label = format!(
                    "replace {PLACEHOLDER_ACCOUNT} by the 12 digits of your AWS account, and check the \
                     region"
                );
                self.warning(at, "unreplaced placeholder", label);
            }
            Json::Array(list) => {
                list.iter()
                    .enumerate()
                    .for_each(|(index, json)| self.warn_of_placeholders(json, &at.index(index)));
            }
            Json::Object(map) => {
                map.iter().for_each(|(key, json)| self.warn_of_placeholders(json, &at.key(key)));
            }
            _ => {}
        }
    }
}
