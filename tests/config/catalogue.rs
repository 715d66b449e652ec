//! The built-in catalogue against what the providers' documents say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::documents::{DocumentedType, documented_types};
use crate::verbs::{directory, fanbridge};

#[test]
fn each_type_that_is_documented_is_listed_as_it_is_documented_and_no_other() {
    let listed = fanbridge(&directory(), &["types", "--format", "json"], &[]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let listed: Vec<Value> = serde_json::from_str(&listed.stdout).expect("a list");
    let documented = documented_types();
    assert_eq!(documented.len(), 250);
    let mut rows: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
    for row in &listed {
        let name = |key: &str| row[key].as_str().expect("a name");
        if documented.iter().any(|known| known.provider == name("provider")) {
            assert!(rows.insert((name("provider"), name("type")), row).is_none(), "listed twice: {row}");
        }
    }
    let mut wrong = Vec::new();
    for known in &documented {
        match rows.remove(&(known.provider, known.name)) {
            Some(row) => wrong.extend(differences(known, row)),
            None => wrong.push(format!("{} is not listed", known.name)),
        }
    }
    wrong.extend(rows.values().map(|row| format!("nobody documents {row}")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn differences(known: &DocumentedType, row: &Value) -> Vec<String> {
    let mut expected = vec![
        ("family", json!(known.family)),
        ("channels", json!(known.channels)),
        ("alias", json!(known.alias)),
    ];
    // Where none is documented, the places that are common in the family are tried.
    if let Some(path) = known.key_path {
        expected.push(("key", json!(format!("/{}", path.replace('.', "/")))));
    }
    let differs = |(column, expected): (&str, Value)| {
        let listed = if column == "key" { &row[column][0] } else { &row[column] };
        (*listed != expected).then(|| format!("{}: {column} is {listed}, expected {expected}", known.name))
    };
    expected.into_iter().filter_map(differs).collect()
}
