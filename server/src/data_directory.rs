//! Whose directory this is: a file names the format and the kind of node, and a lock on that file keeps other processes out.
//!
//! Invariant: a directory that has files in it but not this one is never written to.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::error::ServerError;

/// The file's name.
const MARK: &str = "PARTITA";
/// The format of the directory as a whole; its parts have their own.
const FORMAT: u32 = 1;
/// What may lie in a directory that is empty otherwise (a mounted volume).
const IGNORED: [&str; 1] = ["lost+found"];

/// A claimed data directory; released when it is dropped, or the process ends in any way.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

impl DataDirectory {
    /// Takes the directory for this process and this kind of node (`start`, `catalog`, `worker`); makes it if it is not there.
    pub(crate) fn claim(path: &Path, kind: &str) -> Result<Self, ServerError> {
        let failed = |cause| ServerError::DataIo { path: path.to_path_buf(), cause };
        std::fs::create_dir_all(path).map_err(failed)?;
        let mark = path.join(MARK);
        if !mark.exists() {
            for entry in std::fs::read_dir(path).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if name != MARK && !IGNORED.iter().any(|ignored| name == *ignored) {
                    return Err(ServerError::DataForeign { path: path.to_path_buf() });
                }
            }
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&mark).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ServerError::DataInUse { path: path.to_path_buf() }),
            Err(TryLockError::Error(cause)) => return Err(failed(cause)),
        }
        let expected = format!("partita {kind} {FORMAT}");
        let found = read_mark(&mut file).map_err(failed)?;
        if found.is_empty() {
            // New, or a crash came between the making and the writing: nothing else was written then.
            write_mark(&mut file, path, &expected).map_err(failed)?;
        } else if found.trim_end() != expected {
            return Err(ServerError::DataFormat { path: path.to_path_buf(), found: found.trim_end().to_owned(), expected });
        }
        Ok(Self { path: path.to_path_buf(), _lock: file })
    }

    /// The directory of a part.
    pub(crate) fn part(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory of a worker of `partita start`, counted from 1.
    pub(crate) fn worker(&self, number: u32) -> PathBuf {
        self.part(&format!("worker-{number}"))
    }

    /// How many workers to start: those that are there and those that are asked for in addition.
    pub(crate) fn workers(&self, asked: Option<u32>) -> Result<u32, ServerError> {
        let failed = |cause| ServerError::DataIo { path: self.path.clone(), cause };
        let mut found = 0;
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("worker-")).and_then(|n| n.parse().ok());
            found = found.max(number.unwrap_or(0));
        }
        match asked {
            Some(asked) if asked < found => Err(ServerError::TooFewWorkers { path: self.path.clone(), found, asked }),
            Some(asked) => Ok(asked),
            None => Ok(found.max(1)),
        }
    }
}

fn read_mark(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(100).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write_mark(file: &mut File, directory: &Path, text: &str) -> io::Result<()> {
    writeln!(file, "{text}")?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_claimed_once_and_for_one_kind() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let claimed = DataDirectory::claim(&path, "start").unwrap();
        assert!(matches!(DataDirectory::claim(&path, "start"), Err(ServerError::DataInUse { .. })));
        drop(claimed);
        DataDirectory::claim(&path, "start").unwrap();
        let told = DataDirectory::claim(&path, "worker").unwrap_err().to_string();
        assert!(told.ends_with("it says \"partita start 1\", not \"partita worker 1\""), "{told}");
    }

    #[test]
    fn a_foreign_directory_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("thesis.txt"), "x").unwrap();
        assert!(matches!(DataDirectory::claim(root.path(), "start"), Err(ServerError::DataForeign { .. })));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1);
        let file = root.path().join("thesis.txt");
        assert!(matches!(DataDirectory::claim(&file, "start"), Err(ServerError::DataIo { .. })));
    }

    #[test]
    fn workers_do_not_vanish() {
        let root = tempfile::tempdir().unwrap();
        let claimed = DataDirectory::claim(root.path(), "start").unwrap();
        assert_eq!(claimed.workers(None).unwrap(), 1);
        for number in 1..=3 {
            std::fs::create_dir(claimed.worker(number)).unwrap();
        }
        assert_eq!(claimed.workers(None).unwrap(), 3);
        assert_eq!(claimed.workers(Some(5)).unwrap(), 5);
        assert!(claimed.workers(Some(2)).unwrap_err().to_string().ends_with("has 3 workers, and cannot be started with 2"));
    }
}
