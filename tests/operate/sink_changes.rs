//! Sinks that come and go in a running bridge leave nothing behind, also not what their clients have started.

mod alone {
    use std::fs;
    use std::time::Duration;

    use crate::support::bridge::{Bridge, Home, free_port};
    use crate::support::{await_until, turns};

    const PATIENCE: Duration = Duration::from_secs(20);
    const ROUNDS: usize = 50;

    /// Configures the sink `lake`, and more sinks.
    fn configure(home: &Home, more: &str) {
        let lake = home.path("lake");
        home.configure("", &format!("sinks:\n  lake: {{ file: {{ dir: {} }} }}\n{more}", lake.display()));
    }

    /// Has the bridge read its configuration once the change before is over.
    fn reload(home: &Home) {
        await_until("the reload is taken over", PATIENCE, || {
            let output = home.try_verb(&["reload"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || said.contains("has not ended yet"), "{said}");
            output.status.success().then_some(())
        });
    }

    /// The threads of sinks that run, and the descriptors that the process has.
    fn in_use(bridge: &Bridge) -> (usize, usize) {
        let process = format!("/proc/{}", bridge.pid());
        let threads = fs::read_dir(format!("{process}/task")).unwrap().flatten();
        let names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
        let of_sinks = ["rdk:", "kafka", "file-sink"];
        let threads = names.filter(|name| of_sinks.iter().any(|begin| name.starts_with(begin))).count();
        (threads, fs::read_dir(format!("{process}/fd")).unwrap().count())
    }

    #[test]
    fn a_hundred_changes_of_sinks_leave_no_thread_no_descriptor_and_no_gauge_behind() {
        let _turn = turns::alone();
        let home = Home::new();
        // No broker is there, as with a sink that is removed because it is broken.
        let guests = [
            format!("  guest: {{ kafka: {{ brokers: \"127.0.0.1:{}\" }} }}\n", free_port()),
            format!("  guest: {{ file: {{ dir: {} }} }}\n", home.path("guest").display()),
        ];
        configure(&home, "");
        let bridge = home.start();
        let before = in_use(&bridge);
        for round in 0..ROUNDS {
            configure(&home, &guests[round % 2]);
            reload(&home);
            configure(&home, "");
            reload(&home);
        }
        let left = await_until("the guests have gone", PATIENCE, || {
            let (threads, descriptors) = in_use(&bridge);
            // A connection to the admin listener, or a file that is looked at, can be open for a moment.
            (threads == before.0 && descriptors <= before.1 + 2).then_some((threads, descriptors))
        });
        println!("threads and descriptors before {before:?}, after {left:?}");
        let metrics = bridge.admin().get("/metrics").expect("the metrics").text();
        let gauges = ["sink_lag_events", "sink_degraded", "sink_in_flight", "sink_oldest_pending_seconds"];
        let is_left = |line: &&str| {
            line.contains("\"guest\"")
                && gauges.iter().any(|name| line.starts_with(&format!("fanbridge_{name}")))
        };
        assert_eq!(metrics.lines().find(is_left), None);
        bridge.stop();
    }
}
