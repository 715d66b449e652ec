//! The directories that a file sink makes, so that a sink that is not used after all leaves none behind.

use std::path::{Path, PathBuf};

use super::dir_lock::LOCK_FILE;

/// The directories that are not there yet before a sink is made, the outermost first.
#[derive(Debug, Default)]
pub struct NewDirectories(Vec<PathBuf>);

impl NewDirectories {
    /// Those of this path that are missing. Blocks on the disk.
    pub fn missing_of(dir: &Path) -> Self {
        let missing = dir.ancestors().filter(|path| !path.as_os_str().is_empty());
        let mut missing: Vec<_> = missing.take_while(|path| !path.exists()).map(Path::to_owned).collect();
        missing.reverse();
        Self(missing)
    }

    /// Removes them, as far as nothing but the sink's lock is in them. Blocks on the disk.
    pub fn remove(self) {
        if let Some(dir) = self.0.last() {
            // Either can be gone, or be in use: then it stays.
            let _ = std::fs::remove_file(dir.join(LOCK_FILE));
        }
        for dir in self.0.iter().rev() {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_removed_again_and_nothing_else_is() {
        let base = tempfile::tempdir().expect("a directory");
        let dir = base.path().join("a/b");
        let made = NewDirectories::missing_of(&dir);
        std::fs::create_dir_all(&dir).expect("room");
        std::fs::write(dir.join(LOCK_FILE), "").expect("room");
        made.remove();
        assert!(!base.path().join("a").exists() && base.path().exists());

        let made = NewDirectories::missing_of(&dir);
        std::fs::create_dir_all(&dir).expect("room");
        std::fs::write(base.path().join("a/of-somebody-else"), "").expect("room");
        made.remove();
        assert!(!dir.exists() && base.path().join("a/of-somebody-else").exists());
    }
}
