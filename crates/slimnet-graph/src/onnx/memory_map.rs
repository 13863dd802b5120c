//! Files as shared bytes: small ones read, large ones mapped, so that weights are slices of the file and cost no memory
//! of their own.
#![allow(unsafe_code)] // memory-mapping is unsafe by nature; this is the one place of it

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

/// Files up to this size (bytes) are read: a mapping costs whole pages and a system call when it goes.
const READ_WHOLE: u64 = 1 << 20;

/// The contents of a regular file.
pub(super) fn read(path: &Path) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    if metadata.len() <= READ_WHOLE {
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        file.read_to_end(&mut bytes)?;
        return Ok(bytes.into());
    }
    // SAFETY: the mapping is read-only, private and lives as long as the bytes that own it. What remains is that another
    // process truncates or rewrites the file meanwhile, as with every mapped file; slimnet itself replaces files by
    // renaming and never writes into one that exists.
    let map = unsafe { Mmap::map(&file)? };
    Ok(Bytes::from_owner(map))
}
