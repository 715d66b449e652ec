//! By which rules an event is judged (pure).
//!
//! An event that was admitted under a configuration goes to the sinks that take its type by that
//! configuration, whichever one is used when a dispatcher gets to the event: what was accepted for a sink is
//! not withheld from it, and what was left out does not come in later. Its topic is that of the configuration
//! of now: one that was written wrong must not hold events for ever. A copy for a single sink, and an event
//! of which the configuration is not known, are judged by the rules of now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::event::{Event, Fingerprint};
use crate::routing::TopicTemplate;
use crate::selection::Selection;
use crate::state::CONFIGURATIONS_MAX;

/// What one configuration lets through to its sinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The configuration.
    pub fingerprint: Fingerprint,
    /// The rules of each sink.
    pub sinks: BTreeMap<String, SinkRules>,
}

/// The rules of one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkRules {
    /// Which events it takes.
    pub selection: Selection,
    /// The template of their topics.
    pub topic: TopicTemplate,
}

impl SinkRules {
    /// Of a sink that no configuration has: it takes nothing.
    fn of_nobody() -> Self {
        let topic = TopicTemplate::parse(TopicTemplate::DEFAULT);
        let topic = topic.unwrap_or_else(|_| unreachable!("the default is a template"));
        Self { selection: Selection::none(), topic }
    }
}

/// The selections of a configuration's sinks.
type Selections = BTreeMap<String, Arc<Selection>>;

/// The rules of the configuration of now, and the selections of those under which events in the log were
/// admitted. Dispatchers share it.
#[derive(Debug)]
pub struct RuleBook {
    pages: RwLock<Pages>,
    /// How many configurations have begun.
    edition: AtomicU64,
}

#[derive(Debug)]
struct Pages {
    current: Rules,
    /// The selections of earlier configurations, in the order in which they ended; as many as the state
    /// keeps.
    earlier: VecDeque<(Fingerprint, Selections)>,
    /// The last rules of sinks that the current configuration does not have: their dispatchers can still run.
    removed: BTreeMap<String, SinkRules>,
}

impl Pages {
    fn add(&mut self, fingerprint: Fingerprint, sinks: BTreeMap<String, Selection>) {
        // Most configurations change few selections of the one before.
        let before = self.earlier.back().map(|(_, sinks)| sinks);
        let shared = |selection: Selection| {
            let known = before.into_iter().flatten().map(|(_, known)| known);
            let same = known.into_iter().find(|known| ***known == selection).cloned();
            same.unwrap_or_else(|| Arc::new(selection))
        };
        let sinks = sinks.into_iter().map(|(name, selection)| (name, shared(selection))).collect();
        self.earlier.retain(|(known, _)| *known != fingerprint);
        self.earlier.push_back((fingerprint, sinks));
        if self.earlier.len() > CONFIGURATIONS_MAX {
            self.earlier.pop_front();
        }
    }

    fn of(&self, sink: &str, admitted_under: Option<Fingerprint>) -> SinkRules {
        let current = self.current.sinks.get(sink);
        let Some(latest) = current.or_else(|| self.removed.get(sink)) else { return SinkRules::of_nobody() };
        // A sink that was removed gets nothing that came since.
        let of_now = || current.map_or_else(Selection::none, |rules| rules.selection.clone());
        let is_current = admitted_under == Some(self.current.fingerprint);
        let selection = match self.earlier.iter().find(|(known, _)| Some(*known) == admitted_under) {
            _ if is_current => of_now(),
            Some((_, sinks)) => sinks.get(sink).map_or_else(of_now, |selection| Selection::clone(selection)),
            None => latest.selection.clone(),
        };
        SinkRules { selection, topic: latest.topic.clone() }
    }
}

impl RuleBook {
    /// The rules of the configuration of now, and the selections of the sinks of earlier ones.
    pub fn new(
        current: Rules,
        earlier: impl IntoIterator<Item = (Fingerprint, BTreeMap<String, Selection>)>,
    ) -> Self {
        let mut pages = Pages { current, earlier: VecDeque::new(), removed: BTreeMap::new() };
        earlier.into_iter().for_each(|(fingerprint, sinks)| pages.add(fingerprint, sinks));
        Self { pages: RwLock::new(pages), edition: AtomicU64::new(0) }
    }

    /// Begins another configuration. It has to begin before an event is admitted under it.
    pub fn begin(&self, rules: Rules) {
        let mut pages = self.pages.write();
        let former = std::mem::replace(&mut pages.current, rules);
        let selections = former.sinks.iter().map(|(name, rules)| (name.clone(), rules.selection.clone()));
        pages.add(former.fingerprint, selections.collect());
        pages.removed.extend(former.sinks);
        let Pages { current, removed, .. } = &mut *pages;
        removed.retain(|name, _| !current.sinks.contains_key(name));
        self.edition.fetch_add(1, Ordering::Release);
    }

    /// The fingerprint of the configuration of now.
    pub fn current(&self) -> Fingerprint {
        self.pages.read().current.fingerprint
    }

    /// The rules by which a sink judges an event that was admitted under this configuration: the selection of
    /// that configuration, and the topic of the one of now. The selection is that of now, too, if the
    /// configuration is not known or did not have the sink.
    pub fn of(&self, sink: &str, admitted_under: Option<Fingerprint>) -> Arc<SinkRules> {
        Arc::new(self.pages.read().of(sink, admitted_under))
    }
}

/// The rules of one sink, for its dispatcher: it remembers those of the last event, so that judging an event
/// mostly takes no lock and no allocation.
#[derive(Debug)]
pub(super) struct Judge {
    book: Arc<RuleBook>,
    sink: String,
    edition: u64,
    current: Arc<SinkRules>,
    last: Option<(Fingerprint, Arc<SinkRules>)>,
}

impl Judge {
    /// Judges what is for this sink.
    pub(super) fn new(book: Arc<RuleBook>, sink: &str) -> Self {
        let edition = book.edition.load(Ordering::Acquire);
        Self { current: book.of(sink, None), sink: sink.to_owned(), edition, last: None, book }
    }

    /// The template of the sink's topics, after a look whether another configuration has begun. A batch that
    /// was read before the look has no event of a later one.
    pub(super) fn topic(&mut self) -> &TopicTemplate {
        let edition = self.book.edition.load(Ordering::Acquire);
        if edition != self.edition {
            (self.edition, self.current, self.last) = (edition, self.book.of(&self.sink, None), None);
        }
        &self.current.topic
    }

    /// Whether the sink takes an event that is for all sinks.
    pub(super) fn takes(&mut self, event: &Event) -> bool {
        let rules = match event.configuration {
            None => &self.current,
            Some(admitted_under) => {
                if self.last.as_ref().is_none_or(|(last, _)| *last != admitted_under) {
                    self.last = Some((admitted_under, self.book.of(&self.sink, Some(admitted_under))));
                }
                self.last.as_ref().map_or(&self.current, |(_, rules)| rules)
            }
        };
        rules.selection.takes(&event.event_type)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::events::event;

    const A: Fingerprint = Fingerprint([0xa; 6]);
    const B: Fingerprint = Fingerprint([0xb; 6]);
    const C: Fingerprint = Fingerprint([0xc; 6]);
    const UNKNOWN: Fingerprint = Fingerprint([0; 6]);

    fn only(types: &[&str]) -> Selection {
        Selection::Only(types.iter().map(|name| (*name).to_owned()).collect())
    }

    fn template(text: &str) -> TopicTemplate {
        TopicTemplate::parse(text).expect("a template")
    }

    fn rules(fingerprint: Fingerprint, sinks: &[(&str, Selection, &str)]) -> Rules {
        let sink = |(name, selection, topic): &(&str, Selection, &str)| {
            ((*name).to_owned(), SinkRules { selection: selection.clone(), topic: template(topic) })
        };
        Rules { fingerprint, sinks: sinks.iter().map(sink).collect() }
    }

    fn selections(sinks: &[(&str, Selection)]) -> BTreeMap<String, Selection> {
        sinks.iter().map(|(name, selection)| ((*name).to_owned(), selection.clone())).collect()
    }

    #[test]
    fn an_event_is_judged_by_the_selection_of_its_configuration_and_by_the_topic_of_now() {
        let (with_lake, without) = ([("lake", only(&["a"]))], [("other", Selection::All)]);
        let earlier = [(A, selections(&with_lake)), (B, selections(&without))];
        let book = RuleBook::new(rules(C, &[("lake", only(&["c"]), "now")]), earlier);
        let lake = |admitted_under| {
            let rules = book.of("lake", admitted_under);
            assert_eq!(rules.topic, template("now"));
            rules.selection.clone()
        };
        assert_eq!(lake(Some(A)), only(&["a"]));
        assert_eq!(lake(Some(B)), only(&["c"]), "that configuration did not have the sink");
        for of_now in [Some(C), None, Some(UNKNOWN)] {
            assert_eq!(lake(of_now), only(&["c"]), "{of_now:?}");
        }
        assert_eq!(book.of("other", Some(B)).selection, only(&[]), "no dispatcher of it runs");
    }

    #[test]
    fn a_sink_that_is_removed_gets_what_was_admitted_before_and_nothing_new() {
        let book = RuleBook::new(rules(A, &[("lake", only(&["a"]), "a")]), []);
        book.begin(rules(B, &[]));
        let lake = |admitted_under| book.of("lake", admitted_under).selection.clone();
        assert_eq!((book.current(), lake(Some(A))), (B, only(&["a"])));
        assert_eq!(lake(Some(B)), only(&[]));
        assert_eq!(lake(None), only(&["a"]), "it came before there were configurations to tell of");
        assert_eq!(book.of("lake", Some(A)).topic, template("a"), "its last one");
        book.begin(rules(C, &[("lake", Selection::All, "c")]));
        assert_eq!(
            (lake(Some(A)), lake(Some(B)), lake(Some(C))),
            (only(&["a"]), Selection::All, Selection::All)
        );
    }

    #[test]
    fn a_judge_notes_that_a_configuration_has_begun() {
        let book = Arc::new(RuleBook::new(rules(A, &[("lake", only(&["call.created"]), "a")]), []));
        let mut judge = Judge::new(Arc::clone(&book), "lake");
        let of = |configuration| Event { configuration, ..event("k") };
        assert!(judge.takes(&of(Some(A))) && judge.takes(&of(None)));
        book.begin(rules(B, &[("lake", only(&[]), "b")]));
        assert_eq!(judge.topic(), &template("b"));
        let judged = [Some(A), Some(B), Some(A), None].map(|configuration| judge.takes(&of(configuration)));
        assert_eq!(judged, [true, false, true, false]);
    }

    #[test]
    fn as_many_configurations_are_remembered_as_the_state_keeps() {
        let sinks = [("lake", only(&["a"]), "t")];
        let book = RuleBook::new(rules(A, &sinks), []);
        for number in 0..2 * CONFIGURATIONS_MAX as u64 {
            let mut fingerprint = [0xf; 6];
            fingerprint[..4].copy_from_slice(&(number as u32).to_le_bytes());
            book.begin(rules(Fingerprint(fingerprint), &sinks));
        }
        let pages = book.pages.read();
        assert_eq!(pages.earlier.len(), CONFIGURATIONS_MAX);
        let of = |(_, sinks): &(Fingerprint, Selections)| Arc::clone(&sinks["lake"]);
        assert!(Arc::ptr_eq(&of(&pages.earlier[0]), &of(&pages.earlier[7])), "equal ones are one");
    }

    #[test]
    fn judging_events_of_one_configuration_allocates_nothing() {
        let book = RuleBook::new(rules(B, &[("lake", Selection::All, "b")]), [(A, selections(&[]))]);
        let mut judge = Judge::new(Arc::new(book), "lake");
        let event = Event { configuration: Some(A), ..event("k") };
        assert!(judge.takes(&event));
        let judging = || (0..100).for_each(|_| assert!(judge.takes(&event)));
        assert_eq!(allocation_counter::measure(judging).count_total, 0);
    }

    const TYPES: [&str; 4] = ["a", "b", "a.b", "A"];
    const SINKS: [&str; 2] = ["lake", "other"];

    fn any_selection() -> impl Strategy<Value = Selection> {
        prop_oneof![
            Just(Selection::All),
            proptest::sample::subsequence(TYPES.to_vec(), 0..=TYPES.len()).prop_map(|types| only(&types)),
        ]
    }

    /// The selections of the sinks that a configuration has.
    fn any_sinks() -> impl Strategy<Value = BTreeMap<String, Selection>> {
        let sink = proptest::sample::select(&SINKS[..]).prop_map(str::to_owned);
        proptest::collection::btree_map(sink, any_selection(), 0..=2)
    }

    proptest! {
        /// I5 and I6: over any configurations, begun by a reload or by a restart, a sink gets exactly the
        /// events whose type its selection takes by the configuration under which they were admitted.
        #[test]
        fn a_sink_gets_exactly_what_the_configuration_of_each_event_lets_through(
            configurations in proptest::collection::vec((any_sinks(), any::<bool>()), 1..6),
            admitted in proptest::collection::vec(
                (any::<proptest::sample::Index>(), proptest::sample::select(&TYPES[..])), 1..40),
        ) {
            let name = |number: usize| Fingerprint([number as u8 + 1; 6]);
            let rules_of = |number: usize| {
                let sinks: Vec<_> = configurations[number].0.iter()
                    .map(|(sink, selection)| (sink.as_str(), selection.clone(), "t")).collect();
                rules(name(number), &sinks)
            };
            // What the state knows after a restart.
            let earlier = |before: usize| (0..before)
                .map(|number| (name(number), configurations[number].0.clone())).collect::<Vec<_>>();
            let mut book = Arc::new(RuleBook::new(rules_of(0), []));
            let mut judges = SINKS.map(|sink| Judge::new(Arc::clone(&book), sink));
            for now in 0..configurations.len() {
                let is_restart = configurations[now].1;
                if now > 0 && is_restart {
                    book = Arc::new(RuleBook::new(rules_of(now), earlier(now)));
                    judges = SINKS.map(|sink| Judge::new(Arc::clone(&book), sink));
                } else if now > 0 {
                    book.begin(rules_of(now));
                }
                let configured = &configurations[now].0;
                for (judge, sink) in judges.iter_mut().zip(SINKS) {
                    judge.topic();
                    for (index, event_type) in &admitted {
                        // Nothing is admitted under a configuration that is still to come.
                        let number = index.index(now + 1);
                        let event = Event {
                            event_type: (*event_type).into(), configuration: Some(name(number)), ..event("k")
                        };
                        let of_its_own = configurations[number].0.get(sink);
                        let Some(expected) = of_its_own.or(configured.get(sink)) else {
                            prop_assert!(!judge.takes(&event), "{} has never been there", sink);
                            continue;
                        };
                        // A sink that no configuration of this process has had has no dispatcher.
                        if configured.contains_key(sink) {
                            prop_assert_eq!(judge.takes(&event), expected.takes(event_type));
                        }
                    }
                }
            }
        }
    }
}
