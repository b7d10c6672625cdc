//! The log: segment files of frames, written at one end, readable everywhere.
//!
//! A segment file is named after the position of its first byte (16 hexadecimal digits) and holds frames only, one after the other, then zeros:
//! files grow by [`PREALLOCATION`] bytes of zeros at a time, so that an append's sync has no new length to make durable. A frame never spans
//! segments. A segment is complete and synced before the next one's name exists; so only the last one can have a torn tail.
//!
//! [`LogWriter`] is the one writer (the engine's append mutex owns it), [`LogFiles`] what readers share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use common::ids::LogPosition;
use parking_lot::RwLock;

use crate::codec::{self, FIRST_BYTE, HEADER, Header};
use crate::disk::{Disk, DiskFile};
use crate::error::StorageError;
use crate::record::Frame;

/// How much a segment file grows at a time.
const PREALLOCATION: u64 = 4 << 20;
/// Encoded frames are handed to the file at least this often within one append.
const WRITE_BYTES: usize = 8 << 20;
/// More than this is never unsynced: what a provisional write may lose, and what keeps the header's 32-bit distance exact.
const MAX_UNSYNCED: u64 = 64 << 20;
/// What a reader of the log reads at a time.
const READ_BYTES: u64 = 1 << 20;

/// The segments, by first position, and how far they are durable.
#[derive(Debug)]
pub(crate) struct LogFiles {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    segments: RwLock<BTreeMap<u64, Arc<dyn DiskFile>>>,
    durable: AtomicU64,
}

/// The writing end.
#[derive(Debug)]
pub(crate) struct LogWriter {
    files: Arc<LogFiles>,
    segment_bytes: u64,
    /// The last segment.
    file: Arc<dyn DiskFile>,
    first: u64,
    /// Up to here the last segment's file exists (as a position).
    allocated: u64,
    end: u64,
    buffer: Vec<u8>,
    poisoned: Option<String>,
}

/// What one segment's bytes turned out to hold.
enum Tail {
    /// Frames to this position and nothing after.
    Clean(u64),
    /// Frames to this position, then the rest of a write that nobody was promised.
    Torn(u64),
}

fn segment_name(first: u64) -> String {
    format!("{first:016x}.seg")
}

fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

impl LogFiles {
    fn path(&self, first: u64) -> PathBuf {
        self.directory.join(segment_name(first))
    }

    /// The durable end.
    pub(crate) fn end(&self) -> LogPosition {
        LogPosition(self.durable.load(Ordering::Acquire))
    }

    /// The first frame's position.
    pub(crate) fn start(&self) -> LogPosition {
        LogPosition(self.segments.read().keys().next().copied().unwrap_or_default())
    }

    /// The bytes that the files may have.
    pub(crate) fn bytes(&self) -> u64 {
        self.end().0 - self.start().0
    }

    /// The segment of a position: its first position, file, and the next segment's first position.
    fn segment(&self, position: u64) -> Option<(u64, Arc<dyn DiskFile>, Option<u64>)> {
        let segments = self.segments.read();
        let (first, file) = segments.range(..=position).next_back()?;
        let next = segments.range(position + 1..).next().map(|(next, _)| *next);
        Some((*first, Arc::clone(file), next))
    }

    /// Durable frames from `from` on, each with the position after it: at least one if there is any, then up to `max_bytes`.
    pub(crate) fn read(&self, from: LogPosition, max_bytes: usize) -> Result<Vec<(LogPosition, Frame)>, StorageError> {
        let durable = self.end().0;
        if from.0 > durable {
            return Err(StorageError::NoSuchPosition { from });
        }
        let (mut frames, mut position) = (Vec::new(), from.0);
        let limit = from.0.saturating_add(max_bytes as u64);
        while position < durable && (position < limit || frames.is_empty()) {
            let Some((first, file, next)) = self.segment(position) else {
                return Err(StorageError::LogRemoved { from, start: self.start() });
            };
            let there = next.unwrap_or(durable).min(durable) - position;
            let mut chunk = self.read_bytes(first, &*file, position, there.min(READ_BYTES))?;
            let wanted = Header::read(&chunk).map_or(0, |header| header.len());
            if wanted > chunk.len() as u64 && wanted <= there {
                chunk = self.read_bytes(first, &*file, position, wanted)?;
            }
            let before = frames.len();
            position = self.parse(first, position, limit, chunk, &mut frames)?;
            if frames.len() == before {
                let what = "no frame where one was written";
                let start = position == from.0;
                return Err(if start { StorageError::NoSuchPosition { from } } else { self.corrupt(first, position, what) });
            }
        }
        Ok(frames)
    }

    /// Takes the whole frames at the beginning of `chunk`, which was read at `position`. Returns the position after them.
    fn parse(
        &self,
        first: u64,
        mut position: u64,
        limit: u64,
        mut chunk: Bytes,
        frames: &mut Vec<(LogPosition, Frame)>,
    ) -> Result<u64, StorageError> {
        while let Some(header) = Header::read(&chunk).filter(|header| header.position.0 == position && header.len() <= chunk.len() as u64) {
            if position >= limit && !frames.is_empty() {
                break;
            }
            let bytes = chunk.split_to(HEADER + header.body);
            if !header.verify(&bytes) {
                break;
            }
            let frame =
                codec::decode_body(&bytes.slice(HEADER..)).ok_or_else(|| self.corrupt(first, position, "a frame with unknown content"))?;
            position += header.len();
            frames.push((LogPosition(position), frame));
        }
        Ok(position)
    }

    fn read_bytes(&self, first: u64, file: &dyn DiskFile, position: u64, len: u64) -> Result<Bytes, StorageError> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_at(&mut bytes, position - first).map_err(StorageError::io("read", &self.path(first)))?;
        Ok(Bytes::from(bytes))
    }

    fn corrupt(&self, first: u64, position: u64, what: &str) -> StorageError {
        StorageError::corrupt(&self.path(first), position - first, what)
    }

    /// Removes segments that end at or before `limit`, never the last.
    pub(crate) fn remove_before(&self, limit: LogPosition) -> Result<(), StorageError> {
        loop {
            let first = {
                let segments = self.segments.read();
                let mut keys = segments.keys();
                match (keys.next(), keys.next()) {
                    (Some(first), Some(next)) if *next <= limit.0 => *first,
                    _ => return Ok(()),
                }
            };
            let path = self.path(first);
            self.segments.write().remove(&first);
            self.disk.remove(&path).map_err(StorageError::io("remove", &path))?;
            // One after the other, so that a crash leaves no hole.
            self.disk.sync_dir(&self.directory).map_err(StorageError::io("sync", &self.directory))?;
        }
    }
}

impl LogWriter {
    /// Opens the log's files; `from` is where recovery will begin.
    pub(crate) fn open(disk: Arc<dyn Disk>, directory: &Path, segment_bytes: u64, from: LogPosition) -> Result<Self, StorageError> {
        let names = disk.list(directory).map_err(StorageError::io("list", directory))?;
        let mut segments = BTreeMap::new();
        for first in names.iter().filter_map(|name| parse_segment_name(name)) {
            let path = directory.join(segment_name(first));
            segments.insert(first, disk.open(&path).map_err(StorageError::io("open", &path))?);
        }
        let files = LogFiles { disk, directory: directory.to_path_buf(), segments: RwLock::new(segments), durable: AtomicU64::new(from.0) };
        if files.segments.read().is_empty() && from.0 == 0 {
            files.create_segment(0)?;
        }
        if files.segment(from.0).is_none() {
            return Err(StorageError::corrupt(directory, from.0, "the log's files from this position on are missing"));
        }
        let last = files.segments.read().last_key_value().map(|(first, file)| (*first, Arc::clone(file)));
        let (first, file) = last.expect("one was found or made");
        let (files, end) = (Arc::new(files), from.0);
        Ok(Self { files, segment_bytes, file, first, allocated: end, end, buffer: Vec::new(), poisoned: None })
    }

    /// Hands every frame behind the opening position (with the position after it) to `apply`, and cuts a torn tail.
    pub(crate) fn recover(&mut self, apply: &mut dyn FnMut(LogPosition, Frame) -> Result<(), StorageError>) -> Result<(), StorageError> {
        let mut position = self.end;
        while let Some((first, file, next)) = self.files.segment(position) {
            position = self.files.replay(first, &*file, position, next, apply)?;
            if next.is_none() {
                break;
            }
        }
        self.allocated = self.first + self.file.len().map_err(StorageError::io("read", &self.files.path(self.first)))?;
        self.end = position;
        self.files.durable.store(position, Ordering::Release);
        Ok(())
    }

    /// What readers share.
    pub(crate) fn files(&self) -> Arc<LogFiles> {
        Arc::clone(&self.files)
    }

    /// The end, durable or not.
    pub(crate) fn end(&self) -> LogPosition {
        LogPosition(self.end)
    }

    /// Why nothing can be written any more, if so.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        match &self.poisoned {
            Some(cause) => Err(StorageError::Poisoned { cause: cause.clone() }),
            None => Ok(()),
        }
    }

    /// Writes frames. Returns the position after each. Not durable before [`Self::sync`].
    /// Frames that are too large are refused before anything is written.
    pub(crate) fn write(&mut self, frames: &[Frame]) -> Result<Vec<LogPosition>, StorageError> {
        self.check()?;
        if let Some(bytes) = frames.iter().map(codec::body_bound).find(|bytes| *bytes > codec::MAX_BODY) {
            return Err(StorageError::FrameTooLarge { bytes, limit: codec::MAX_BODY });
        }
        let result = self.try_write(frames);
        self.poison(result)
    }

    /// Makes everything written durable.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        self.check()?;
        let result = self.try_sync();
        self.poison(result)
    }

    fn poison<T>(&mut self, result: Result<T, StorageError>) -> Result<T, StorageError> {
        if let Err(error) = &result {
            self.poisoned = Some(error.to_string());
        }
        result
    }

    fn try_write(&mut self, frames: &[Frame]) -> Result<Vec<LogPosition>, StorageError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut ends = Vec::with_capacity(frames.len());
        for frame in frames {
            let start = buffer.len();
            let position = self.end + start as u64;
            codec::encode_frame(frame, LogPosition(position), self.files.end(), &mut buffer);
            let end = position + (buffer.len() - start) as u64;
            if end - self.first > self.segment_bytes && position > self.first {
                // The frame begins a new segment; its position stays, but the durable end moves.
                buffer.truncate(start);
                self.flush(&mut buffer)?;
                self.roll()?;
                codec::encode_frame(frame, LogPosition(position), self.files.end(), &mut buffer);
            }
            ends.push(LogPosition(end));
            if buffer.len() >= WRITE_BYTES {
                self.flush(&mut buffer)?;
                if self.end - self.files.end().0 > MAX_UNSYNCED {
                    self.try_sync()?;
                }
            }
        }
        self.flush(&mut buffer)?;
        if self.end - self.files.end().0 > MAX_UNSYNCED {
            self.try_sync()?;
        }
        if buffer.capacity() <= WRITE_BYTES {
            self.buffer = buffer;
        }
        Ok(ends)
    }

    /// Writes the buffer at the end.
    fn flush(&mut self, buffer: &mut Vec<u8>) -> Result<(), StorageError> {
        if buffer.is_empty() {
            return Ok(());
        }
        let path = self.files.path(self.first);
        let end = self.end + buffer.len() as u64;
        if end > self.allocated {
            let full = self.first + self.segment_bytes;
            let allocated = end.max((end + PREALLOCATION).min(full));
            let zeros = vec![0; usize::try_from(allocated - end).expect("bounded by PREALLOCATION")];
            self.file.write_at(&zeros, end - self.first).map_err(StorageError::io("extend", &path))?;
            self.allocated = allocated;
        }
        self.file.write_at(buffer, self.end - self.first).map_err(StorageError::io("write", &path))?;
        self.end = end;
        buffer.clear();
        Ok(())
    }

    fn try_sync(&mut self) -> Result<(), StorageError> {
        if self.files.end().0 < self.end {
            self.file.sync_data().map_err(StorageError::io("sync", &self.files.path(self.first)))?;
            self.files.durable.store(self.end, Ordering::Release);
        }
        Ok(())
    }

    /// Closes the last segment and begins the next.
    fn roll(&mut self) -> Result<(), StorageError> {
        self.try_sync()?;
        self.file = self.files.create_segment(self.end)?;
        self.first = self.end;
        self.allocated = self.end;
        Ok(())
    }
}

impl LogFiles {
    fn create_segment(&self, first: u64) -> Result<Arc<dyn DiskFile>, StorageError> {
        let path = self.path(first);
        let file = self.disk.create(&path).map_err(StorageError::io("create", &path))?;
        self.disk.sync_dir(&self.directory).map_err(StorageError::io("sync", &self.directory))?;
        self.segments.write().insert(first, Arc::clone(&file));
        Ok(file)
    }

    /// Applies the frames of one segment from `position` on. Returns the position after the last.
    fn replay(
        &self,
        first: u64,
        file: &dyn DiskFile,
        position: u64,
        next: Option<u64>,
        apply: &mut dyn FnMut(LogPosition, Frame) -> Result<(), StorageError>,
    ) -> Result<u64, StorageError> {
        let path = self.path(first);
        let len = file.len().map_err(StorageError::io("read", &path))?;
        let end = next.unwrap_or(first + len).min(first + len);
        if end < position {
            return Err(self.corrupt(first, first + len, "the file is too short"));
        }
        // Frames of an earlier process may be only in the system's cache: a second crash must not lose what is applied now.
        if next.is_none() {
            file.sync_data().map_err(StorageError::io("sync", &path))?;
        }
        let bytes = self.read_bytes(first, file, position, end - position)?;
        let tail = self.replay_bytes(first, position, &bytes, apply)?;
        match (tail, next) {
            (Tail::Clean(end) | Tail::Torn(end), Some(next)) if end == next => Ok(end),
            (Tail::Clean(end) | Tail::Torn(end), Some(_)) => Err(self.corrupt(first, end, "no frame where one was written")),
            (Tail::Clean(end), None) => Ok(end),
            (Tail::Torn(cut), None) => {
                // Later frames must not meet the rest of older ones; it goes from front to back, so a crash leaves a torn tail again.
                let zeros = vec![0; bytes.len() - (cut - position) as usize];
                file.write_at(&zeros, cut - first).map_err(StorageError::io("write", &path))?;
                file.sync_data().map_err(StorageError::io("sync", &path))?;
                tracing::warn!(path = %path.display(), offset = cut - first, "cut a torn tail of the log");
                Ok(cut)
            }
        }
    }

    fn replay_bytes(
        &self,
        first: u64,
        start: u64,
        bytes: &Bytes,
        apply: &mut dyn FnMut(LogPosition, Frame) -> Result<(), StorageError>,
    ) -> Result<Tail, StorageError> {
        let mut at = 0;
        while let Some((header, frame)) = whole_frame(bytes, at, start) {
            let body = bytes.slice(at + HEADER..at + frame.len());
            let frame = codec::decode_body(&body).ok_or_else(|| self.corrupt(first, header.position.0, "a frame with unknown content"))?;
            at += HEADER + body.len();
            apply(LogPosition(start + at as u64), frame)?;
        }
        let position = start + at as u64;
        let rest = &bytes[at..];
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(Tail::Clean(position));
        }
        for candidate in memchr::memchr_iter(FIRST_BYTE, rest) {
            if let Some((header, _)) = whole_frame(bytes, at + candidate, start)
                && header.durable.0 > position
            {
                let what =
                    format!("no whole frame, though one was durable when the frame at byte {} was written", header.position.0 - first);
                return Err(self.corrupt(first, position, &what));
            }
        }
        Ok(Tail::Torn(position))
    }
}

/// The whole and undamaged frame at an offset of bytes that begin at position `start`, if there is one.
fn whole_frame(bytes: &[u8], at: usize, start: u64) -> Option<(Header, &[u8])> {
    let rest = &bytes[at..];
    let header = Header::read(rest).filter(|header| header.position.0 == start + at as u64)?;
    let frame = rest.get(..HEADER + header.body)?;
    header.verify(frame).then_some((header, frame))
}
