//! A real HAProxy in front of replicas, as `deploy/haproxy` has it, or as what stands in front of pods: a
//! balancer of connections that is told who is ready and asks nobody.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::bridge::free_port;
use crate::support::{await_until, servers};

/// The servers of a balancer, by name. The last one is for who comes before another goes.
pub const SLOTS: [&str; 4] = ["a", "b", "c", "d"];
/// How long a start may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the balancer balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// Connections, among the endpoints that it is told: a service of Kubernetes, a network load balancer.
    /// It tries nothing again, so that whatever is refused is seen.
    Connections,
    /// Requests, among the servers whose `/readyz` it asks: `deploy/haproxy/fanbridge.cfg`.
    Requests,
}

/// A running HAProxy; dropping it ends it.
pub struct Balancer {
    child: Child,
    dir: tempfile::TempDir,
    front: Front,
    /// Where senders come in.
    pub port: u16,
}

impl Balancer {
    /// Starts one whose servers have no address yet, if this machine has it.
    pub fn start(front: Front, what: &str) -> Option<Self> {
        if !haproxy(&["-v"]).is_ok_and(|output| output.status.success()) {
            servers::skip(what, "haproxy is missing; tests/servers/install.sh all fetches it");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("haproxy-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let (dir, port) = (dir.expect("the build directory takes a directory"), free_port());
        let config = match front {
            Front::Connections => of_connections(port),
            Front::Requests => handed_out(port),
        };
        let socket = dir.path().join("admin");
        let global =
            format!("global\n    log stderr local0\n    stats socket {} level admin\n", socket.display());
        let files = [("global.cfg", global), ("fanbridge.cfg", config)].map(|(name, text)| {
            fs::write(dir.path().join(name), text).expect("the build directory takes a file");
            dir.path().join(name).display().to_string()
        });
        let arguments = ["-f", &files[0], "-f", &files[1]];
        let checked = haproxy(&[&arguments[..], &["-c"]].concat()).expect("haproxy runs");
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(
            checked.status.success() && !said.contains("WARNING"),
            "haproxy of its configuration: {said}"
        );
        let log = fs::File::create(dir.path().join("log")).expect("the build directory takes a file");
        let child = command(&[&arguments[..], &["-db"]].concat()).stdout(Stdio::null()).stderr(log).spawn();
        let balancer = Self { child: child.expect("haproxy starts"), dir, front, port };
        await_until("haproxy listens", DEADLINE, || {
            // The script becomes HAProxy once it has found its libraries.
            (balancer.socket().exists() && TcpStream::connect(("127.0.0.1", port)).is_ok()).then_some(())
        });
        Some(balancer)
    }

    /// Lets a slot stand for a replica at these ports. Connections go there once it is admitted.
    pub fn point(&self, slot: &str, http: u16, admin: u16) {
        self.tell(&format!("set server fanbridge/{slot} addr 127.0.0.1 port {http}"));
        if self.front == Front::Requests {
            self.tell(&format!("set server fanbridge/{slot} check-port {admin}"));
            self.tell(&format!("enable health fanbridge/{slot}"));
        }
    }

    /// New connections may go to a slot.
    pub fn admit(&self, slot: &str) {
        self.tell(&format!("set server fanbridge/{slot} state ready"));
    }

    /// No new connection goes to a slot any more; those that are open stay open.
    pub fn withdraw(&self, slot: &str) {
        let state = match self.front {
            Front::Connections => "maint",
            Front::Requests => "drain",
        };
        self.tell(&format!("set server fanbridge/{slot} state {state}"));
    }

    /// Waits until a slot takes connections by its health check.
    pub fn await_up(&self, slot: &str) {
        await_until("haproxy finds the replica ready", DEADLINE, || {
            self.column(slot, "status").starts_with("UP").then_some(())
        });
    }

    /// What it balances.
    pub fn front(&self) -> Front {
        self.front
    }

    /// How many connections to servers failed.
    pub fn connections_failed(&self) -> u64 {
        SLOTS.iter().filter_map(|slot| self.column(slot, "econ").parse::<u64>().ok()).sum()
    }

    fn column(&self, slot: &str, name: &str) -> String {
        let table = self.tell("show stat");
        let mut lines =
            table.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
        let head = lines.next().expect("a table has a head");
        let at = head.iter().position(|column| *column == name).expect("the column is there");
        let row = lines.find(|row| row[0] == "fanbridge" && row.get(1) == Some(&slot));
        row.unwrap_or_else(|| panic!("no server {slot} in {table}"))[at].to_owned()
    }

    fn tell(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.socket()).expect("haproxy takes commands");
        socket.write_all(format!("{command}\n").as_bytes()).expect("haproxy takes a command");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("haproxy answers");
        let is_done = answer.trim().is_empty() || command.starts_with("show") || answer.contains("change");
        assert!(is_done, "{command}: {answer}");
        answer
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("admin")
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            eprintln!("haproxy's log:\n{log}");
        }
    }
}

/// The file that is handed out, at addresses of this test.
fn handed_out(port: u16) -> String {
    let text = include_str!("../../deploy/haproxy/fanbridge.cfg");
    assert!(text.contains("    bind :8080\n") && text.contains("    server a 10.0.0.11:8080\n"));
    let text = text.replace("    bind :8080\n", &format!("    bind 127.0.0.1:{port}\n"));
    let text: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("server ")).collect();
    text.join("\n") + "\n" + &no_addresses()
}

/// A balancer of connections without health checks and without a second try.
fn of_connections(port: u16) -> String {
    format!(
        "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n    \
         retries 0\n\
         frontend fanbridge\n    bind 127.0.0.1:{port}\n    default_backend fanbridge\n\
         backend fanbridge\n    balance roundrobin\n{}",
        no_addresses()
    )
}

fn no_addresses() -> String {
    SLOTS.map(|slot| format!("    server {slot} 127.0.0.1:1 disabled\n")).concat()
}

fn haproxy(arguments: &[&str]) -> std::io::Result<Output> {
    command(arguments).output()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/haproxy.sh"));
    command.args(arguments).stdin(Stdio::null());
    command
}
