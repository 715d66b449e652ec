//! Faults from below: the system-call tracer and file systems that run full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::await_until;

/// Whether strace is here and may trace; says so if not.
pub fn can_trace(what: &str) -> bool {
    // Injecting is a newer feature than tracing, and some containers forbid both.
    let works = succeeds("strace", &["-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=9", "true"]);
    if !works {
        super::servers::skip(what, "strace is missing or may not trace here");
    }
    works
}

/// Whether strace may attach to a process that runs; says so if not.
pub fn can_attach(what: &str) -> bool {
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep runs");
    let pid = sleeper.id().to_string();
    // Once the process is traced its end is the tracer's; one that cannot attach ends with an error.
    let tracer = Command::new("timeout")
        .args(["10", "strace", "-q", "-o", "/dev/null", "-e", "inject=pwrite64:error=ENOSPC", "-p", &pid])
        .stderr(Stdio::null())
        .spawn();
    let attached = tracer.is_ok_and(|mut tracer| {
        let untraced = "TracerPid:\t0\n";
        let told = await_until("strace attaches or ends", Duration::from_secs(20), || {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let ended = tracer.try_wait().expect("the child can be asked").is_some();
            (ended || !status.contains(untraced)).then_some(!ended)
        });
        let _ = sleeper.kill();
        let _ = tracer.wait();
        told
    });
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    if !attached {
        super::servers::skip(what, "strace is missing or may not attach here");
    }
    attached
}

/// Whether a private file system can be mounted; says so if not.
pub fn can_mount(what: &str) -> bool {
    let works = succeeds("unshare", &["-m", "mount", "-t", "tmpfs", "none", "/mnt"]);
    if !works {
        super::servers::skip(what, "a private mount needs root and CAP_SYS_ADMIN");
    }
    works
}

/// Whether a process can have a network of its own, with a loopback; says so if not.
pub fn can_be_alone_in_its_network(what: &str) -> bool {
    let works = succeeds("unshare", &["-n", "sh", "-c", "ip link set lo up && nsenter -n -t $$ true"]);
    if !works {
        super::servers::skip(what, "a network of its own needs root, CAP_SYS_ADMIN and iproute2");
    }
    works
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A command prefix under which a directory is a small file system of its own, seen only by the
/// command and what it becomes.
pub fn tiny_disk(dir: &Path, kibibytes: u32) -> Vec<String> {
    let script = r#"mkdir -p "$0" && mount -t tmpfs -o "size=${1}k" none "$0" && shift && exec "$@""#;
    let dir = dir.to_str().expect("the home's path is UTF-8");
    ["unshare", "-m", "sh", "-c", script, dir, &kibibytes.to_string()].map(Into::into).into()
}

/// A command prefix under which a directory takes no writes, for the command and what it becomes.
pub fn read_only(dir: &Path) -> Vec<String> {
    let script = r#"mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
                    ! touch "$0/written" 2>/dev/null && exec "$@""#;
    let dir = dir.to_str().expect("the home's path is UTF-8");
    ["unshare", "-m", "sh", "-c", script, dir].map(Into::into).into()
}

/// A command prefix that traces what its command does, into a file.
///
/// The tracer steps aside (`-D`), so that the child's process id and exit code are the bridge's.
pub fn trace(into: &Path, arguments: &[&str]) -> Vec<String> {
    let into = into.to_str().expect("the home's path is UTF-8");
    let fixed = ["strace", "-D", "-f", "-q", "-o", into];
    fixed.iter().chain(arguments).map(|argument| (*argument).into()).collect()
}

/// A command prefix under which a file that is there lies on a small file system of its own, which
/// is seen only by the command and what it becomes, in the directory `on`.
pub fn tiny_disk_under(file: &Path, on: &Path, kibibytes: u32) -> Vec<String> {
    let script = r#"mkdir -p "$1" && mount -t tmpfs -o "size=${2}k" none "$1" && cp "$0" "$1/file" &&
                    mount --bind "$1/file" "$0" && shift 2 && exec "$@""#;
    let text = |path: &Path| path.to_str().expect("the home's path is UTF-8").to_owned();
    let fixed = ["unshare", "-m", "sh", "-c", script].map(String::from);
    fixed.into_iter().chain([text(file), text(on), kibibytes.to_string()]).collect()
}

/// While this is there, system calls of a running process fail, on one file or all of them.
pub struct FileFault {
    tracer: Child,
    traced: u32,
}

impl FileFault {
    /// From when this returns on; what fails is written as strace wants it (`pwrite64:error=EIO`).
    pub fn begin(process: u32, file: &Path, what: &str) -> Self {
        Self::attach(process, ["-P", file.to_str().expect("the home's path is UTF-8")], what)
    }

    /// The same of every call of one name, whatever it is about.
    pub fn everywhere(process: u32, what: &str) -> Self {
        let name = what.split(':').next().expect("a split has a first part");
        Self::attach(process, ["-e", &format!("trace={name}")], what)
    }

    fn attach(process: u32, which: [&str; 2], what: &str) -> Self {
        let (inject, process_text) = (format!("inject={what}"), process.to_string());
        let mut strace = Command::new("strace");
        strace.args(["-f", "-q", "-o", "/dev/null"]).args(which).args(["-e", &inject, "-p", &process_text]);
        strace.stdout(Stdio::null()).stderr(Stdio::null());
        await_until("all threads are traced", Duration::from_secs(30), || {
            let tracer = strace.spawn().expect("strace runs");
            let fault = Self { tracer, traced: process };
            let begun = Instant::now();
            while !fault.holds() {
                // It looks once which threads there are: one that began meanwhile is never traced.
                if begun.elapsed() > Duration::from_secs(3) {
                    return None;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Some(fault)
        })
    }

    /// Whether it traces every thread.
    fn holds(&self) -> bool {
        let traced = |status: String| status.contains(&format!("TracerPid:\t{}\n", self.tracer.id()));
        let tasks = fs::read_dir(format!("/proc/{}/task", self.traced)).into_iter().flatten().flatten();
        // A thread that has ended meanwhile need not be traced.
        let mut statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
        statuses.all(traced)
    }
}

impl Drop for FileFault {
    fn drop(&mut self) {
        // Asked to, it lets go of the threads before it ends.
        let tracer = i32::try_from(self.tracer.id()).ok().and_then(Pid::from_raw);
        if let Some(tracer) = tracer {
            // Fails only when it has ended already.
            let _ = kill_process(tracer, Signal::TERM);
        }
        // One that holds a call back may not hear; the kernel then lets go for it.
        let patience = Instant::now() + Duration::from_secs(3);
        while matches!(self.tracer.try_wait(), Ok(None)) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
    }
}

/// A file that takes up space until it is removed.
pub struct Ballast(PathBuf);

impl Ballast {
    /// Fills a directory's file system to the last byte.
    pub fn fill(dir: &Path) -> Self {
        use std::io::Write;
        let path = dir.join("ballast");
        let mut file = std::fs::File::create(&path).expect("an almost full disk still takes a name");
        for chunk in [[0_u8; 4096].as_slice(), &[0]] {
            while file.write_all(chunk).is_ok() {}
        }
        Self(path)
    }

    /// Gives the space back.
    pub fn drop_it(self) {
        std::fs::remove_file(&self.0).expect("the ballast can be removed");
    }
}
