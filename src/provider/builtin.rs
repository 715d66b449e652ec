//! The built-in providers, each a file in the same form as a configured definition.

use std::sync::{Arc, LazyLock};

use super::definition::Definition;

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

/// All built-in providers, ordered by name.
pub fn builtin() -> &'static [Arc<Definition>] {
    &BUILTIN
}

/// The built-in provider with this name.
pub fn builtin_named(name: &str) -> Option<Arc<Definition>> {
    BUILTIN.iter().find(|definition| definition.provider == *name).cloned()
}

/// Compiles a built-in definition. The tests compile each of them, so this cannot fail here.
fn read(name: &str, text: &str) -> Definition {
    let file = serde_saphyr::from_str(text)
        .unwrap_or_else(|error| unreachable!("the built-in definition `{name}` is not readable: {error}"));
    Definition::compile(name, file)
        .unwrap_or_else(|problems| unreachable!("the built-in definition `{name}` is wrong: {problems:?}"))
}
