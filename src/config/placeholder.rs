//! What `fanbridge init` prints to be replaced, and is still there.

use serde_json::Value as Json;

use super::load::Check;
use super::place::Path;

/// The account in the ARNs and URLs that `fanbridge init` and the documents print. It is nobody's.
pub const PLACEHOLDER_ACCOUNT: &str = "111111111111";

impl Check<'_> {
    /// Warns of each value that has the placeholder for an account.
    pub(super) fn warn_of_placeholders(&mut self, json: &Json, at: &Path) {
        match json {
            Json::String(text) if text.split(['/', ':']).any(|part| part == PLACEHOLDER_ACCOUNT) => {
                let label = format!(
                    "{PLACEHOLDER_ACCOUNT} stands for your AWS account: write its 12 digits, and the region \
                     that this is in"
                );
                self.warning(at, "a placeholder that has not been replaced", label);
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
