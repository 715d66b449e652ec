//! Sinks that come and go in a running bridge leave nothing behind, also not what their clients have started.
//!
//! The bridge runs in this process, whose threads and descriptors are counted.

mod alone {
    use std::fs;
    use std::io;
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use fanbridge::bridge::{Bridge, SinkChanges};
    use fanbridge::config::{Config, Environment, load};
    use fanbridge::event::Timestamp;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use crate::support::bridge::{Home, free_port};
    use crate::support::{await_until, signing, turns};

    const PATIENCE: Duration = Duration::from_secs(20);
    const ROUNDS: usize = 50;

    /// The configuration of a home, with more sinks.
    fn config(home: &Home, more: &str) -> Config {
        let lake = home.path("lake");
        home.configure("", &format!("sinks:\n  lake: {{ file: {{ dir: {} }} }}\n{more}", lake.display()));
        let text = fs::read_to_string(home.path("fanbridge.yaml")).unwrap();
        let env = |name: &str| match name {
            "STREAM_SECRET" => Some(signing::STREAM_SECRET.to_owned()),
            "FASTPIX_SECRET" => Some(signing::FASTPIX_SECRET.to_owned()),
            _ => None,
        };
        let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let outside = Environment { env: &env, read: &read, now: Timestamp::from(SystemTime::now()) };
        load("fanbridge.yaml", &text, &outside).unwrap_or_else(|report| panic!("{report:?}")).config
    }

    fn one(name: &str) -> [String; 1] {
        [name.to_owned()]
    }

    /// The threads of sinks that run, and the descriptors that the process has.
    fn in_use() -> (usize, usize) {
        let threads = fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        let of_sinks = ["rdk:", "kafka", "file-sink"];
        let threads = names.filter(|name| of_sinks.iter().any(|begin| name.starts_with(begin))).count();
        (threads, fs::read_dir("/proc/self/fd").unwrap().count())
    }

    #[test]
    fn a_hundred_changes_of_sinks_leave_no_thread_and_no_descriptor_behind() {
        let _turn = turns::alone();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(change_a_hundred_times());
    }

    async fn change_a_hundred_times() {
        let home = Home::new();
        let (broker, dir) = (free_port(), home.path("guest"));
        // No broker is there, as with a sink that is removed because it is broken.
        let guests = [
            format!("  guest: {{ kafka: {{ brokers: \"127.0.0.1:{broker}\" }} }}\n"),
            format!("  guest: {{ file: {{ dir: {} }} }}\n", dir.display()),
        ];
        let mut bridge = Bridge::start(config(&home, "")).await.unwrap();
        let before = in_use();
        for round in 0..ROUNDS {
            let guest = config(&home, &guests[round % 2]);
            let added = SinkChanges { added: one("guest").into(), ..SinkChanges::default() };
            change(&mut bridge, &guest, added).await;
            let removed = SinkChanges { removed: one("guest").into(), ..SinkChanges::default() };
            change(&mut bridge, &config(&home, ""), removed).await;
        }
        let left = await_until("the guests have gone", PATIENCE, || {
            let (threads, descriptors) = in_use();
            // A connection to the admin listener, or a file that is looked at, can be open for a moment.
            (threads == before.0 && descriptors <= before.1 + 2).then_some((threads, descriptors))
        });
        println!("threads and descriptors before {before:?}, after {left:?}");
        let stop = CancellationToken::new();
        stop.cancel();
        bridge.run(stop).await.unwrap();
    }

    /// Changes the sinks once the change before is over.
    async fn change(bridge: &mut Bridge, config: &Config, changes: SinkChanges) {
        let begun = Instant::now();
        loop {
            let deadline = Instant::now() + Duration::from_secs(5);
            match bridge.change_sinks(config, &changes, deadline).await {
                Ok(()) => return,
                Err(busy) if begun.elapsed() < PATIENCE => {
                    assert!(busy.to_string().contains("has not ended yet"), "{busy}");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
