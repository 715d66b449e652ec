//! The event types as the providers' documents have them: what the bridge's own list is compared
//! with, so never made from it.

/// Columns: provider, type, family, whether a webhook carries it, whether a WebSocket does, where its
/// entity is, its name in the documents.
const TABLE: &str = include_str!("../fixtures/catalogue.tsv");

/// What the documents say about one type.
#[derive(Clone, Debug)]
pub struct DocumentedType {
    pub provider: &'static str,
    pub name: &'static str,
    pub family: &'static str,
    /// `webhook`, `websocket`, in this order.
    pub channels: Vec<&'static str>,
    /// Names with dots between them; `None` if no entity is documented.
    pub key_path: Option<&'static str>,
    /// The name that the documents use, if it is another one.
    pub alias: Option<&'static str>,
}

/// All of them.
pub fn documented_types() -> Vec<DocumentedType> {
    let mut lines = TABLE.lines();
    let header = lines.next().unwrap_or_default();
    assert_eq!(header, "provider\ttype\tfamily\twebhook\twebsocket\tkey_path\tname_in_docs");
    lines.map(documented_type).collect()
}

fn documented_type(line: &'static str) -> DocumentedType {
    let columns: Vec<&str> = line.split('\t').collect();
    let [provider, name, family, webhook, websocket, key_path, name_in_docs] = columns[..] else {
        panic!("seven columns, not {line:?}");
    };
    let channels = [("webhook", webhook), ("websocket", websocket)].into_iter();
    let given = |text: &'static str| Some(text).filter(|text| !text.is_empty());
    DocumentedType {
        provider,
        name,
        family,
        channels: channels.filter(|(_, sent)| *sent == "1").map(|(channel, _)| channel).collect(),
        key_path: given(key_path),
        alias: given(name_in_docs).filter(|alias| *alias != name),
    }
}
