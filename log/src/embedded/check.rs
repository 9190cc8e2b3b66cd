//! Looking at the journals before the store opens them.
//!
//! A crash can leave a torn end: batches that were never acknowledged, cut or mangled. The store drops a cut end by
//! itself but refuses to open on a mangled one, and it drops everything behind damage in the middle without a word. So
//! the engine looks first: a torn end is cut off; damage in front of data that was acknowledged, which the marks in the
//! batches tell, is an error and nothing is changed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::journal;
use super::marker::{MARKER_KEY, Marker, StoreId};

/// What the store of the known format writes at the end of every batch, and at the start of its version file.
const TRAILER: [u8; 4] = *b"FJL\x03";

const CHUNK_BYTES: usize = 1 << 16;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// Why the journals cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Reading or cutting failed.
    Io(io::Error),
    /// Acknowledged data follows damage at this byte of this file.
    Damaged { file: std::path::PathBuf, at: u64 },
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Checks all journals of a store and cuts off a torn end.
pub(super) fn check(directory: &Path, store: &StoreId) -> Result<(), Unusable> {
    // A journal of another format would look torn: opening the store refuses it with a better reason.
    if !std::fs::read(directory.join("version"))?.starts_with(&TRAILER) {
        return Ok(());
    }
    let journals = journal::list(directory)?;
    let newest = journals.last().map(|(number, _)| *number);
    let mut last = None;
    for (number, file) in journals {
        let scan = Scan::run(&file, store, last)?;
        last = scan.last;
        let Some(rest) = read_rest(&file, scan.valid_end)? else { continue };
        // An older journal was synced as a whole before the next one was begun.
        if Some(number) != newest || was_synced(&rest, store, last) {
            return Err(Unusable::Damaged { file, at: scan.valid_end });
        }
        tracing::warn!(bytes = rest.len(), "cutting a torn end, never acknowledged, off the journal");
        let journal = OpenOptions::new().write(true).open(&file)?;
        journal.set_len(scan.valid_end)?;
        journal.sync_all()?;
    }
    Ok(())
}

/// Whether these bytes, behind the last good batch, prove that a batch among them was synced.
fn was_synced(rest: &[u8], store: &StoreId, last: Option<u64>) -> bool {
    let mut first_bad = last.map(|position| position + 1);
    Marker::find_all(store, rest).any(|mark| {
        let first_bad = *first_bad.get_or_insert(mark.position);
        mark.synced >= first_bad
    })
}

/// What lies behind the last good batch, if it is more than the zeros a journal is allocated with; without the zeros at
/// its end, a chunk more or less.
fn read_rest(file: &Path, from: u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(from))?;
    let (mut chunk, zeros) = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
    let (mut rest, mut pending_zeros) = (Vec::new(), 0);
    loop {
        let read = file.read(&mut chunk)?;
        let content = chunk.get(..read).unwrap_or_default();
        if content.is_empty() {
            return Ok((!rest.is_empty()).then_some(rest));
        }
        if zeros.starts_with(content) {
            pending_zeros += read;
        } else {
            rest.resize(rest.len() + pending_zeros, 0);
            rest.extend_from_slice(content);
            pending_zeros = 0;
        }
    }
}

/// How far the batches of a journal are good.
struct Scan {
    valid_end: u64,
    /// The position of the last good batch, in this journal or an older one.
    last: Option<u64>,
}

impl Scan {
    fn run(file: &Path, store: &StoreId, last: Option<u64>) -> io::Result<Self> {
        let file = File::open(file)?;
        let mut source =
            Source { left: file.metadata()?.len(), at: 0, reader: BufReader::with_capacity(1 << 20, file) };
        // What was known before the batch read last, and after it.
        let (mut before, mut after) = ((0, Self { valid_end: 0, last }), (0, Self { valid_end: 0, last }));
        while let Some((sequence, marker)) = source.batch(store)? {
            // The store's checksum leaves the sequence number out. It grows from batch to batch: where it does not, one of
            // two neighbours is damaged, the earlier one if the later one fits its predecessor.
            if sequence <= after.0 {
                return Ok(if sequence > before.0 { before.1 } else { after.1 });
            }
            let position = marker.map(|marker| marker.position).or(after.1.last);
            before = after;
            after = (sequence, Self { valid_end: source.at, last: position });
        }
        Ok(after.1)
    }
}

/// Reads batches as the store writes them (format 3 of fjall's journal).
struct Source {
    reader: BufReader<File>,
    at: u64,
    left: u64,
}

impl Source {
    /// Reads one batch and returns its sequence number, counted from 1, and its mark; `None` where no good one follows.
    fn batch(&mut self, store: &StoreId) -> io::Result<Option<(u64, Option<Marker>)>> {
        let Some(start) = self.take(1 + 4 + 8)? else { return Ok(None) };
        let Some((START, count, sequence)) = start_of_batch(&start) else { return Ok(None) };
        let (mut hash, mut marker) = (Xxh3::new(), None);
        for _ in 0..count {
            let Some(found) = self.item(&mut hash, store)? else { return Ok(None) };
            marker = found.or(marker);
        }
        let Some(end) = self.take(1 + 8 + 4)? else { return Ok(None) };
        let mut expected = vec![END];
        expected.extend_from_slice(&hash.digest().to_le_bytes());
        expected.extend_from_slice(&TRAILER);
        Ok((end == expected).then_some((sequence.saturating_add(1), marker)))
    }

    /// Reads one item of a batch: `None` where there is none, and inside, its mark if it is one.
    fn item(&mut self, hash: &mut Xxh3, store: &StoreId) -> io::Result<Option<Option<Marker>>> {
        let Some(tag) = self.take(1)? else { return Ok(None) };
        hash.update(&tag);
        let head_bytes = match tag.first() {
            Some(&ITEM) => 1 + 1 + 8 + 2 + 4 + 4,
            Some(&CLEAR) => 8,
            _ => return Ok(None),
        };
        let Some(head) = self.take(head_bytes)? else { return Ok(None) };
        hash.update(&head);
        let Some((key_bytes, value_bytes)) = lengths(&head) else { return Ok(Some(None)) };
        let Some(key) = self.take(key_bytes)? else { return Ok(None) };
        let Some(value) = self.take(value_bytes)? else { return Ok(None) };
        hash.update(&key);
        hash.update(&value);
        Ok(Some(if key == MARKER_KEY { Marker::decode(store, &value) } else { None }))
    }

    /// The next bytes, or `None` if the file has fewer. Never allocates more than the file has.
    fn take(&mut self, bytes: u64) -> io::Result<Option<Vec<u8>>> {
        if bytes > self.left {
            return Ok(None);
        }
        let mut taken = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        self.reader.read_exact(&mut taken)?;
        self.left -= bytes;
        self.at += bytes;
        Ok(Some(taken))
    }
}

/// The tag, the number of items and the sequence number at the start of a batch.
fn start_of_batch(start: &[u8]) -> Option<(u8, u32, u64)> {
    let (tag, rest) = start.split_first()?;
    let (count, sequence) = rest.split_first_chunk()?;
    Some((*tag, u32::from_le_bytes(*count), u64::from_le_bytes(*sequence.first_chunk()?)))
}

/// The lengths of key and stored value in the head of an item; `None` for the head of another entry.
fn lengths(head: &[u8]) -> Option<(u64, u64)> {
    let lengths = head.get(10..20)?;
    let (key, rest) = lengths.split_at_checked(2)?;
    let (_, stored) = rest.split_at_checked(4)?;
    let key = u16::from_le_bytes(key.try_into().ok()?);
    let stored = u32::from_le_bytes(stored.try_into().ok()?);
    Some((u64::from(key), u64::from(stored)))
}
