//! Shapes and their changes: what is kept, and its bounds.

use super::*;
use crate::shape::{SHAPE_BYTES_MAX, ShapeNews};
use crate::state::shapes::SHAPES_MAX;
use crate::state::{ChangeShown, KnownShape};

fn known(body: &str) -> KnownShape {
    let mut known = KnownShape::default();
    known.shape.learn(body.as_bytes(), SHAPE_BYTES_MAX);
    known
}

fn change(number: usize, bytes: usize) -> ChangeShown {
    let path = format!("/{number}{}", "x".repeat(bytes));
    ChangeShown { path, what: ShapeNews::New, id: "an-id".into(), at: Timestamp(1) }
}

#[test]
fn shapes_are_there_after_a_restart_and_the_last_one_counts() {
    let (dir, state) = opened();
    assert_eq!((state.shapes().unwrap().len(), state.shape("stream", "a").unwrap()), (0, None));
    let mut newest = known(r#"{"a":1,"b":2}"#);
    newest.note(change(1, 0));
    state.record_shapes(&[("stream", "a", &known("{}")), ("mux", "a", &known("[]"))]).unwrap();
    state.record_shapes(&[("stream", "a", &newest)]).unwrap();
    drop(state);
    let state = State::open(&dir.path().join(FILE_NAME)).unwrap();
    assert_eq!(state.shape("stream", "a").unwrap(), Some(newest));
    let providers: Vec<String> = state.shapes().unwrap().into_iter().map(|row| row.provider).collect();
    assert_eq!(providers, ["mux", "stream"]);
}

#[test]
fn shapes_beyond_the_bounds_are_left_out_and_old_changes_give_way() {
    let (_dir, state) = opened();
    let shape = known("{}");
    let names: Vec<String> = (0..SHAPES_MAX + 5).map(|number| format!("type.{number}")).collect();
    let rows: Vec<_> = names.iter().map(|name| ("stream", name.as_str(), &shape)).collect();
    state.record_shapes(&rows).unwrap();
    state.record_shapes(&[("stream", &"x".repeat(TYPE_NAME_BYTES_MAX + 1), &shape)]).unwrap();
    assert_eq!(state.shapes().unwrap().len(), SHAPES_MAX);

    let mut many = known("{}");
    (0..100).for_each(|number| many.note(change(number, 0)));
    assert!((20..33).contains(&many.changes.len()) && many.changes.last().unwrap().path == "/99");
    (0..100).for_each(|number| many.note(change(number, 700)));
    assert!(many.changes.len() < 5 && many.changes.last().unwrap().path.starts_with("/99"));
    assert!(serde_json::to_vec(&many).unwrap().len() <= many.bytes() + 128);
}
