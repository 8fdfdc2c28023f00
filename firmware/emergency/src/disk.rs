//! Files written so that a power cut leaves the old one or the new one, never half of one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Room that is left to settings, logs and recordings.
pub(crate) const RESERVE: u64 = 32 * 1024 * 1024;

/// A file that replaces another when it is complete. Dropped before that, it is gone.
///
/// Order: write beside the target, sync the file, rename, sync the folder. A power cut before the rename leaves the old
/// file and a `.part`, which the next attempt overwrites; after it, the new one.
pub(crate) struct Replacement {
    target: PathBuf,
    part: PathBuf,
    file: File,
    committed: bool,
}

impl Replacement {
    pub(crate) fn begin(target: &Path) -> Result<Self, Error> {
        let mut part = target.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&part)
            .map_err(unwritable(&part))?;
        // Two that write one file would mix their blocks. The lock goes with the process, however that ends.
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Busy { path: target.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(unwritable(&part)(source)),
        }
        file.set_len(0).map_err(unwritable(&part))?;
        Ok(Self { target: target.to_owned(), part, file, committed: false })
    }

    pub(crate) const fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(crate) fn commit(mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(unwritable(&self.part))?;
        fs::rename(&self.part, &self.target).map_err(unwritable(&self.target))?;
        self.committed = true;
        let folder = self.target.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable(folder))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing to be done if that fails too; the next attempt overwrites it.
            let _ = fs::remove_file(&self.part);
        }
    }
}

pub(crate) fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Unwritable { path, source }
}

/// Refuses what would fill the disk, before anything is written.
pub(crate) fn room(folder: &Path, bytes: u64) -> Result<(), Error> {
    let about = nix::sys::statvfs::statvfs(folder)
        .map_err(|errno| unwritable(folder)(io::Error::from_raw_os_error(errno as i32)))?;
    // Its integers differ in width from one architecture to another.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "u32 on 32-bit boards")]
    let free = (about.blocks_available() as u64).saturating_mul(about.fragment_size() as u64);
    fits(folder, bytes, free)
}

fn fits(folder: &Path, bytes: u64, free: u64) -> Result<(), Error> {
    let needs = bytes.saturating_add(RESERVE);
    if needs > free { Err(Error::Full { folder: folder.to_owned(), needs, free }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use std::io::Write;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.ready");
        fs::write(&target, "old").unwrap();
        let mut dropped = Replacement::begin(&target).unwrap();
        dropped.file().write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(fs::read(&target).unwrap(), b"old");
        let mut whole = Replacement::begin(&target).unwrap();
        whole.file().write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old", "until it is committed");
        whole.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("a.ready");
        let first = Replacement::begin(&target).unwrap();
        let told = Replacement::begin(&target).err().unwrap();
        assert_eq!(told.kind(), Kind::Again, "{told}");
        first.commit().unwrap();
        Replacement::begin(&target).unwrap();
    }

    #[test]
    fn a_full_disk_is_told_beforehand_and_meanwhile() {
        let before = fits(Path::new("/data"), 1_000_000_000, 500_000_000).unwrap_err();
        assert_eq!(before.kind(), Kind::Disk);
        assert!(before.to_string().contains("1034 MB are needed and 500 MB free"), "{before}");
        assert!(fits(Path::new("/data"), 1_000_000_000, 1_000_000_000 + RESERVE).is_ok());
        let error = File::options().write(true).open("/dev/full").unwrap().write_all(b"x").unwrap_err();
        let meanwhile = unwritable(Path::new("/data/a.ready"))(error);
        assert_eq!(meanwhile.kind(), Kind::Disk);
        assert!(meanwhile.to_string().contains("the disk is full"), "{meanwhile}");
    }

    #[test]
    fn a_folder_that_is_not_there_is_told() {
        let told = Replacement::begin(Path::new("/nonexistent/a.ready")).err().unwrap().to_string();
        assert!(told.contains("make the folder"), "{told}");
    }
}
