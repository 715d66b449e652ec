#![allow(clippy::unwrap_used)]
use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_look_says_what_stands_under_the_name_itself() {
    let dir = tempfile::tempdir().unwrap();
    let [path, second, link] = ["file", "second", "link"].map(|name| dir.path().join(name));
    fs::write(&path, "12345").unwrap();
    let (disk, id) = (RealDisk::default(), FileId::at(&path).unwrap());
    assert_eq!(disk.look(&path).unwrap(), Look { id, len: 5, names: 1 });
    fs::hard_link(&path, &second).unwrap();
    assert_eq!(disk.look(&second).unwrap(), Look { id, len: 5, names: 2 });
    symlink(&path, &link).unwrap();
    assert_eq!(disk.look(&link).unwrap().id, FileId::at(&link).unwrap());
    assert_ne!(disk.look(&link).unwrap().id, id);
    fs::remove_file(&path).unwrap();
    assert_eq!(disk.look(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
}
