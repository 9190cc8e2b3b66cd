//! A server's copy of a partition as it is on disk while the server is stopped.
//!
//! Fluvio 0.50 keeps it in a folder `TOPIC-PARTITION`: segments `OFFSET.log` of batches, each with a sparse `OFFSET.index` that is
//! made anew where it is missing, and `replication.chk`, the offset up to which all copies were known to have everything.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::fluvio::wire::{self, Extent};

const MARK: &str = "replication.chk";
/// Larger segments are none of this program's, whose topics have segments of 16 MiB.
const LARGEST_SEGMENT: u64 = 64 << 20;

/// A copy on disk. Nobody else may use it meanwhile.
pub(super) struct Copy {
    folder: PathBuf,
    /// The first offset of each segment, in order.
    segments: Vec<i64>,
}

/// A batch of a copy.
pub(super) struct Batch {
    /// The offset of its first record.
    pub(super) base: i64,
    /// One past the offset of its last.
    pub(super) end: i64,
    pub(super) bytes: Bytes,
    segment: i64,
    /// Where in the segment it begins.
    at: u64,
}

impl Copy {
    /// The copy in this folder; none where there is no such folder.
    pub(super) fn open(folder: &Path) -> io::Result<Option<Self>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        let mut segments = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                segments.extend(path.file_stem().and_then(|stem| stem.to_str()?.parse::<i64>().ok()));
            }
        }
        segments.sort_unstable();
        Ok(Some(Self { folder: folder.to_owned(), segments }))
    }

    /// Up to where all copies were known to have everything, when the server last wrote it down; the very beginning where it is not
    /// known.
    pub(super) fn mark(&self) -> io::Result<i64> {
        match fs::read(self.folder.join(MARK)) {
            Ok(bytes) => Ok(bytes.try_into().map_or(0, i64::from_be_bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    pub(super) fn set_mark(&self, mark: i64) -> io::Result<()> {
        fs::write(self.folder.join(MARK), mark.to_be_bytes())
    }

    /// The segments that have something at this offset or behind it.
    pub(super) fn segments_from(&self, offset: i64) -> &[i64] {
        let behind = self.segments.partition_point(|base| *base <= offset);
        self.segments.get(behind.saturating_sub(1)..).unwrap_or_default()
    }

    /// The batches of a segment that are whole. What follows them was being written when the server ended, and the server
    /// drops it itself.
    pub(super) fn batches(&self, segment: i64) -> io::Result<Vec<Batch>> {
        let path = self.path(segment, "log");
        if fs::metadata(&path)?.len() > LARGEST_SEGMENT {
            let what = format!("{} is larger than {LARGEST_SEGMENT} bytes", path.display());
            return Err(io::Error::new(ErrorKind::InvalidData, what));
        }
        let mut rest = Bytes::from(fs::read(&path)?);
        let (mut batches, mut at) = (Vec::new(), 0);
        while let Some(Extent { base, end, size }) = wire::extent(&rest).map_err(io::Error::other)?
            && size <= rest.len()
        {
            batches.push(Batch { base, end, bytes: rest.split_to(size), segment, at });
            at += u64::try_from(size).map_err(io::Error::other)?;
        }
        Ok(batches)
    }

    /// One past the last offset.
    pub(super) fn end(&self) -> io::Result<i64> {
        let Some(last) = self.segments.last() else { return Ok(0) };
        Ok(self.batches(*last)?.last().map_or(*last, |batch| batch.end))
    }

    /// Drops this batch and everything behind it.
    ///
    /// An index goes before what it points into, and the last segment goes first: wherever this is interrupted, a copy is left
    /// that the server can open.
    pub(super) fn cut(&mut self, from: &Batch) -> io::Result<()> {
        while let Some(last) = self.segments.pop_if(|last| *last > from.segment) {
            self.forget_index(last)?;
            fs::remove_file(self.path(last, "log"))?;
        }
        self.forget_index(from.segment)?;
        File::options().write(true).open(self.path(from.segment, "log"))?.set_len(from.at)
    }

    fn forget_index(&self, segment: i64) -> io::Result<()> {
        match fs::remove_file(self.path(segment, "index")) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn path(&self, segment: i64, extension: &str) -> PathBuf {
        self.folder.join(format!("{segment:020}.{extension}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fluvio::wire::BatchWriter;

    /// A segment of batches with so many records each, from this offset on.
    fn write(folder: &Path, base: i64, batches: &[u8]) {
        let (mut bytes, mut offset) = (Vec::new(), base);
        for records in batches {
            let mut writer = BatchWriter::new(1_700_000_000_000);
            for record in 0..*records {
                writer.push(1, |to| to.push(record));
            }
            let start = bytes.len();
            bytes.extend_from_slice(&writer.finish().0);
            bytes[start..start + 8].copy_from_slice(&offset.to_be_bytes());
            offset += i64::from(*records);
        }
        fs::write(folder.join(format!("{base:020}.log")), bytes).unwrap();
        fs::write(folder.join(format!("{base:020}.index")), [0; 16]).unwrap();
    }

    fn three_segments() -> (tempfile::TempDir, Copy) {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), 0, &[2, 3]);
        write(folder.path(), 5, &[1, 4, 2]);
        write(folder.path(), 12, &[3]);
        let copy = Copy::open(folder.path()).unwrap().unwrap();
        (folder, copy)
    }

    fn found(folder: &Path) -> Vec<String> {
        let names =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_copy_is_its_segments_in_order() {
        let (folder, copy) = three_segments();
        for (offset, segments) in
            [(0, &[0, 5, 12][..]), (4, &[0, 5, 12]), (5, &[5, 12]), (11, &[5, 12]), (12, &[12]), (99, &[12])]
        {
            assert_eq!(copy.segments_from(offset), segments, "{offset}");
        }
        let batches: Vec<_> = copy.batches(5).unwrap().iter().map(|batch| (batch.base, batch.end)).collect();
        assert_eq!(batches, [(5, 6), (6, 10), (10, 12)]);
        assert_eq!(copy.end().unwrap(), 15);
        assert!(Copy::open(&folder.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn the_mark_is_what_was_written_down_and_nothing_where_that_cannot_be_read() {
        let (folder, copy) = three_segments();
        assert_eq!(copy.mark().unwrap(), 0);
        copy.set_mark(7).unwrap();
        assert_eq!(copy.mark().unwrap(), 7);
        fs::write(folder.path().join(MARK), [1, 2]).unwrap();
        assert_eq!(copy.mark().unwrap(), 0);
    }

    #[test]
    fn what_is_cut_goes_with_its_index_and_all_that_follows() {
        let (folder, mut copy) = three_segments();
        let batch = copy.batches(5).unwrap().swap_remove(1);
        copy.cut(&batch).unwrap();
        let left = ["00000000000000000000.index", "00000000000000000000.log", "00000000000000000005.log"];
        assert_eq!(found(folder.path()), left);
        let again = Copy::open(folder.path()).unwrap().unwrap();
        assert_eq!((copy.end().unwrap(), again.end().unwrap()), (6, 6));
    }

    #[test]
    fn a_copy_that_is_cut_at_its_beginning_keeps_an_empty_segment() {
        let (folder, mut copy) = three_segments();
        let batch = copy.batches(0).unwrap().swap_remove(0);
        copy.cut(&batch).unwrap();
        assert_eq!(found(folder.path()), ["00000000000000000000.log"]);
        assert_eq!(copy.end().unwrap(), 0);
    }

    #[test]
    fn a_batch_that_was_being_written_is_none() {
        let (folder, copy) = three_segments();
        let path = folder.path().join("00000000000000000012.log");
        let whole = fs::read(&path).unwrap();
        for length in [1, 30, 60, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(copy.end().unwrap(), 12, "{length}");
        }
    }
}
