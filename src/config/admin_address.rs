//! Where the admin listener of a configuration is, whatever else the file says.
//!
//! A health check asks this each few seconds. A file that was edited and has an error now, or a secret that
//! only the running bridge can read, must not make a healthy bridge look ill, so nothing else of the file
//! counts here.

use std::net::SocketAddr;

use super::yaml::tree::{self, Node, NodeValue};
use crate::admin::options::LISTEN;
use crate::scalars::Address;

/// The address of `admin.listen` in this text, or the default one if the text names none.
///
/// # Errors
/// When the text is not YAML, or the value is no IP address with a port. The message repeats no part of the
/// text but that value.
pub fn admin_address(text: &str) -> Result<SocketAddr, String> {
    let tree = tree::parse(text).map_err(|error| format!("it is not YAML: {}", error.message))?;
    match value(&tree, "admin").and_then(|admin| value(admin, "listen")) {
        None => Ok(LISTEN),
        Some(Node { value: NodeValue::Scalar { text, .. }, .. }) => {
            text.parse().map(|Address(address)| address).map_err(|problem| format!("admin.listen: {problem}"))
        }
        Some(_) => Err("admin.listen: expected an IP address with a port such as 127.0.0.1:9090".into()),
    }
}

/// The value of a key of a mapping, unless it is empty.
fn value<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let NodeValue::Map(entries) = &node.value else { return None };
    let entry = entries.iter().find(|entry| entry.key == key)?;
    Some(&entry.node).filter(|node| !node.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_a_file_that_could_not_be_used_otherwise() {
        let told = |text: &str| admin_address(text).map(|address| address.to_string());
        let usual = Ok(LISTEN.to_string());
        assert_eq!(told("admin: { listen: \"0.0.0.0:9191\" }\nsinks: nowhere\n"), Ok("0.0.0.0:9191".into()));
        for without in ["", "admin: {}\n", "admin:\n", "admin: { listen: ~ }\n", "- a list\n"] {
            assert_eq!(told(without), usual, "{without}");
        }
        for wrong in ["admin: { listen: localhost }\n", "admin: { listen: [a] }\n", "admin: {\n"] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }
}
