//! A Redis server of a test's own, to be asked, stopped, frozen and killed, and just enough of its
//! protocol to see what is kept in it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::bridge::free_port;
use super::{await_until, servers};

/// What the server is called, and what else it is: in Debian and Ubuntu the check of its files is
/// the same program, in a package that starts no service. It goes by the name it is called by.
const PROGRAMS: [&str; 2] = ["redis-server", "redis-check-rdb"];
/// How long a start and an answer may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// A server, across its lives; its keys are gone with each of them.
pub struct Redis {
    /// Where it listens, without TLS.
    pub port: u16,
    program: &'static str,
    arguments: Vec<String>,
    child: Option<Child>,
    dir: tempfile::TempDir,
}

impl Redis {
    /// Starts one, if this machine has it.
    pub fn start(what: &str) -> Option<Self> {
        Self::start_with(what, &[])
    }

    /// The same with more arguments.
    pub fn start_with(what: &str, arguments: &[&str]) -> Option<Self> {
        let Some(program) = PROGRAMS.into_iter().find(|program| is_server(program)) else {
            servers::skip(what, "there is no redis-server in PATH; `make test` installs it");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("redis-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
        let mut redis = Self {
            port: free_port(),
            program,
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            child: None,
            dir: dir.expect("the build directory takes a directory"),
        };
        redis.start_again();
        Some(redis)
    }

    /// Starts it where it was; returns once it answers.
    pub fn start_again(&mut self) {
        let port = self.port.to_string();
        let child = server(self.program)
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(self.dir.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.expect("the server starts"));
        await_until("redis-server answers", DEADLINE, || TcpStream::connect(("127.0.0.1", self.port)).ok());
    }

    /// The URL for a configuration.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lets it keep its connections and answer nothing.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it in order.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        self.child.take().expect("it runs").wait().expect("a child can be waited for");
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child can be waited for");
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it runs").id();
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> Asker {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("redis-server takes connections");
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket takes a time-out");
        Asker(BufReader::new(stream))
    }

    /// Every event's key that begins like this: not what only shows that the server can be used.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.connect().ask(&["KEYS", &format!("{prefix}*")]).into_iter().flatten();
        keys.filter(|key| !key.ends_with(":probe")).collect()
    }

    /// The same with their values.
    pub fn values(&self, prefix: &str) -> BTreeMap<String, String> {
        let mut asker = self.connect();
        let mut value = |key: &String| asker.ask(&["GET", key]).pop().flatten();
        self.keys(prefix).into_iter().filter_map(|key| value(&key).map(|value| (key, value))).collect()
    }
}

fn server(program: &str) -> Command {
    let mut command = Command::new(program);
    command.arg0("redis-server");
    command
}

fn is_server(program: &str) -> bool {
    let version = server(program).arg("--version").stdin(Stdio::null()).output();
    version.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains(" server v=")
    })
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Asks a server one thing after another.
pub struct Asker(BufReader<TcpStream>);

impl Asker {
    /// The answer: one element, or those of a list; nothing at all is `None`.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn ask(&mut self, words: &[&str]) -> Vec<Option<String>> {
        let mut command = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| command.push_str(&format!("${}\r\n{word}\r\n", word.len())));
        self.0.get_mut().write_all(command.as_bytes()).expect("redis-server takes a command");
        let line = self.line();
        match line.split_at(1) {
            ("*", count) => (0..count.parse().expect("a count")).map(|_| self.element()).collect(),
            _ => vec![self.rest_of(&line)],
        }
    }

    fn element(&mut self) -> Option<String> {
        let line = self.line();
        self.rest_of(&line)
    }

    fn rest_of(&mut self, line: &str) -> Option<String> {
        match line.split_at(1) {
            ("$", "-1") => None,
            ("$", length) => {
                let mut bytes = vec![0; length.parse::<usize>().expect("a length") + 2];
                self.0.read_exact(&mut bytes).expect("redis-server sends what it announced");
                bytes.truncate(bytes.len() - 2);
                Some(String::from_utf8(bytes).expect("text"))
            }
            ("+" | ":", text) => Some(text.to_owned()),
            (_, refusal) => panic!("redis-server refuses: {refusal}"),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("redis-server answers");
        line.trim_end().to_owned()
    }
}
