//! Whether files are what they were.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::UNIX_EPOCH;

use slimnet_graph::{Graph, onnx};

use crate::failure::{Failure, Result};

/// A 64-bit number of all that was put into it (FNV-1a): tells changes, not forgeries.
#[derive(Debug, Clone)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of nothing.
    pub fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        self.0 = bytes.iter().fold(self.0, step);
    }

    /// Puts in a text.
    pub fn text(&mut self, text: &str) {
        // With its length: "ab", "c" is not "a", "bc".
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    /// Puts in what a path leads to: a file's bytes, with those of a network that lie elsewhere; of a folder the names,
    /// sizes and times of all that is in it; or that there is nothing.
    ///
    /// # Errors
    /// If a file that is there cannot be read.
    pub fn path(&mut self, path: &Path) -> Result<()> {
        let cannot = |error: std::io::Error| Failure::new("cannot read", &error).about(path);
        match fs::metadata(path) {
            Ok(facts) if facts.is_dir() => self.folder(path).map_err(cannot),
            Ok(facts) if facts.is_file() => self.file(path).map_err(cannot),
            // A device or a pipe has no bytes to compare.
            Ok(_) | Err(_) => {
                self.text("no file");
                Ok(())
            }
        }
    }

    fn file(&mut self, path: &Path) -> std::io::Result<()> {
        let mut file = File::open(path)?;
        let mut part = vec![0; 1 << 16];
        let mut size = 0u64;
        loop {
            match file.read(&mut part)? {
                0 => break,
                count => {
                    self.bytes(&part[..count]);
                    size += count as u64;
                }
            }
        }
        self.bytes(&size.to_le_bytes());
        if path.extension().is_some_and(|extension| extension == "onnx")
            && let Ok(network) = onnx::read_file(path)
        {
            let data: Vec<_> = network.values().filter_map(|(_, value)| value.data.as_ref()?.bytes()).collect();
            if data.iter().map(|bytes| bytes.len() as u64).sum::<u64>() > size {
                for bytes in data {
                    self.bytes(bytes);
                }
            }
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path) -> std::io::Result<()> {
        let mut entries = fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            self.text(&entry.file_name().to_string_lossy());
            // Not that of what a link leads to: links may lead round in circles.
            let facts = entry.metadata()?;
            if facts.is_dir() {
                self.folder(&entry.path())?;
            } else {
                let since = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                self.text(&format!("{} {since:?}", facts.len()));
            }
        }
        self.text("end");
        Ok(())
    }

    /// Puts in a network: its data, and what its nodes compute of what.
    pub fn network(&mut self, network: &Graph) {
        for (_, value) in network.values() {
            let shape = value.data.as_ref().map(|data| (data.element_type(), data.shape()));
            self.text(&format!("{} {:?} {shape:?}", value.name, value.metadata));
            if let Some(bytes) = value.data.as_ref().and_then(|data| data.bytes()) {
                self.bytes(bytes);
            }
        }
        for (_, node) in network.nodes() {
            self.text(&format!("{} {:?} {:?} {:?}", node.name, node.op, node.inputs(), node.outputs()));
        }
    }

    /// As 16 hexadecimal digits.
    pub fn hexadecimal(&self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &Path) -> String {
        let mut fingerprint = Fingerprint::new();
        fingerprint.path(path).unwrap();
        fingerprint.hexadecimal()
    }

    #[test]
    fn changes_of_files_and_folders_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("a");
        let absent = (of(&file), of(folder.path()));
        fs::write(&file, "one").unwrap();
        let one = (of(&file), of(folder.path()));
        assert_eq!(one, (of(&file), of(folder.path())));
        fs::write(&file, "another").unwrap();
        let another = (of(&file), of(folder.path()));
        assert!(absent.0 != one.0 && one.0 != another.0);
        assert!(absent.1 != one.1 && one.1 != another.1);
        let text = |texts: [&str; 2]| {
            let mut fingerprint = Fingerprint::new();
            for text in texts {
                fingerprint.text(text);
            }
            fingerprint.hexadecimal()
        };
        assert_ne!(text(["ab", "c"]), text(["a", "bc"]));
    }
}
