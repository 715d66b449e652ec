//! Writes files into a directory that belongs to an export, and replaces only what an earlier one has
//! written.
//!
//! A list in the directory says which files are the export's. It is written before any of them, and what is
//! no longer exported is removed last, so that an export that was interrupted is finished by the next one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::{Exit, Failure};
use super::eventcatalog::Files;
use crate::telemetry::Shown;

/// The file with the list.
const LIST: &str = ".fanbridge-export.json";
/// Largest list that is read, in bytes.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Which files below the directory are those of the export.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Exported {
    files: BTreeSet<String>,
}

/// Writes the files, and removes those of the export before that are not among them.
///
/// # Errors
/// Exit code 2 if the directory has files that no export has written, or links that lead elsewhere; 74 if it
/// cannot be written.
pub(super) fn write(dir: &Path, files: &Files) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(format_args!("cannot write into {}", dir.display()), &error);
    fs::create_dir_all(dir).map_err(failed)?;
    let before = exported(dir)?;
    for path in files.keys().filter(|path| !before.files.contains(*path)) {
        if fs::symlink_metadata(dir.join(path)).is_ok() {
            let message = format!(
                "{} is in the way: no export has written it; move it, or name another directory",
                dir.join(path).display()
            );
            return Err(Failure::new(Exit::Usage, message));
        }
    }
    let now = Exported { files: files.keys().cloned().collect() };
    now.files.union(&before.files).try_for_each(|path| refuse_links(dir, path))?;
    let both = Exported { files: before.files.union(&now.files).cloned().collect() };
    note(dir, &both).map_err(failed)?;
    for (path, text) in files {
        let path = dir.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        fs::write(path, text).map_err(failed)?;
    }
    for path in before.files.difference(&now.files) {
        remove(dir, path).map_err(failed)?;
    }
    note(dir, &now).map_err(failed)
}

/// What the export before has written. Of an empty directory that is nothing.
fn exported(dir: &Path) -> Result<Exported, Failure> {
    let failed =
        |error: &io::Error| Failure::io(format_args!("cannot read {}", dir.join(LIST).display()), error);
    refuse_links(dir, LIST)?;
    let mut text = String::new();
    match fs::File::open(dir.join(LIST)) {
        Ok(list) => {
            list.take(LIST_BYTES_MAX).read_to_string(&mut text).map_err(|error| failed(&error))?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut entries = fs::read_dir(dir).map_err(|error| failed(&error))?;
            return match entries.next() {
                None => Ok(Exported::default()),
                Some(_) => {
                    let dir = dir.display();
                    let message = format!(
                        "the directory {dir} is not empty, and no export has made it: name a new one, or one \
                         of an earlier export"
                    );
                    Err(Failure::new(Exit::Usage, message))
                }
            };
        }
        Err(error) => return Err(failed(&error)),
    }
    let list: Exported =
        serde_json::from_str(&text).map_err(|error: serde_json::Error| failed(&error.into()))?;
    match list.files.iter().find(|path| !is_inside(path)) {
        None => Ok(list),
        Some(path) => {
            let message = format!(
                "{} names `{}`, which is not below the directory: name another directory",
                dir.join(LIST).display(),
                Shown(path)
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Refuses a path that a symbolic link leads out of the directory: no export makes one.
fn refuse_links(dir: &Path, path: &str) -> Result<(), Failure> {
    let parts = Path::new(path).ancestors().filter(|part| *part != Path::new(""));
    let mut parts = parts.map(|part| dir.join(part));
    let is_link = |part: &PathBuf| fs::symlink_metadata(part).is_ok_and(|found| found.is_symlink());
    match parts.find(is_link) {
        None => Ok(()),
        Some(link) => {
            let message = format!(
                "{} is a symbolic link, and no export follows one: remove it, or name another directory",
                link.display()
            );
            Err(Failure::new(Exit::Usage, message))
        }
    }
}

/// Whether a path leads to something below the directory from which it is followed.
fn is_inside(path: &str) -> bool {
    let path = Path::new(path);
    path.components().count() > 0 && path.components().all(|part| matches!(part, Component::Normal(_)))
}

fn note(dir: &Path, exported: &Exported) -> io::Result<()> {
    fs::write(dir.join(LIST), format!("{}\n", serde_json::to_string_pretty(exported)?))
}

/// Removes a file of an earlier export, and the directories that have nothing else in them.
fn remove(dir: &Path, path: &str) -> io::Result<()> {
    match fs::remove_file(dir.join(path)) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let around = Path::new(path).ancestors().skip(1).filter(|around| *around != Path::new(""));
    for around in around {
        // A directory with something of somebody else stays.
        if fs::remove_dir(dir.join(around)).is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Files {
        paths.iter().map(|path| ((*path).to_owned(), format!("of {path}\n"))).collect()
    }

    #[test]
    fn an_export_replaces_what_an_earlier_one_has_written_and_nothing_else() {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("new/catalogue");
        write(&dir, &files(&["a/one.mdx", "a/b/two.mdx"])).expect("a new directory is made");
        fs::write(dir.join("a/mine.md"), "mine").expect("it is there");
        write(&dir, &files(&["a/one.mdx", "c/three.mdx"])).expect("its own directory");
        assert!(!dir.join("a/b").exists() && dir.join("c/three.mdx").exists());
        assert_eq!(fs::read_to_string(dir.join("a/mine.md")).expect("it stays"), "mine");
        let refused = write(&dir, &files(&["a/mine.md"])).expect_err("it is not the export's");
        assert_eq!(refused.exit, Exit::Usage);
        assert_eq!(fs::read_to_string(dir.join("a/mine.md")).expect("it stays"), "mine");
        assert!(dir.join("c/three.mdx").exists(), "a refused export removes nothing");
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let home = tempfile::tempdir().expect("a directory");
        fs::write(home.path().join("theirs"), "theirs").expect("it is written");
        let refused = write(home.path(), &files(&["a/one.mdx"])).expect_err("it is not empty");
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.to_string().contains("not empty"), "{refused}");
        assert_eq!(fs::read_dir(home.path()).expect("it is read").count(), 1);
        let file = write(&home.path().join("theirs"), &files(&["a"])).expect_err("it is a file");
        assert_eq!(file.exit, Exit::Io);
    }

    #[test]
    fn a_list_that_names_a_file_elsewhere_removes_nothing() {
        let home = tempfile::tempdir().expect("a directory");
        let dir = home.path().join("catalogue");
        let target = home.path().join("target");
        fs::write(&target, "theirs").expect("it is written");
        for path in ["../target", &target.display().to_string(), "", ".", "a/../../target"] {
            fs::create_dir_all(&dir).expect("it is made");
            fs::write(dir.join(LIST), serde_json::json!({ "files": [path] }).to_string()).expect("written");
            let refused = write(&dir, &files(&["a/one.mdx"])).expect_err("the list is not an export's");
            assert_eq!(refused.exit, Exit::Usage, "{path}");
            assert!(target.exists(), "{path}");
        }
    }

    #[test]
    fn a_link_in_the_directory_leads_an_export_nowhere_else() {
        let home = tempfile::tempdir().expect("a directory");
        let (dir, elsewhere) = (home.path().join("catalogue"), home.path().join("elsewhere"));
        fs::create_dir(&elsewhere).expect("it is made");
        let target = elsewhere.join("one.mdx");
        fs::write(&target, "theirs").expect("it is written");
        let to_new = || write(&dir, &files(&["a/new.mdx"]));
        let to_same = || write(&dir, &files(&["a/one.mdx"]));
        for (link, leads_to) in [("a", &elsewhere), ("a/one.mdx", &target), (LIST, &target)] {
            for written in [&to_new as &dyn Fn() -> Result<(), Failure>, &to_same] {
                fs::create_dir_all(dir.join("a")).expect("it is made");
                let list = serde_json::json!({ "files": ["a/one.mdx"] }).to_string();
                fs::write(dir.join(LIST), list).expect("it is written");
                let link = dir.join(link);
                let _ = (fs::remove_file(&link), fs::remove_dir(&link));
                std::os::unix::fs::symlink(leads_to, &link).expect("it is made");
                let refused = written().expect_err("a link leads out of the directory");
                assert_eq!(refused.exit, Exit::Usage, "{refused}");
                assert_eq!(fs::read_to_string(&target).expect("it stays"), "theirs", "{link:?}");
                fs::remove_dir_all(&dir).expect("it goes");
            }
        }
        assert_eq!(fs::read_dir(&elsewhere).expect("it is read").count(), 1);
    }
}
