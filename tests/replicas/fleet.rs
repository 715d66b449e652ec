//! Replicas as an orchestrator runs them: pods that are replaced, scaled in, killed and put on another node,
//! by the rules of Kubernetes. The endpoints behind the balancer follow with the delay that they have there.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::balancer::{Balancer, Front, SLOTS};
use crate::support::bridge::{Bridge, Home};
use crate::support::load::TOPICS;
use crate::support::oracle::Arrival;
use crate::support::redis::Redis;
use crate::support::{await_until, readers, servers};

/// How long the nodes take to hear that an endpoint has come or is gone.
pub const PROPAGATION: Duration = Duration::from_millis(300);
/// What the hook `preStop` sleeps: longer than that.
const PRE_STOP: Duration = Duration::from_secs(1);
/// The bridge's grace, in seconds.
const GRACE: u64 = 5;
/// `terminationGracePeriodSeconds`: the hook, the bridge's grace and 10 seconds more. Then comes SIGKILL.
const TERMINATION: Duration = Duration::from_secs(PRE_STOP.as_secs() + GRACE + 10);

/// Where the replicas publish to.
enum Sink {
    /// Directories that no pod takes along when it goes, one for each replica.
    Files(tempfile::TempDir),
    /// A cluster, and what the topics of this test begin with.
    Kafka { brokers: String, prefix: String },
}

/// One replica: what is left of it while it does not run, and its process.
struct Pod {
    home: Home,
    bridge: Option<Bridge>,
    slot: &'static str,
}

/// What an orchestrator runs behind one balancer.
pub struct Fleet {
    /// Who stands in front.
    pub balancer: Balancer,
    /// Where the duplicate window is that the replicas share.
    pub redis: Redis,
    sink: Sink,
    pods: Vec<Pod>,
    more: String,
    generation: usize,
    /// Events of the lives that have ended of which the shared window was not asked, or not told, because it
    /// did not answer in time.
    unasked: f64,
}

impl Fleet {
    /// Starts so many replicas with file sinks and more of the configuration, if this machine can.
    pub fn start(replicas: usize, front: Front, more: &str, what: &str) -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("fleet-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        Self::start_on(
            Sink::Files(dir.expect("the build directory takes a directory")),
            replicas,
            front,
            more,
            what,
        )
    }

    /// The same with Kafka as the sink.
    pub fn start_with_kafka(replicas: usize, front: Front, more: &str, what: &str) -> Option<Self> {
        let (brokers, prefix) = (servers::kafka(what)?, servers::own_name("fleet"));
        TOPICS.iter().for_each(|topic| servers::create_topic(&brokers, &format!("{prefix}.{topic}"), &[]));
        Self::start_on(Sink::Kafka { brokers, prefix }, replicas, front, more, what)
    }

    fn start_on(sink: Sink, replicas: usize, front: Front, more: &str, what: &str) -> Option<Self> {
        let (redis, balancer) = (Redis::start(what)?, Balancer::start(front, what)?);
        let (pods, more) = (Vec::new(), more.to_owned());
        let mut fleet = Self { balancer, redis, sink, pods, more, generation: 0, unasked: 0.0 };
        for (ordinal, slot) in SLOTS.into_iter().enumerate().take(replicas) {
            let home = fleet.new_home(ordinal);
            fleet.pods.push(Pod { home, bridge: None, slot });
            fleet.start_pod(ordinal);
        }
        Some(fleet)
    }

    /// How many replicas there are, running or not.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// What a replica's configuration says beside the listeners, from its next start on.
    pub fn roll_out(&mut self, more: &str) {
        self.more = more.to_owned();
        for ordinal in 0..self.len() {
            self.configure(ordinal, &self.pods[ordinal].home);
        }
    }

    /// Starts a pod; its endpoint is there once it is ready and the nodes have heard of it.
    pub fn start_pod(&mut self, ordinal: usize) {
        let pod = &mut self.pods[ordinal];
        self.balancer.point(pod.slot, pod.home.http, pod.home.admin);
        pod.bridge = Some(pod.home.start());
        thread::sleep(PROPAGATION);
        self.balancer.admit(pod.slot);
        if self.balancer.front() == Front::Requests {
            self.balancer.await_up(pod.slot);
        }
    }

    /// Starts a pod that cannot get ready, and says how it ends.
    pub fn start_in_vain(&mut self, ordinal: usize) -> Option<i32> {
        let mut bridge = self.pods[ordinal].home.spawn_under(&[]);
        bridge.await_exit(TERMINATION).code()
    }

    /// Deletes a pod in order: its endpoint goes while the hook sleeps, then comes SIGTERM, and SIGKILL at
    /// the end of the termination's grace. How long the process took behind SIGTERM.
    ///
    /// # Panics When the process has to be killed, or does not end well.
    pub fn delete_pod(&mut self, ordinal: usize) -> Duration {
        let pod = &mut self.pods[ordinal];
        let deleted = Instant::now();
        thread::sleep(PROPAGATION);
        self.balancer.withdraw(pod.slot);
        thread::sleep(PRE_STOP.saturating_sub(deleted.elapsed()));
        terminate(pod, &mut self.unasked, TERMINATION - PRE_STOP)
    }

    /// Ends the process with SIGTERM and no word to the balancer, as on a machine without an orchestrator.
    pub fn restart_unannounced(&mut self, ordinal: usize) {
        terminate(&mut self.pods[ordinal], &mut self.unasked, TERMINATION);
        let pod = &mut self.pods[ordinal];
        pod.bridge = Some(pod.home.start());
        self.balancer.await_up(pod.slot);
    }

    /// The node of a pod fails. Its endpoint is gone once that has been noticed.
    pub fn lose_node(&mut self, ordinal: usize) {
        let pod = &mut self.pods[ordinal];
        let bridge = pod.bridge.take().expect("the pod runs");
        self.unasked += unasked(&bridge).expect("it runs");
        bridge.kill();
        thread::sleep(PROPAGATION);
        self.balancer.withdraw(pod.slot);
    }

    /// Deletes a pod whose grace is too short: SIGKILL comes so long after SIGTERM, wherever the stop is.
    pub fn kill_while_it_stops(&mut self, ordinal: usize, after: Duration) {
        let pod = &mut self.pods[ordinal];
        let bridge = pod.bridge.take().expect("the pod runs");
        self.balancer.withdraw(pod.slot);
        self.unasked += unasked(&bridge).expect("it runs");
        bridge.terminate();
        thread::sleep(after);
        bridge.kill();
    }

    /// Puts a pod that does not run on another node: another address, and the volume comes along.
    pub fn move_to_another_node(&mut self, ordinal: usize) {
        let home = self.new_home(ordinal);
        fs::rename(self.pods[ordinal].home.path("spool"), home.path("spool"))
            .expect("the volume is attached");
        self.pods[ordinal].home = home;
    }

    /// Puts a pod that does not run on another node, without its disk.
    pub fn replace_with_empty_disk(&mut self, ordinal: usize) {
        self.pods[ordinal].home = self.new_home(ordinal);
    }

    /// Replaces a pod of a deployment: another one with an empty disk is there before this one goes.
    pub fn surge(&mut self, ordinal: usize) {
        let home = self.new_home(ordinal + self.generation * SLOTS.len());
        let free = SLOTS.into_iter().find(|slot| self.pods.iter().all(|pod| pod.slot != *slot));
        self.pods.push(Pod { home, bridge: None, slot: free.expect("a slot is free") });
        let newest = self.len() - 1;
        self.start_pod(newest);
        self.delete_pod(ordinal);
        self.pods.swap_remove(ordinal);
    }

    /// Runs a verb against a pod.
    pub fn verb(&self, ordinal: usize, arguments: &[&str]) {
        self.pods[ordinal].home.run_verb(arguments);
    }

    /// Whether the sink of a pod that does not run has everything that is on its volume.
    pub fn has_nothing_left(&self, ordinal: usize) -> bool {
        let report = self.pods[ordinal].home.run_verb(&["spool", "verify"]);
        let head = report.rsplit_once("positions ").and_then(|(_, rest)| rest.split([' ', ',']).nth(2));
        let head = head.unwrap_or_else(|| panic!("no position in {report}"));
        report.contains(&format!("cursor of `lake`: at {head}\n"))
    }

    /// Ends all pods in order, which publishes what waits, and reads what came out. A lane of files begins
    /// with the replica's number. Also of how many events the shared window was not asked, or not told.
    pub fn end(mut self) -> (Vec<Arrival>, usize) {
        for pod in self.pods.iter_mut().filter(|pod| pod.bridge.is_some()) {
            terminate(pod, &mut self.unasked, TERMINATION);
        }
        (self.arrivals(), self.unasked as usize)
    }

    /// What has come out by now.
    pub fn arrivals(&self) -> Vec<Arrival> {
        match &self.sink {
            Sink::Files(dir) => numbered(dir.path()).iter().flat_map(|dir| of_replica(dir)).collect(),
            Sink::Kafka { brokers, prefix } => {
                let topics = TOPICS.map(|topic| format!("{prefix}.{topic}"));
                let records = readers::kafka(brokers, &topics.each_ref().map(String::as_str));
                records.iter().map(readers::KafkaRecord::arrival).collect()
            }
        }
    }

    fn new_home(&mut self, replica: usize) -> Home {
        self.generation += 1;
        let home = Home::new();
        self.configure(replica, &home);
        home
    }

    fn configure(&self, replica: usize, home: &Home) {
        let url = home.path("redis-url");
        fs::write(&url, self.redis.url()).expect("the home takes a file");
        let sink = match &self.sink {
            Sink::Files(dir) => {
                format!("file: {{ dir: {} }}", dir.path().join(replica.to_string()).display())
            }
            Sink::Kafka { brokers, prefix } => {
                format!("topic: \"{prefix}.{{provider}}.{{family}}\", kafka: {{ brokers: \"{brokers}\" }}")
            }
        };
        let (duplicates, more) = (format!("duplicates: {{ redis: \"file:{}\" }}", url.display()), &self.more);
        let rest = format!("shutdown_grace_seconds: {GRACE}\nsinks:\n  lake: {{ {sink} }}\n{more}");
        home.configure(&duplicates, &rest);
    }
}

fn terminate(pod: &mut Pod, sum: &mut f64, killed_after: Duration) -> Duration {
    let mut bridge = pod.bridge.take().expect("the pod runs");
    let told = Instant::now();
    let mut seen = unasked(&bridge).expect("it runs");
    bridge.terminate();
    let status = await_until("the pod ends before SIGKILL", killed_after, || {
        // The admin listener ends last.
        seen = unasked(&bridge).unwrap_or(seen);
        bridge.ended()
    });
    *sum += seen;
    assert!(status.success(), "the pod ended with {status}; its log ends:\n{}", bridge.log_tail());
    told.elapsed()
}

fn unasked(bridge: &Bridge) -> Option<f64> {
    let of = |name: &str| bridge.metric_while_it_runs(&format!("fanbridge_shared_window_{name}_total"), &[]);
    Some(of("skipped")? + of("untold")?)
}

fn numbered(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("the sinks' directory can be read");
    entries.map(|entry| entry.expect("a directory can be read").path()).collect()
}

fn of_replica(dir: &Path) -> Vec<Arrival> {
    let replica = dir.file_name().expect("a directory has a name").to_string_lossy().into_owned();
    let arrivals = readers::files(dir).into_iter();
    arrivals.map(|arrival| Arrival { lane: format!("{replica}/{}", arrival.lane), ..arrival }).collect()
}
