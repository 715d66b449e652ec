//! What a start says of the directory that it was given.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The process, ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a bridge with this spool says until it is ready.
fn said_at_start(dir: &tempfile::TempDir) -> Vec<String> {
    let text = "http: { listen: \"127.0.0.1:0\" }\n\
                admin: { listen: \"127.0.0.1:0\" }\n\
                spool: { dir: spool, free_bytes_min: 0 }\n\
                sources: { a: { provider: stream, secrets: [env:STREAM_SECRET] } }\n\
                sinks: { b: { file: { dir: topics } } }\n";
    fs::write(dir.path().join("fanbridge.yaml"), text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanbridge"));
    command.current_dir(dir.path()).env_clear().env("STREAM_SECRET", "0123456789abcdef0123456789abcdef");
    let child = command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut running = Running(child.expect("the binary runs"));
    let stderr = running.0.stderr.take().expect("piped");
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut said = Vec::new();
    for line in BufReader::new(stderr).lines() {
        said.push(line.expect("text"));
        if said.last().is_some_and(|line| line.contains("the bridge is ready: deliveries are taken")) {
            return said;
        }
        assert!(Instant::now() < deadline, "not ready: {said:#?}");
    }
    panic!("it ended: {said:#?}");
}

#[test]
fn a_spool_directory_that_others_may_look_into_is_warned_of_once() {
    for (mode, warned) in [(None, 0), (Some(0o755), 1), (Some(0o750), 0), (Some(0o701), 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let spool = dir.path().join("spool");
        if let Some(mode) = mode {
            fs::create_dir(&spool).expect("made");
            fs::set_permissions(&spool, fs::Permissions::from_mode(mode)).expect("owned");
        }
        let said = said_at_start(&dir);
        let warnings: Vec<_> = said.iter().filter(|line| line.contains("chmod o=")).collect();
        assert_eq!(warnings.len(), warned, "{mode:?}: {said:#?}");
        assert!(warnings.iter().all(|line| line.contains(&format!("{:04o}", mode.unwrap_or_default()))));
    }
}
