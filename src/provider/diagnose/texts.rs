//! The texts that a sender may have signed around the body: with or without timestamp and id, wherever the
//! headers state them.

use http::{HeaderMap, HeaderName};

use crate::provider::scheme::{HmacScheme, Part, TimestampPlace};

/// Most texts that are tried.
const TEXTS_MAX: usize = 64;
/// Most timestamps, and most ids, that are taken from the headers.
const STATED_MAX: usize = 8;
/// Digits of a timestamp, from seconds to nanoseconds.
const DIGITS: std::ops::RangeInclusive<usize> = 9..=20;
/// Longest id in bytes.
const ID_BYTES_MAX: usize = 256;

/// What is in front of the body in the signed text.
pub(super) struct SignedText {
    pub lead: Vec<u8>,
    /// The timestamp that is a part of it.
    pub timestamp: Option<String>,
    pub faults: Vec<TextFault>,
}

/// How the signed text differs from what the definition says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextFault {
    /// It has other parts.
    OtherParts {
        /// The signed text, as a definition writes it.
        found: String,
        /// What the definition says.
        expected: String,
        /// The keys of a definition that says so.
        keys: String,
        /// Whether two placeholders stand side by side, which no definition can say.
        adjoining: bool,
    },
    /// A part is stated elsewhere.
    OtherPlace {
        /// `timestamp` or `id`.
        part: &'static str,
        /// Where it is.
        found: String,
        /// Where the definition looks for it.
        expected: String,
        /// The key of a definition that looks there.
        key: String,
    },
}

impl TextFault {
    /// What the signature shows.
    pub fn cause(&self) -> String {
        match self {
            Self::OtherParts { found, expected, .. } => {
                format!("the signature is over `{found}`, expected over `{expected}`")
            }
            Self::OtherPlace { part, found, expected, .. } => {
                format!("the {part} that was signed is in {found}, expected in {expected}")
            }
        }
    }

    /// What to change in the definition, or an error that says what to do instead.
    pub(super) fn keys(&self) -> Result<&str, &'static str> {
        match self {
            Self::OtherParts { adjoining: true, .. } => Err(
                "have the sender sign a text with something between its parts, such as a full stop: else \
                     bytes of one part can pass for bytes of the other",
            ),
            Self::OtherParts { keys, .. } => Ok(keys),
            Self::OtherPlace { key, .. } => Ok(key),
        }
    }
}

/// A timestamp or an id, and where it is stated.
struct Stated<P> {
    place: P,
    value: String,
}

/// All texts to try. Those that the definition describes come first; their number comes with them, and is 0
/// if a part of the text is not stated.
pub(super) fn texts(scheme: &HmacScheme, headers: &HeaderMap) -> (Vec<SignedText>, usize) {
    let (ids, stamps) = (ids(scheme, headers), stamps(scheme, headers));
    let mut texts: Vec<SignedText> = Vec::new();
    for parts in std::iter::once(scheme.signed.clone()).chain(known_parts()) {
        for id in choices(&ids, parts.contains(&Part::Id)) {
            for stamp in choices(&stamps, parts.contains(&Part::Timestamp)) {
                let lead = lead(&parts, id.map(|id| &*id.value), stamp.map(|stamp| &*stamp.value));
                if texts.len() == TEXTS_MAX || texts.iter().any(|text| text.lead == lead) {
                    continue;
                }
                let timestamp = stamp.map(|stamp| stamp.value.clone());
                texts.push(SignedText { lead, timestamp, faults: faults(scheme, &parts, id, stamp) });
            }
        }
    }
    texts.sort_by_key(|text| text.faults.len());
    let described = texts.iter().take_while(|text| text.faults.is_empty()).count();
    (texts, described)
}

/// Each of the values if one is needed, else nothing, once.
fn choices<T>(values: &[T], needed: bool) -> Vec<Option<&T>> {
    if needed { values.iter().map(Some).collect() } else { vec![None] }
}

/// The texts that senders sign, beside the one that the definition describes.
fn known_parts() -> [Vec<Part>; 7] {
    let text = |text: &str| Part::Text(text.into());
    let (id, timestamp, body) = (Part::Id, Part::Timestamp, Part::Body);
    [
        vec![body.clone()],
        vec![timestamp.clone(), text("."), body.clone()],
        vec![timestamp.clone(), text(":"), body.clone()],
        vec![timestamp.clone(), body.clone()],
        vec![text("v0:"), timestamp.clone(), text(":"), body.clone()],
        vec![id.clone(), text("."), timestamp, text("."), body.clone()],
        vec![id, text("."), body],
    ]
}

/// The bytes in front of the body, which every definition puts last.
fn lead(parts: &[Part], id: Option<&str>, timestamp: Option<&str>) -> Vec<u8> {
    let written = parts.iter().map(|part| match part {
        Part::Text(text) => text.as_str(),
        Part::Id => id.unwrap_or_default(),
        Part::Timestamp => timestamp.unwrap_or_default(),
        Part::Body => "",
    });
    written.collect::<String>().into_bytes()
}

/// The text as a definition writes it.
fn template(parts: &[Part]) -> String {
    let written = parts.iter().map(|part| match part {
        Part::Text(text) => text.as_str(),
        Part::Id => "{id}",
        Part::Timestamp => "{timestamp}",
        Part::Body => "{body}",
    });
    written.collect()
}

fn faults(
    scheme: &HmacScheme,
    parts: &[Part],
    id: Option<&Stated<HeaderName>>,
    stamp: Option<&Stated<TimestampPlace>>,
) -> Vec<TextFault> {
    let expected_place = scheme.timestamp.as_ref().map(|rule| &rule.place);
    let mut keys = Vec::new();
    let mut faults = Vec::new();
    if let Some(Stated { place, .. }) = stamp.filter(|stamp| Some(&stamp.place) != expected_place) {
        let key = format!("`timestamp: {}`", timestamp_key(place));
        keys.push(key.clone());
        faults.extend(expected_place.map(|expected| TextFault::OtherPlace {
            part: "timestamp",
            found: place_of(place),
            expected: place_of(expected),
            key,
        }));
    }
    if let Some(Stated { place, .. }) = id.filter(|id| Some(&id.place) != scheme.id_header.as_ref()) {
        let key = format!("`id_header: {place}`");
        keys.push(key.clone());
        faults.extend(scheme.id_header.as_ref().map(|expected| TextFault::OtherPlace {
            part: "id",
            found: format!("`{place}`"),
            expected: format!("`{expected}`"),
            key,
        }));
    }
    if parts == scheme.signed {
        return faults;
    }
    keys.insert(0, format!("`signed: \"{}\"`", template(parts)));
    if stamp.is_none() && expected_place.is_some() {
        keys.push("no `timestamp`".into());
    }
    if id.is_none() && scheme.id_header.is_some() {
        keys.push("no `id_header`".into());
    }
    let adjoining = parts.windows(2).any(|pair| !pair.iter().any(|part| matches!(part, Part::Text(_))));
    let (found, expected) = (template(parts), template(&scheme.signed));
    vec![TextFault::OtherParts { found, expected, keys: keys.join(", "), adjoining }]
}

/// A place of the timestamp, in words.
pub(super) fn place_of(place: &TimestampPlace) -> String {
    match place {
        TimestampPlace::Header(name) => format!("`{name}`"),
        TimestampPlace::Field(name) => format!("the field `{name}` of the signature's header"),
    }
}

fn timestamp_key(place: &TimestampPlace) -> String {
    match place {
        TimestampPlace::Header(name) => format!("{{ header: {name} }}"),
        TimestampPlace::Field(name) => format!("{{ field: {name} }}"),
    }
}

/// Every timestamp in the headers, the expected ones first.
fn stamps(scheme: &HmacScheme, headers: &HeaderMap) -> Vec<Stated<TimestampPlace>> {
    let mut stamps: Vec<Stated<TimestampPlace>> = Vec::new();
    let mut add = |place: TimestampPlace, value: &str| {
        if stamps.len() < STATED_MAX && !stamps.iter().any(|one| one.place == place && one.value == value) {
            stamps.push(Stated { place, value: value.into() });
        }
    };
    let expected = scheme.timestamp.as_ref().map(|rule| &rule.place);
    match expected {
        Some(TimestampPlace::Header(name)) => {
            texts_of(headers, name).for_each(|text| add(TimestampPlace::Header(name.clone()), text));
        }
        Some(TimestampPlace::Field(name)) => {
            let fields = texts_of(headers, &scheme.header).flat_map(fields);
            fields
                .filter(|(field, _)| field == name)
                .for_each(|(_, text)| add(TimestampPlace::Field(name.clone()), text));
        }
        None => {}
    }
    let is_stamp = |text: &str| DIGITS.contains(&text.len()) && text.bytes().all(|c| c.is_ascii_digit());
    for (name, value) in headers {
        let Ok(text) = value.to_str() else { continue };
        if is_stamp(text) {
            add(TimestampPlace::Header(name.clone()), text);
        }
        for (field, text) in fields(text).filter(|(_, text)| is_stamp(text)) {
            add(TimestampPlace::Field(field.into()), text);
        }
    }
    stamps
}

/// Every id in the headers, the expected one first.
fn ids(scheme: &HmacScheme, headers: &HeaderMap) -> Vec<Stated<HeaderName>> {
    let expected = scheme.id_header.iter();
    let others = headers.keys().filter(|name| name.as_str().ends_with("id"));
    let mut ids: Vec<Stated<HeaderName>> = Vec::new();
    for name in expected.chain(others) {
        for text in texts_of(headers, name).filter(|text| (1..=ID_BYTES_MAX).contains(&text.len())) {
            if ids.len() < STATED_MAX && !ids.iter().any(|id| id.place == name && id.value == text) {
                ids.push(Stated { place: name.clone(), value: text.into() });
            }
        }
    }
    ids
}

fn texts_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> + use<'a> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// The fields of a header of the form `name=value,name=value`.
fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_name = |name: &str| {
        (1..=16).contains(&name.len())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c))
    };
    let fields = text.split(',').take(64).filter_map(|field| field.trim_matches(' ').split_once('='));
    fields.filter(move |(name, _)| is_name(name))
}
