//! Downloading the known data sets.
//!
//! A file counts only if its unpacked content has the SHA-256 that is known. It is written under a temporary name and
//! renamed when it is whole and right.

mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use table::{KnownFile, KnownSet, Package, SETS};

/// Why a data set could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such data set to fetch.
    #[error("no data set named `{0}` can be fetched; expected mnist, fashion-mnist or cifar10 (digits is built in)")]
    Unknown(String),
    /// The operating system refuses.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A server did not give the file.
    #[error("{url}: {message}")]
    Http {
        /// What was asked for.
        url: String,
        /// What came of it.
        message: String,
    },
    /// What came is not what is known.
    #[error("{url}: {file} should have SHA-256 {expected}, found {found}; the file was not kept")]
    Mismatch {
        /// Where it came from.
        url: String,
        /// The file, unpacked.
        file: String,
        /// The SHA-256 that is known.
        expected: String,
        /// The one that was found, or why there is none.
        found: String,
    },
    /// Every mirror has failed.
    #[error(
        "{file} could not be fetched from any mirror; see that the network is there, or give another mirror:{}",
        list(.attempts)
    )]
    AllFailed {
        /// File of the data set.
        file: String,
        /// What each mirror had to say.
        attempts: Vec<FetchError>,
    },
}

fn list(attempts: &[FetchError]) -> String {
    attempts.iter().fold(String::new(), |list, attempt| format!("{list}\n  {attempt}"))
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| FetchError::Io { path, source }
}

/// Where to look for files.
#[derive(Debug, Clone, Default)]
pub enum Mirrors {
    /// The public mirrors that are known of each data set, one after the other.
    #[default]
    Public,
    /// These URLs instead, one after the other; the name of each file follows after a slash.
    Only(Vec<String>),
}

impl Mirrors {
    fn urls(&self, set: &KnownSet, file: &str) -> Vec<String> {
        let url = |base: &str| format!("{}/{file}", base.trim_end_matches('/'));
        match self {
            Self::Public => set.mirrors.iter().map(|base| url(base)).collect(),
            Self::Only(bases) => bases.iter().map(|base| url(base)).collect(),
        }
    }
}

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is downloaded.
    pub url: &'a str,
    /// Bytes that have come.
    pub received: u64,
    /// Bytes that will come, if the server says so.
    pub total: Option<u64>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// Where the files are.
    pub folder: PathBuf,
    /// Files that were right already.
    pub kept: Vec<String>,
    /// Files that are new.
    pub downloaded: Vec<String>,
}

/// Names of the data sets that can be fetched.
pub fn names() -> impl Iterator<Item = &'static str> {
    SETS.iter().map(|set| set.name)
}

/// Downloads the files of a data set into a folder of its name, as [`crate::Source`] looks for them in `data_dir`.
/// Files that are right already are kept, others are replaced.
///
/// # Errors
/// If there is no such data set, a file cannot be written, or no mirror has the right files. Files that have come whole
/// before stay.
pub fn fetch(
    name: &str,
    data_dir: &Path,
    mirrors: &Mirrors,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Fetched, FetchError> {
    let set = SETS.iter().find(|set| set.name == name).ok_or_else(|| FetchError::Unknown(name.to_owned()))?;
    fetch_set(set, data_dir, mirrors, progress)
}

fn fetch_set(
    set: &KnownSet,
    data_dir: &Path,
    mirrors: &Mirrors,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Fetched, FetchError> {
    let folder = data_dir.join(set.name);
    std::fs::create_dir_all(&folder).map_err(io_error(&folder))?;
    let mut fetched = Fetched { folder: folder.clone(), ..Fetched::default() };
    let mut needed = Vec::new();
    for file in set.files {
        let compressed = format!("{}.gz", file.name);
        match [file.name, &compressed].into_iter().find(|name| is_right(&folder.join(name), file)) {
            Some(name) => fetched.kept.push(name.to_owned()),
            None => needed.push(file),
        }
    }
    match set.package {
        Package::Gzip => {
            for file in needed {
                let name = format!("{}.gz", file.name);
                let right = from_first(mirrors.urls(set, &name), &name, |url| {
                    let received = download(url, &folder, file.size, progress)?;
                    let found = content_sha256(received.as_file(), file.size);
                    check(url, file, found.unwrap_or_else(|error| error.to_string()))?;
                    Ok(received)
                })?;
                keep(right, &folder.join(&name))?;
                // A file without `.gz` beside it would be read first, and it is not right.
                let stale = folder.join(file.name);
                if stale.is_file() {
                    std::fs::remove_file(&stale).map_err(io_error(&stale))?;
                }
                fetched.downloaded.push(name);
            }
        }
        Package::Archive(archive) if !needed.is_empty() => {
            let size = set.files.iter().map(|file| file.size).sum();
            let files = from_first(mirrors.urls(set, archive), archive, |url| {
                let received = download(url, &folder, size, progress)?;
                unpack(url, received.as_file(), &needed, &folder)
            })?;
            for (name, file) in files {
                keep(file, &folder.join(name))?;
                fetched.downloaded.push(name.to_owned());
            }
        }
        Package::Archive(_) => {}
    }
    Ok(fetched)
}

/// What the first URL gives that does not fail. Failures of this machine end the search.
fn from_first<T>(
    urls: Vec<String>,
    file: &str,
    mut get: impl FnMut(&str) -> Result<T, FetchError>,
) -> Result<T, FetchError> {
    let mut attempts = Vec::new();
    for url in urls {
        match get(&url) {
            Err(error @ (FetchError::Http { .. } | FetchError::Mismatch { .. })) => attempts.push(error),
            other => return other,
        }
    }
    Err(FetchError::AllFailed { file: file.to_owned(), attempts })
}

/// Archives may have so many bytes of padding and headers beyond their files.
const OVERHEAD: u64 = 1 << 20;

/// Downloads into a temporary file of a folder, no more than content of a size can be when it is compressed.
fn download(
    url: &str,
    folder: &Path,
    content_size: u64,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<NamedTempFile, FetchError> {
    let http = |message: String| FetchError::Http { url: url.to_owned(), message };
    let agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_mins(1)))
        .timeout_recv_body(Some(Duration::from_hours(1)))
        .build()
        .new_agent();
    let response = agent.get(url).call().map_err(|error| http(error.to_string()))?;
    let total = response.headers().get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    let limit = content_size + OVERHEAD;
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut file = temporary(folder)?;
    let mut received = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(http(format!("after {received} bytes: {error}"))),
        };
        received += count as u64;
        if received > limit {
            return Err(http(format!("more than {limit} bytes came, which is not this file")));
        }
        file.write_all(&buffer[..count]).map_err(io_error(folder))?;
        progress(Progress { url, received, total });
    }
    if total.is_some_and(|total| total != received) {
        return Err(http(format!("ended after {received} bytes")));
    }
    file.rewind().map_err(io_error(folder))?;
    Ok(file)
}

fn temporary(folder: &Path) -> Result<NamedTempFile, FetchError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fetch-");
    #[cfg(unix)]
    {
        // As any new file: others may read it, if the user's mask lets them.
        let anyone = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        builder.permissions(anyone);
    }
    builder.tempfile_in(folder).map_err(io_error(folder))
}

fn keep(file: NamedTempFile, path: &Path) -> Result<(), FetchError> {
    file.as_file().sync_all().map_err(io_error(path))?;
    file.persist(path).map(drop).map_err(|error| io_error(path)(error.error))
}

fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 of at most `size + 1` bytes, so that what is too long is different.
fn sha256(reader: impl Read, size: u64, mut copy: impl Write) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut reader = reader.take(size + 1);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hash.finalize())),
            count => {
                hash.update(&buffer[..count]);
                copy.write_all(&buffer[..count])?;
            }
        }
    }
}

/// SHA-256 of a file, unpacked if it is a gzip file.
fn content_sha256(mut file: &File, size: u64) -> io::Result<String> {
    let mut start = Vec::new();
    file.take(2).read_to_end(&mut start)?;
    file.rewind()?;
    if start == [0x1f, 0x8b] {
        sha256(MultiGzDecoder::new(io::BufReader::new(file)), size, io::sink())
    } else {
        sha256(file, size, io::sink())
    }
}

fn is_right(path: &Path, file: &KnownFile) -> bool {
    let found = File::open(path).and_then(|opened| content_sha256(&opened, file.size));
    found.is_ok_and(|found| found == file.sha256)
}

fn check(url: &str, file: &KnownFile, found: String) -> Result<(), FetchError> {
    if found == file.sha256 {
        return Ok(());
    }
    let (url, name, expected) = (url.to_owned(), file.name.to_owned(), file.sha256.to_owned());
    Err(FetchError::Mismatch { url, file: name, expected, found })
}

/// Takes files out of an archive, each checked, into temporary files of a folder.
fn unpack<'a>(
    url: &str,
    archive: &File,
    needed: &[&'a KnownFile],
    folder: &Path,
) -> Result<BTreeMap<&'a str, NamedTempFile>, FetchError> {
    let http =
        |error: io::Error| FetchError::Http { url: url.to_owned(), message: format!("not a whole .tar.gz: {error}") };
    // The archive's other files and headers are small.
    let most = 2 * needed.iter().map(|file| file.size).sum::<u64>().max(1 << 28) + OVERHEAD;
    let reader = MultiGzDecoder::new(io::BufReader::new(archive)).take(most);
    let mut files = BTreeMap::new();
    let mut tar = tar::Archive::new(reader);
    for entry in tar.entries().map_err(http)? {
        let entry = entry.map_err(http)?;
        let path = entry.path().map_err(http)?.into_owned();
        let is_named = |file: &&&KnownFile| path.file_name().is_some_and(|name| name == file.name);
        let Some(file) = needed.iter().find(is_named).filter(|_| entry.header().entry_type().is_file()) else {
            continue;
        };
        let mut unpacked = temporary(folder)?;
        let found = sha256(entry, file.size, &mut unpacked);
        check(url, file, found.map_err(http)?)?;
        files.insert(file.name, unpacked);
    }
    match needed.iter().find(|file| !files.contains_key(file.name)) {
        None => Ok(files),
        Some(file) => {
            Err(FetchError::Http { url: url.to_owned(), message: format!("the archive has no {}", file.name) })
        }
    }
}
