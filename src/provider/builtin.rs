//! The providers that come with the bridge, each one file in the form that users write too.

use std::sync::{Arc, LazyLock};

use super::compile::Definition;

/// Name and text of every built-in definition.
const FILES: [(&str, &str); 7] = [
    ("fastpix", include_str!("definitions/fastpix.yaml")),
    ("github", include_str!("definitions/github.yaml")),
    ("mux", include_str!("definitions/mux.yaml")),
    ("shopify", include_str!("definitions/shopify.yaml")),
    ("standard-webhooks", include_str!("definitions/standard-webhooks.yaml")),
    ("stream", include_str!("definitions/stream.yaml")),
    ("stripe", include_str!("definitions/stripe.yaml")),
];

static BUILTIN: LazyLock<Vec<Arc<Definition>>> =
    LazyLock::new(|| FILES.iter().map(|(name, text)| Arc::new(read(name, text))).collect());

/// All built-in providers, in order of their names.
pub fn builtin() -> &'static [Arc<Definition>] {
    &BUILTIN
}

/// The built-in provider of this name.
pub fn builtin_named(name: &str) -> Option<Arc<Definition>> {
    BUILTIN.iter().find(|definition| definition.provider == *name).cloned()
}

/// A file that does not compile cannot leave the tests: each of them is read there.
fn read(name: &str, text: &str) -> Definition {
    let file = serde_saphyr::from_str(text)
        .unwrap_or_else(|error| unreachable!("the built-in definition `{name}` is not readable: {error}"));
    Definition::compile(name, file)
        .unwrap_or_else(|problems| unreachable!("the built-in definition `{name}` is wrong: {problems:?}"))
}
