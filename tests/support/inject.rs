//! Faults from below: the system-call tracer and file systems that run full.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Whether strace is here and may trace; says so if not.
pub fn can_trace(what: &str) -> bool {
    // Injecting is a newer feature than tracing, and some containers forbid both.
    let works = succeeds("strace", &["-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=9", "true"]);
    if !works {
        super::servers::skip(what, "strace is missing or may not trace here");
    }
    works
}

/// Whether a private file system can be mounted; says so if not.
pub fn can_mount(what: &str) -> bool {
    let works = succeeds("unshare", &["-m", "mount", "-t", "tmpfs", "none", "/mnt"]);
    if !works {
        super::servers::skip(what, "a private mount needs root and CAP_SYS_ADMIN");
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

/// A command prefix that traces what its command does, into a file.
///
/// The tracer steps aside (`-D`), so that the child's process id and exit code are the bridge's.
pub fn trace(into: &Path, arguments: &[&str]) -> Vec<String> {
    let into = into.to_str().expect("the home's path is UTF-8");
    let fixed = ["strace", "-D", "-f", "-q", "-o", into];
    fixed.iter().chain(arguments).map(|argument| (*argument).into()).collect()
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
