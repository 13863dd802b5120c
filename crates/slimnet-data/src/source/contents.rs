//! Contents of files, with gzip around them or not.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::{DataError, Result};

/// What deflate can make of one byte at the most: a header that declares more than this lies.
pub(super) const MOST_EXPANSION: u64 = 1032;

/// A file that declares no size of its own may not unpack to more (bytes).
const MOST_UNDECLARED: u64 = 1 << 32;

/// A file that is open for reading, decompressed if it begins as gzip does.
pub(super) struct Contents {
    path: PathBuf,
    reader: Box<dyn Read>,
    most: u64,
    compressed: bool,
}

impl Contents {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let length = regular_file(path)?;
        let file = File::open(path).map_err(DataError::io(path))?;
        let mut reader = BufReader::new(file);
        let start = std::io::BufRead::fill_buf(&mut reader).map_err(DataError::io(path))?;
        let compressed = start.starts_with(&[0x1f, 0x8b]);
        let (reader, most): (Box<dyn Read>, _) = if compressed {
            (Box::new(MultiGzDecoder::new(reader)), length.saturating_mul(MOST_EXPANSION))
        } else {
            (Box::new(reader), length)
        };
        Ok(Self { path: path.to_owned(), reader, most, compressed })
    }

    /// The next bytes; fewer at the end of the file.
    pub(super) fn take(&mut self, count: u64) -> Result<Vec<u8>> {
        // Read as far as there is something: what is declared may be a lie.
        let mut bytes = Vec::new();
        self.reader.by_ref().take(count).read_to_end(&mut bytes).map_err(DataError::io(&self.path))?;
        Ok(bytes)
    }

    /// The rest of the file, which must be so many bytes.
    pub(super) fn exactly(mut self, expected: u64) -> Result<Vec<u8>> {
        let length = |found| DataError::Length { path: self.path.clone(), expected, found };
        if expected > self.most {
            return Err(length(self.most));
        }
        let bytes = self.take(expected.saturating_add(1))?;
        if bytes.len() as u64 == expected {
            Ok(bytes)
        } else {
            Err(DataError::Length { path: self.path, expected, found: bytes.len() as u64 })
        }
    }

    /// The rest of the file, of which nothing says how much it is.
    pub(super) fn rest(mut self) -> Result<Vec<u8>> {
        let limit = if self.compressed { MOST_UNDECLARED } else { u64::MAX };
        let bytes = self.take(limit)?;
        if bytes.len() as u64 == limit {
            let expected = format!("at most {limit} bytes when unpacked");
            return Err(DataError::format(&self.path, expected, "more"));
        }
        Ok(bytes)
    }
}

/// Length of a regular file. Looked at before opening: to open a pipe may wait for ever.
pub(super) fn regular_file(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).map_err(DataError::io(path))?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(DataError::format(path, "a regular file", "something else"))
    }
}

/// The file, or the one of the same name with `.gz`.
pub(super) fn with_or_without_gz(path: &Path) -> Option<PathBuf> {
    let mut compressed = path.as_os_str().to_owned();
    compressed.push(".gz");
    [path.to_owned(), compressed.into()].into_iter().find(|path| path.is_file())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;

    pub(in crate::source) fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn sizes_are_held_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for file in [b"0123456789".to_vec(), gz(b"0123456789")] {
            std::fs::write(&path, &file).unwrap();
            let open = || {
                let mut contents = Contents::open(&path).unwrap();
                assert_eq!(contents.take(2).unwrap(), b"01");
                contents
            };
            assert_eq!(open().exactly(8).unwrap(), b"23456789");
            assert_eq!(open().rest().unwrap(), b"23456789");
            assert!(matches!(open().exactly(9), Err(DataError::Length { expected: 9, found: 8, .. })));
            assert!(matches!(open().exactly(7), Err(DataError::Length { expected: 7, found: 8, .. })));
            assert!(matches!(open().exactly(u64::MAX), Err(DataError::Length { .. })));
        }
        let mut file = gz(b"0123456789");
        file.truncate(20);
        std::fs::write(&path, &file).unwrap();
        assert!(matches!(Contents::open(&path).unwrap().rest(), Err(DataError::Io { .. })));
        assert!(Contents::open(folder.path()).is_err());
    }

    #[test]
    fn a_bomb_costs_what_it_declares() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb");
        std::fs::write(&path, gz(&vec![0; 1 << 24])).unwrap();
        let found = Contents::open(&path).unwrap().exactly(100).unwrap_err();
        assert!(matches!(found, DataError::Length { expected: 100, found: 101, .. }));
    }
}
