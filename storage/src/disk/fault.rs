//! A disk that stops working at a chosen write or sync, for tests.
//!
//! The failing write may leave a part of its bytes, as a torn write does. After the failure nothing reaches the files any more: not by writes, not by
//! renames. [`FaultDisk::lose_unsynced`] then also takes back the writes that no sync made durable, as a power failure may.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, RealDisk};

/// Which operation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FaultPoint {
    /// The number of writes and syncs (also renames, removals, new files, changed lengths) that still work.
    pub after: u64,
    /// How many thousandths of the failing write's bytes reach the file.
    pub torn_permille: u32,
}

/// What an unsynced write replaced.
#[derive(Debug)]
struct Undo {
    file: Arc<dyn DiskFile>,
    inode: u64,
    offset: u64,
    before: Vec<u8>,
}

impl Undo {
    fn end(&self) -> u64 {
        self.offset + self.before.len() as u64
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.inode == other.inode && self.offset < other.end() && other.offset < self.end()
    }
}

#[derive(Debug, Default)]
struct State {
    operations: u64,
    fault: Option<FaultPoint>,
    failed: bool,
    unsynced: Vec<Undo>,
}

/// A [`RealDisk`] with a failure in it. Clones share the failure.
#[derive(Debug, Clone, Default)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct FaultFile {
    state: Arc<Mutex<State>>,
    file: Arc<dyn DiskFile>,
    /// The file's identity, however often it is opened and whatever its name becomes.
    inode: u64,
}

fn failure() -> io::Error {
    io::Error::other("the disk failed (by the test's wish)")
}

impl State {
    /// Counts one operation; an error when the disk has failed or fails now.
    fn step(&mut self) -> io::Result<()> {
        if self.failed {
            return Err(failure());
        }
        let number = self.operations;
        self.operations += 1;
        if self.fault.is_some_and(|fault| number >= fault.after) {
            self.failed = true;
            return Err(failure());
        }
        Ok(())
    }
}

impl FaultDisk {
    /// A disk that works until [`Self::fail_at`] says otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the point of failure, counted from the beginning.
    pub fn fail_at(&self, point: FaultPoint) {
        self.state.lock().fault = Some(point);
    }

    /// How many operations were counted.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Whether the disk has failed.
    pub fn failed(&self) -> bool {
        self.state.lock().failed
    }

    /// Fails from now on, and takes back unsynced writes: each for which `lose` says so, unless a newer write over the same bytes stays.
    pub fn lose_unsynced(&self, lose: &mut dyn FnMut() -> bool) -> io::Result<()> {
        let mut state = self.state.lock();
        state.failed = true;
        let mut kept: Vec<Undo> = Vec::new();
        for undo in std::mem::take(&mut state.unsynced).into_iter().rev() {
            if lose() && !kept.iter().any(|newer| newer.overlaps(&undo)) {
                undo.file.write_at(&undo.before, undo.offset)?;
            } else {
                kept.push(undo);
            }
        }
        Ok(())
    }

    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> io::Result<Arc<dyn DiskFile>> {
        let inode = std::fs::metadata(path)?.ino();
        Ok(Arc::new(FaultFile { state: Arc::clone(&self.state), file, inode }))
    }
}

impl FaultFile {
    /// Remembers what a write of `len` bytes at `offset` replaces; what lies past the end counts as zeros.
    fn remember(&self, state: &mut State, len: usize, offset: u64) -> io::Result<()> {
        let mut before = vec![0; len];
        let there = usize::try_from(self.file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
        self.file.read_at(&mut before[..there], offset)?;
        state.unsynced.push(Undo { file: Arc::clone(&self.file), inode: self.inode, offset, before });
        Ok(())
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let failed_before = state.failed;
        match state.step() {
            Ok(()) => {
                self.remember(&mut state, bytes.len(), offset)?;
                self.file.write_at(bytes, offset)
            }
            Err(error) => {
                if let (false, Some(fault)) = (failed_before, state.fault) {
                    let kept = bytes.len() * fault.torn_permille as usize / 1000;
                    self.remember(&mut state, kept, offset)?;
                    self.file.write_at(&bytes[..kept], offset)?;
                }
                Err(error)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        state.unsynced.retain(|undo| undo.inode != self.inode);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        // A cut is taken as durable: undoing it would need the bytes of the whole tail, and the engine cuts only files that it syncs at once.
        state.unsynced.retain(|undo| undo.inode != self.inode || undo.end() <= len);
        self.file.set_len(len)
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(path, RealDisk.open(path)?)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.state.lock().step()?;
        self.wrap(path, RealDisk.create(path)?)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.state.lock().step()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state.lock().step()?;
        RealDisk.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(directory)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        self.state.lock().step()
    }
}
