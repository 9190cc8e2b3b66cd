//! Opening a directory: the lock, the format, the journals, the store, the topics.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{CompressionType, Database, Keyspace};
use parking_lot::{Mutex, RwLock};
use uuid::Uuid;

use super::check::{Unusable, check};
use super::failure::{StopSwitch, read_failed};
use super::gate::Gate;
use super::marker::{MARKER_KEY, Marker, StoreId};
use super::options::EmbeddedOptions;
use super::recent::Recent;
use super::shared::{Shared, meta_options};
use super::topics;
use crate::LogError;

/// The version of everything this engine writes.
const FORMAT: u32 = 2;
const FORMAT_FILE: &str = "format";
pub(super) const STORE_DIRECTORY: &str = "store";
const META_KEYSPACE: &str = "meta";
/// How long the threads of a store that was just closed may take to end.
const LAST_HANDLE_ENDS_WITHIN: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOCK_INTERVAL: Duration = Duration::from_millis(5);
const MIN_JOURNAL_BYTES: u64 = 64 << 20;

pub(super) fn open(options: EmbeddedOptions) -> Result<Shared, LogError> {
    let path = options.path.clone();
    let failed = |error: io::Error| open_failed(&path, error);
    fs::create_dir_all(&path).map_err(failed)?;
    let lock = lock(&path)?;
    let store = read_or_make_format(&path)?;
    let directory = path.join(STORE_DIRECTORY);
    clear_unfinished(&directory).map_err(failed)?;
    if directory.exists() {
        check(&directory, &store).map_err(|error| unusable(&path, error))?;
    }
    let (db, meta) = open_store(&options, &directory)?;
    let topics = topics::load(&db, &meta)?;
    let position = last_position(&meta, &store)?;
    let keyspaces = topics
        .values()
        .flat_map(|topic| &topic.partitions)
        .filter_map(|state| state.keyspace.get())
        .chain([&meta])
        .map(|keyspace| (keyspace.name().to_string(), keyspace.clone()))
        .collect();
    Ok(Shared {
        recent: Recent::new(options.recent_bytes),
        options,
        store,
        db,
        meta,
        topics: RwLock::new(topics),
        keyspaces: Mutex::new(keyspaces),
        gate: Gate::new(position),
        stop: StopSwitch::new(),
        _lock: lock,
    })
}

/// Makes sure that no other process, and no other log of this process, has the directory.
fn lock(path: &Path) -> Result<File, LogError> {
    let file = File::create(path.join("lock")).map_err(|error| open_failed(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::InUse { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(open_failed(path, error)),
    }
}

/// Reads the format file, or makes it in a directory that has no store yet. It is one line: name, version, identity.
fn read_or_make_format(path: &Path) -> Result<StoreId, LogError> {
    let file = path.join(FORMAT_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => parse_format(&text).ok_or_else(|| LogError::UnknownFormat {
            path: path.to_owned(),
            found: text,
            known: FORMAT,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if path.join(STORE_DIRECTORY).exists() {
                let found = "no format file".to_owned();
                return Err(LogError::UnknownFormat { path: path.to_owned(), found, known: FORMAT });
            }
            make_format(path).map_err(|error| open_failed(path, error))
        }
        Err(error) => Err(open_failed(path, error)),
    }
}

fn parse_format(text: &str) -> Option<StoreId> {
    let id = text.strip_prefix(&format!("streambook-log {FORMAT} "))?;
    Uuid::try_parse(id.trim_end()).ok().map(Uuid::into_bytes)
}

fn make_format(path: &Path) -> io::Result<StoreId> {
    let id = Uuid::now_v7();
    let draft = path.join("format.tmp");
    let mut file = File::create(&draft)?;
    writeln!(file, "streambook-log {FORMAT} {}", id.simple())?;
    file.sync_all()?;
    fs::rename(&draft, path.join(FORMAT_FILE))?;
    File::open(path)?.sync_all()?;
    Ok(id.into_bytes())
}

/// A store whose creation was interrupted has neither a version file nor a keyspace, and cannot be opened. Nothing was
/// ever written to it, so it is made again. Anything else is left alone.
fn clear_unfinished(directory: &Path) -> io::Result<()> {
    if !directory.exists() || directory.join("version").exists() {
        return Ok(());
    }
    let keyspaces = directory.join("keyspaces");
    if keyspaces.exists() && fs::read_dir(keyspaces)?.next().is_some() {
        return Err(io::Error::other("the store's version file is missing"));
    }
    fs::remove_dir_all(directory)
}

/// Opens the store. Ours is the directory by now; a store that is still locked was closed by this process a moment ago,
/// and its threads end what they are in, which is waited for.
fn open_store(options: &EmbeddedOptions, directory: &Path) -> Result<(Database, Keyspace), LogError> {
    let end = Instant::now() + LAST_HANDLE_ENDS_WITHIN;
    loop {
        match open_once(options, directory) {
            Err(LogError::InUse { .. }) if Instant::now() < end => std::thread::sleep(LOCK_INTERVAL),
            opened => return opened,
        }
    }
}

fn open_once(options: &EmbeddedOptions, directory: &Path) -> Result<(Database, Keyspace), LogError> {
    let builder = Database::builder(directory)
        .cache_size(options.cache_bytes)
        // Journals are short-lived; compressing their larger entries costs more than writing them.
        .journal_compression(CompressionType::None)
        .max_journaling_size(options.journal_bytes.max(MIN_JOURNAL_BYTES))
        // One: with more, the store's first worker hands every compaction back to the queue and asks again at once, for as
        // long as the others are busy (fjall 3.1.13, `worker_tick`), which costs most of a core.
        .worker_threads(1);
    // The store asserts some of what it finds; damaged files must be an error here as well.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let db = builder.open()?;
        let meta = db.keyspace(META_KEYSPACE, meta_options)?;
        Ok((db, meta))
    }));
    match opened {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(fjall::Error::Locked)) => Err(LogError::InUse { path: options.path.clone() }),
        Ok(Err(error)) => Err(LogError::Open { path: options.path.clone(), source: Arc::new(error) }),
        Err(_) => Err(open_failed(&options.path, io::Error::other("the store's files are inconsistent"))),
    }
}

fn last_position(meta: &Keyspace, store: &StoreId) -> Result<u64, LogError> {
    let what = || "the last position".to_owned();
    let Some(stored) = meta.get(MARKER_KEY).map_err(|error| read_failed(what(), error))? else {
        return Ok(0);
    };
    let marker = Marker::decode(store, &stored).ok_or_else(|| LogError::CorruptMetadata {
        entry: what(),
        source: Arc::new(io::Error::from(io::ErrorKind::InvalidData)),
    })?;
    Ok(marker.position)
}

fn unusable(path: &Path, error: Unusable) -> LogError {
    match error {
        Unusable::Io(error) => open_failed(path, error),
        Unusable::Damaged { file, at } => LogError::DamagedJournal { file, at },
    }
}

pub(super) fn open_failed(path: &Path, error: io::Error) -> LogError {
    LogError::Open { path: path.to_owned(), source: Arc::new(error) }
}
