//! Searching the log: what is found is what a look at every entry finds, and no more is read than that takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use fanbridge::dedup::DuplicateKey;
use fanbridge::event::{Entry, Event, EventTime, HeaderClaims, Position, Quarantined, Timestamp};
use fanbridge::spool::{
    Append, Appended, DamagedEntry, LogSearch, SearchBudget, SearchFor, SearchPage, SearchedEntry,
    SpoolOptions,
};
use tokio::sync::oneshot;

use crate::footers::{FORMAT_2_ENTRIES, fixture, footer_of};
use crate::sim::Dice;
use crate::world::{Files, World, options};

const HEADER_BYTES: usize = 1024;
const NEWEST: Position = Position(u64::MAX);
/// Bytes that reading a footer takes at least, if the segment has so many.
const FOOTER_END_BYTES: u64 = 32 * 1024;

fn from_disk() -> SpoolOptions {
    SpoolOptions { tail_bytes_max: 0, bytes_max: 64 << 20, ..options() }
}

fn plenty() -> SearchBudget {
    SearchBudget::new(usize::MAX, u64::MAX)
}

fn moment(second: i64) -> Timestamp {
    Timestamp(second * 1_000_000_000)
}

/// An event of this number and type, which arrived at this moment.
fn thing(number: u64, event_type: &str, arrived: Timestamp, body_bytes: usize) -> Entry {
    Entry::from(Event {
        id: format!("sha256-{number:08x}").into(),
        source: "/test/default".into(),
        event_type: event_type.into(),
        provider: "test".into(),
        family: event_type.split('.').next().unwrap_or_default().into(),
        source_name: if number.is_multiple_of(3) { "queue" } else { "hook" }.into(),
        key: None,
        subject: None,
        time: EventTime::Inferred(arrived),
        arrived,
        configuration: None,
        extensions: Vec::new(),
        only_sink: None,
        body: Bytes::from(vec![number as u8; body_bytes]),
    })
}

fn quarantined(number: u64, arrived: Timestamp) -> Entry {
    Entry::from(Quarantined {
        id: format!("sha256-{number:08x}").into(),
        source: "/test/default".into(),
        provider: "test".into(),
        source_name: "hook".into(),
        reason: "json".into(),
        detail: "expected a value".into(),
        stated: HeaderClaims::default(),
        arrived,
        configuration: None,
        body: Bytes::from_static(b"{"),
    })
}

/// A copy for one sink, as a redrive appends it.
fn copy_of(entry: &Entry) -> Entry {
    match entry {
        Entry::Event(event) => Entry::from(Event { only_sink: Some("lake".into()), ..Event::clone(event) }),
        Entry::Quarantined(_) => entry.clone(),
    }
}

/// The duplicate key with which the bridge stores an entry for the first time.
fn key_of(entry: &Entry) -> DuplicateKey {
    match entry {
        Entry::Event(event) => DuplicateKey::of(&event.source, &event.id),
        Entry::Quarantined(delivery) => DuplicateKey::of_letter(&delivery.source, &delivery.id),
    }
}

/// Appends these entries as one group, each with its duplicate key if it is a first copy.
fn commit(world: &mut World, entries: Vec<(Entry, bool)>) {
    let now = world.now();
    let (mut group, mut answers) = (Vec::new(), Vec::new());
    for (entry, is_first) in entries {
        let (answer, answered) = oneshot::channel();
        let duplicate = is_first.then(|| key_of(&entry));
        group.push(Append { entry, duplicate, confirm: true, answer });
        answers.push(answered);
    }
    world.opened().committer.commit(&mut group, now);
    for answer in &mut answers {
        let answer = answer.try_recv().expect("answered");
        assert!(matches!(answer, Ok(Appended::Stored(_) | Appended::Duplicate)), "{answer:?}");
    }
}

fn search(world: &World) -> LogSearch {
    world.opened.as_ref().expect("the spool is open").reader.search()
}

/// What is in the log, by a look at every entry. Copies are told by their sink.
fn all_entries(world: &World) -> Vec<SearchedEntry> {
    let is_copy = |entry: &Entry| matches!(entry, Entry::Event(event) if event.only_sink.is_some());
    let (entries, _) = world.read_all();
    let searched = |(position, entry): (u64, Entry)| SearchedEntry {
        position: Position(position),
        first_copy: !is_copy(&entry),
        entry,
    };
    entries.into_iter().map(searched).collect()
}

/// The newest entry with each key, by a look at every entry.
fn newest_by_key(world: &World) -> BTreeMap<[u8; 16], SearchedEntry> {
    let entries = all_entries(world).into_iter().filter(|entry| entry.first_copy);
    entries.map(|entry| (key_of(&entry.entry).0, entry)).collect()
}

/// Stops and opens the spool, or kills and opens it.
fn reopen(world: &mut World, in_order: bool) {
    match in_order {
        true => world.stop(),
        false => world.disk.kill(),
    }
    world.open().expect("the spool opens");
}

/// A life with first copies, copies without a key, copies that the window has forgotten, stops and kills.
fn lived(seed: u64) -> World {
    let mut dice = Dice::new(seed);
    let mut options = from_disk();
    options.duplicates.events_max = 1 + dice.roll(20) as usize;
    let mut world = World::open_new(options);
    let mut appended = 0;
    for _ in 0..30 + dice.roll(60) {
        let arrived = moment(1_800_000_000 + dice.roll(1000) as i64);
        let mut group = Vec::new();
        for _ in 0..=dice.roll(4) {
            let earlier = dice.roll(appended + 1);
            let bytes = dice.roll(900) as usize;
            let event_type = ["call.created", "call.ended", "reaction.new"][dice.roll(3) as usize];
            match dice.roll(10) {
                0 | 1 => group.push((copy_of(&thing(earlier, event_type, arrived, bytes)), false)),
                2 => group.push((quarantined(earlier, arrived), true)),
                3 => group.push((thing(earlier, event_type, arrived, bytes), true)),
                _ => {
                    group.push((thing(appended, event_type, arrived, bytes), true));
                    appended += 1;
                }
            }
        }
        commit(&mut world, group);
        if dice.roll(8) == 0 {
            let in_order = dice.roll(2) == 0;
            reopen(&mut world, in_order);
        }
    }
    world
}

fn found(page: &SearchPage) -> Vec<u64> {
    page.found.iter().map(|entry| entry.position.0).collect()
}

fn assert_keys_are_found(world: &World, what: &str) {
    let (log, expected) = (search(world), newest_by_key(world));
    for (key, entry) in &expected {
        let page = log.by_key(&[DuplicateKey(*key)], None, &plenty()).unwrap();
        assert_eq!(page.found, std::slice::from_ref(entry), "{what}");
        assert!(page.complete && page.damaged.is_empty(), "{what}");
    }
    let mut keys: Vec<DuplicateKey> = expected.keys().copied().map(DuplicateKey).collect();
    keys.push(DuplicateKey([7; 16]));
    let page = log.by_key(&keys, None, &plenty()).unwrap();
    let mut expected: Vec<u64> = expected.values().map(|entry| entry.position.0).collect();
    expected.sort_unstable_by_key(|position| std::cmp::Reverse(*position));
    assert_eq!(found(&page), expected, "{what}: all at once, newest first");
    assert!(page.complete);
}

#[test]
fn an_entry_is_found_by_its_key_wherever_it_is() {
    for seed in 0..60 {
        let mut world = lived(seed);
        assert_keys_are_found(&world, &format!("seed {seed}"));
        // A footer that cannot be used makes a search look at the frames.
        let mut dice = Dice::new(seed);
        world.stop();
        let paths = world.disk.segments();
        let path = paths[dice.roll(paths.len() as u64) as usize].clone();
        world.open().unwrap();
        world.disk.tamper(&path, |bytes| {
            let begin = footer_of(bytes);
            let at = begin + dice.roll((bytes.len() - begin) as u64) as usize;
            bytes[at] ^= 1 << dice.roll(8);
        });
        assert_keys_are_found(&world, &format!("seed {seed}, damaged footer"));
    }

    for (format, entries) in [("format-1-segments", 17), ("format-2-segments", FORMAT_2_ENTRIES)] {
        let (mut world, _) = fixture(format);
        world.open().unwrap();
        assert_eq!(newest_by_key(&world).len(), entries, "{format}");
        assert_keys_are_found(&world, format);
    }
}

/// A stopped and opened spool of 40 segments, each of more than 150 KB.
fn forty_segments() -> World {
    let mut world = World::open_new(SpoolOptions { segment_bytes: 150_000, ..from_disk() });
    let mut number = 0;
    while world.disk.segments().len() < 40 {
        let arrived = moment(1_800_000_000 + i64::try_from(number).unwrap());
        let group = (number..number + 10).map(|at| (thing(at, "call.created", arrived, 1500), true));
        commit(&mut world, group.collect());
        number += 10;
    }
    reopen(&mut world, true);
    world
}

#[test]
fn only_the_segments_that_can_hold_it_are_read() {
    let world = forty_segments();
    let bytes = world.segment_bytes();
    let entries = all_entries(&world);
    let log = search(&world);
    let read_by = |search: &dyn Fn() -> SearchPage| {
        let before = world.disk.bytes_read();
        let page = search();
        let read = world.disk.bytes_read() - before;
        assert!(read <= page.bytes_read, "{read} bytes were read, {} are told", page.bytes_read);
        (page, read)
    };
    // The footers of all segments, and 64 KiB of frames between two points of the index.
    let footers = 40 * (FOOTER_END_BYTES + 5_000);
    for at in [0, entries.len() / 2, entries.len() - 1] {
        let wanted = key_of(&entries[at].entry);
        let (page, read) = read_by(&|| log.by_key(&[wanted], None, &plenty()).unwrap());
        assert_eq!(page.found, [entries[at].clone()]);
        assert!(read <= footers + 140_000, "{read} of {bytes} bytes");
    }
    let unknown = DuplicateKey([7; 16]);
    let (page, read) = read_by(&|| log.by_key(&[unknown], None, &plenty()).unwrap());
    assert!(page.complete && page.found.is_empty() && read <= footers, "{read}");
    assert_eq!(page.earliest, Some(entries[0].entry.arrived()));
    // What arrived lately is in the last segments.
    let since = entries[entries.len() - 5].entry.arrived();
    let (page, read) = read_by(&|| log.by_key(&[unknown], Some(since), &plenty()).unwrap());
    assert!(page.complete && read <= 40 * FOOTER_END_BYTES + 10_000, "{read}");
    let wanted = SearchFor { arrived: (Some(since), None), ..SearchFor::default() };
    let (page, read) = read_by(&|| log.newest_first(&wanted, NEWEST, &plenty()).unwrap());
    assert!(page.complete && page.found.len() >= 5);
    assert!(read <= footers + 2 * 200_000, "{read} of {bytes} bytes");
}

#[test]
fn a_moment_leads_to_the_first_entry_that_arrived_at_it_or_later() {
    for seed in 0..60 {
        let world = lived(seed);
        let entries = all_entries(&world);
        let log = search(&world);
        let end = entries.last().map_or(0, |entry| entry.position.0);
        for second in (1_799_999_990..1_800_001_010).step_by(13) {
            let at = moment(second);
            let first = entries.iter().find(|entry| entry.entry.arrived() >= at);
            let expected = first.map_or(end, |entry| entry.position.0 - 1);
            assert_eq!(log.position_at(at).unwrap(), Position(expected), "seed {seed}, {second}");
        }
    }
    let world = World::open_new(from_disk());
    assert_eq!(search(&world).position_at(moment(1)).unwrap(), Position(0), "an empty log");
}

/// Turns page after page, newest first. Returns the entries and how many pages they took.
fn newest_first(world: &World, wanted: &SearchFor, budget: &SearchBudget) -> (Vec<SearchedEntry>, u64, u64) {
    let (mut entries, mut pages, mut lost, mut before) = (Vec::new(), 0, 0, NEWEST);
    loop {
        let page = search(world).newest_first(wanted, before, budget).unwrap();
        assert!(page.complete || page.through < before, "a search gets on");
        assert!(page.found.iter().all(|entry| entry.position >= page.through && entry.position < before));
        entries.extend(page.found);
        (pages, lost, before) = (pages + 1, lost + page.lost, page.through);
        if page.complete {
            return (entries, pages, lost);
        }
    }
}

/// The same from the oldest on, up to a position.
fn oldest_first(
    world: &World,
    wanted: &SearchFor,
    through: Position,
    budget: &SearchBudget,
) -> (Vec<SearchedEntry>, u64, u64) {
    let (mut entries, mut pages, mut lost, mut after) = (Vec::new(), 0, 0, Position(0));
    loop {
        let page = search(world).oldest_first(wanted, after, through, budget).unwrap();
        assert!(page.complete || page.through > after, "a search gets on");
        assert!(page.found.iter().all(|entry| entry.position <= page.through && entry.position > after));
        assert!(page.through <= through);
        entries.extend(page.found);
        (pages, lost, after) = (pages + 1, lost + page.lost, page.through);
        if page.complete {
            return (entries, pages, lost);
        }
    }
}

fn texts(texts: &[&str]) -> std::collections::BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Whether an entry is one that is searched for.
type Passes = fn(&SearchedEntry) -> bool;

/// Searches with one condition each and with several, and which entries pass them.
fn searches() -> [(SearchFor, Passes); 9] {
    fn event(entry: &SearchedEntry) -> Option<&Event> {
        match &entry.entry {
            Entry::Event(event) => Some(event),
            Entry::Quarantined(_) => None,
        }
    }
    fn id(entry: &SearchedEntry) -> &str {
        match &entry.entry {
            Entry::Event(event) => &event.id,
            Entry::Quarantined(delivery) => &delivery.id,
        }
    }
    let all = SearchFor::default;
    let (since, until) = (moment(1_800_000_300), moment(1_800_000_600));
    [
        (all(), |_| true),
        (SearchFor { types: texts(&["call.ended", "x"]), ..all() }, |entry| {
            event(entry).is_some_and(|event| event.event_type == "call.ended")
        }),
        (SearchFor { families: texts(&["reaction"]), ..all() }, |entry| {
            event(entry).is_some_and(|event| event.family == "reaction")
        }),
        (SearchFor { sources: texts(&["hook"]), ..all() }, |entry| {
            event(entry).is_none_or(|event| event.source_name == "hook")
        }),
        (SearchFor { id: Some("0000001".parse().unwrap()), ..all() }, |entry| {
            id(entry).starts_with("sha256-0000001")
        }),
        (SearchFor { first_copies_only: true, ..all() }, |entry| entry.first_copy),
        (SearchFor { keys: vec![key_of(&thing(3, "", moment(0), 0))], ..all() }, |entry| {
            entry.first_copy && event(entry).is_some_and(|event| event.id == "sha256-00000003")
        }),
        (SearchFor { arrived: (Some(since), Some(until)), ..all() }, |entry| {
            (moment(1_800_000_300)..moment(1_800_000_600)).contains(&entry.entry.arrived())
        }),
        (SearchFor { arrived: (None, Some(until)), families: texts(&["call"]), ..all() }, |entry| {
            entry.entry.arrived() < moment(1_800_000_600)
                && event(entry).is_some_and(|event| event.family == "call")
        }),
    ]
}

#[test]
fn a_type_is_found_newest_first_and_the_search_says_how_far_it_looked() {
    let mut hits = 0;
    for seed in 0..20 {
        let world = lived(seed);
        for (number, (wanted, passes)) in searches().into_iter().enumerate() {
            let mut expected = all_entries(&world);
            expected.retain(passes);
            hits += expected.len();
            let end = Position(world.reader().head().0 / 2);
            let until_end: Vec<_> = expected.iter().filter(|entry| entry.position <= end).cloned().collect();
            for entries_max in [1, 3, usize::MAX] {
                let budget = SearchBudget::new(entries_max, u64::MAX);
                let found = oldest_first(&world, &wanted, NEWEST, &budget).0;
                assert_eq!(found, expected, "seed {seed}, search {number}");
                let found = oldest_first(&world, &wanted, end, &budget).0;
                assert_eq!(found, until_end, "seed {seed}, search {number}, to the middle");
                let mut found = newest_first(&world, &wanted, &budget).0;
                found.reverse();
                assert_eq!(found, expected, "seed {seed}, search {number}, newest first");
            }
        }
    }
    assert!(hits > 3_000, "the searches find something: {hits}");
}

/// A spool with one segment of many blocks, in which every tenth event is a reaction.
fn large_segment() -> World {
    let mut world = World::open_new(SpoolOptions { segment_bytes: 1 << 30, ..from_disk() });
    for group in 0..60_u64 {
        let numbers = group * 30..group * 30 + 30;
        let event_type = |number: u64| if number.is_multiple_of(10) { "reaction.new" } else { "call.ended" };
        let arrived = moment(1_800_000_000 + i64::try_from(group).unwrap());
        let group = numbers.map(|number| (thing(number, event_type(number), arrived, 3_000), true));
        commit(&mut world, group.collect());
    }
    assert!(world.segment_bytes() > 5 << 20 && world.disk.segments().len() == 1);
    world
}

#[test]
fn a_search_ends_within_its_budget_and_goes_on_where_it_stopped() {
    for closed in [false, true] {
        let mut world = large_segment();
        if closed {
            reopen(&mut world, true);
        }
        let wanted = SearchFor { types: texts(&["reaction.new"]), ..SearchFor::default() };
        let mut expected = all_entries(&world);
        expected.retain(|entry| number_of(entry).is_multiple_of(10));
        // One block of about 1 MiB a page.
        let frugal = SearchBudget::new(usize::MAX, 1);
        let (found, pages, _) = oldest_first(&world, &wanted, NEWEST, &frugal);
        assert_eq!((found, pages), (expected.clone(), 6));
        let (mut found, pages, _) = newest_first(&world, &wanted, &frugal);
        found.reverse();
        assert_eq!((found, pages), (expected.clone(), 6));

        // Who wants the newest few reads the end of the segment only.
        let before = world.disk.bytes_read();
        let page = search(&world).newest_first(&wanted, NEWEST, &SearchBudget::new(5, u64::MAX)).unwrap();
        assert!(world.disk.bytes_read() - before < 2 << 20);
        let newest: Vec<_> = expected.iter().rev().take(5).cloned().collect();
        assert_eq!((page.found, page.complete), (newest, false));
        assert_eq!(page.through, expected[expected.len() - 5].position);

        // Whoever is told to stop reads nothing more.
        let stopped = plenty();
        stopped.stop.store(true, Ordering::Relaxed);
        let before = world.disk.bytes_read();
        let page = search(&world).newest_first(&wanted, NEWEST, &stopped).unwrap();
        assert_eq!((page.found.len(), page.complete, page.through), (0, false, NEWEST));
        let page = search(&world).by_key(&[key_of(&expected[0].entry)], None, &stopped).unwrap();
        assert_eq!((page.found.len(), page.complete), (0, false));
        assert_eq!(world.disk.bytes_read(), before);
    }

    let world = forty_segments();
    let oldest = all_entries(&world).swap_remove(0);
    let page = search(&world).by_key(&[key_of(&oldest.entry)], None, &SearchBudget::new(9, 300_000)).unwrap();
    assert!(page.found.is_empty() && !page.complete && page.bytes_read < 400_000);
    assert!(page.through > oldest.position, "it says how far it has looked");
}

fn number_of(entry: &SearchedEntry) -> u64 {
    let Entry::Event(event) = &entry.entry else { panic!("it is an event") };
    u64::from_str_radix(event.id.strip_prefix("sha256-").unwrap(), 16).unwrap()
}

#[test]
fn a_segment_that_is_pruned_while_it_is_searched_is_passed_over() {
    for files in Files::ALL {
        for way in 0..4 {
            let mut world = World::open_on(files, SpoolOptions { segment_bytes: 12_000, ..from_disk() });
            while world.disk.segments().len() < 3 {
                world.append(2);
            }
            let (log, disk) = (Arc::clone(&world.opened().reader), world.disk.clone());
            let (metrics, oldest) = (Arc::clone(&world.metrics), disk.segments()[0].clone());
            let entries = all_entries(&world);
            disk.before_next_read(move || {
                let head = world.reader().head().0;
                world.settle(head);
                world.second += 200;
                world.tick();
                let newest = world.disk.segments();
                while world.disk.segments() == newest {
                    world.append(1);
                }
                world.append(4);
            });
            let search = log.search();
            let all = SearchFor::default();
            let page = match way {
                0 => search.oldest_first(&all, Position(0), NEWEST, &plenty()).unwrap(),
                1 => search.newest_first(&all, log.first().next(), &plenty()).unwrap(),
                2 => search.by_key(&[key_of(&entries[0].entry)], None, &plenty()).unwrap(),
                _ => {
                    let position = search.position_at(moment(0)).unwrap();
                    assert!(position < log.first(), "{files:?}");
                    search.oldest_first(&all, position, NEWEST, &plenty()).unwrap()
                }
            };
            assert!(!disk.has(&oldest), "{files:?}, {way}: it was pruned");
            assert!(page.complete, "{files:?}, {way}");
            assert!(page.found.iter().all(|entry| entry.position >= log.first()), "{files:?}, {way}");
            assert_eq!((page.lost, page.damaged.len()), (0, 0), "{files:?}, {way}: nothing is lost");
            if way == 0 {
                let found = page.found.len() as u64;
                assert_eq!(page.gone + found, log.head().0, "{files:?}: each position is found or gone");
                assert!(page.gone > 0, "{files:?}");
            }
            assert_eq!(metrics.spool_corrupt.get(), 0, "{files:?}, {way}");
        }
    }
}

#[test]
fn a_segment_that_somebody_removed_is_no_segment_without_the_entry() {
    let world = forty_segments();
    let path = world.disk.segments()[10].clone();
    world.disk.lose(&path);
    let page = search(&world).by_key(&[DuplicateKey([7; 16])], None, &plenty());
    assert!(page.unwrap_err().to_string().contains("cannot read segment"));
}

#[test]
fn damage_is_counted_and_hides_no_other_entry() {
    let mut world = forty_segments();
    let entries = all_entries(&world);
    world.opened = None;
    let path = world.disk.segments()[10].clone();
    world.disk.tamper(&path, |bytes| bytes[HEADER_BYTES + 60] ^= 0x10);
    world.open().unwrap();
    let first: u64 = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let damaged = key_of(&entries[first as usize - 1].entry);
    let mut expected = entries.clone();
    expected.retain(|entry| entry.position != Position(first));

    let page = search(&world).by_key(&[damaged, key_of(&entries[0].entry)], None, &plenty()).unwrap();
    assert_eq!(page.found, [entries[0].clone()]);
    assert_eq!(page.damaged, [DamagedEntry { key: damaged, segment: Position(first) }]);
    for entries_max in [1, usize::MAX] {
        let budget = SearchBudget::new(entries_max, u64::MAX);
        let (found, _, lost) = oldest_first(&world, &SearchFor::default(), NEWEST, &budget);
        assert_eq!((found, lost), (expected.clone(), 1));
        let (mut found, _, lost) = newest_first(&world, &SearchFor::default(), &budget);
        found.reverse();
        assert_eq!((found, lost), (expected.clone(), 1));
    }
    assert_eq!(world.metrics.spool_corrupt.get(), 1, "whoever finds it first counts it");
    assert_eq!(world.read_all().1, 1);
    assert_eq!(world.metrics.spool_corrupt.get(), 1);

    // Without its header nothing in the segment can be read, and all of it is lost.
    world.stop();
    world.disk.tamper(&path, |bytes| bytes[..HEADER_BYTES].fill(0));
    world.open().unwrap();
    let (found, _, lost) = newest_first(&world, &SearchFor::default(), &plenty());
    assert_eq!(found.len() as u64 + lost, entries.len() as u64);
    assert!(lost > 1);
}

#[test]
fn a_recycled_file_shows_nothing_of_its_former_segment() {
    let options = SpoolOptions { segment_bytes: 12_000, ..from_disk() };
    let mut world = World::open_on(Files::AreWrittenOver, options);
    while world.disk.segments().len() < 2 {
        world.append(2);
    }
    let former = newest_by_key(&world);
    let head = world.reader().head().0;
    world.settle(head);
    world.second += 200;
    world.tick();
    let begun = world.disk.segments().len();
    while world.disk.segments().len() == begun {
        world.append(1);
    }
    world.append(3);
    assert!(world.reader().usage().old_bytes > 1_000, "the newest segment is in a recycled file");
    assert_keys_are_found(&world, "recycled");
    let (found, _, lost) = oldest_first(&world, &SearchFor::default(), NEWEST, &plenty());
    assert_eq!((found, lost), (all_entries(&world), 0));
    let still = newest_by_key(&world);
    let gone: Vec<_> = former.keys().filter(|key| !still.contains_key(*key)).copied().collect();
    assert!(!gone.is_empty());
    let gone: Vec<_> = gone.into_iter().map(DuplicateKey).collect();
    let page = search(&world).by_key(&gone, None, &plenty()).unwrap();
    assert!(page.complete && page.found.is_empty() && page.damaged.is_empty());
}
