//! Where unfinished work is kept, so that it can go on elsewhere.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slimnet_graph::graph::Graph;
use slimnet_graph::infer::infer_graph;
use slimnet_graph::onnx::{self, ReadError, WriteError};

/// A folder of unfinished work; none where nothing is to be kept.
#[derive(Debug, Clone, Default)]
pub struct Store {
    folder: Option<PathBuf>,
    /// Held as long as the work goes on; the system lets go of it when the process ends, however it ends.
    lock: Option<Arc<File>>,
}

/// The file by which work keeps others out of its folder.
const LOCK: &str = "lock";

/// Why work cannot be kept or taken up again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder.
    #[error("cannot use {file}: {error}")]
    File {
        /// Which.
        file: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Somebody else works there.
    #[error("{0} is in use by another process; wait for it, or use another folder (--work)")]
    InUse(PathBuf),
    /// A network that cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A network that cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is there cannot be read.
    #[error("{0} is missing or damaged; begin without --resume")]
    Damaged(PathBuf),
    /// A file that is in the way.
    #[error("{0} is no unfinished work of this version: remove it, or use another folder (--work)")]
    Foreign(PathBuf),
    /// What is there is of other work.
    #[error("{0} is of work with other options, another network or other data; begin without --resume")]
    Other(PathBuf),
}

impl Store {
    /// Keeps work in a folder, which is made and kept from others.
    ///
    /// # Errors
    /// If it cannot be made, or another process works there.
    pub fn new(folder: &Path) -> Result<Self, StoreError> {
        let cannot = |error| StoreError::File { file: folder.to_owned(), error };
        fs::create_dir_all(folder).map_err(cannot)?;
        let lock = File::create(folder.join(LOCK)).map_err(cannot)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { folder: Some(folder.to_owned()), lock: Some(Arc::new(lock)) }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }

    /// Path of a file; `None` where nothing is kept.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(name))
    }

    /// A text that was kept.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn text(&self, name: &str) -> Result<Option<String>, StoreError> {
        let Some(file) = self.path(name).filter(|file| file.exists()) else { return Ok(None) };
        fs::read_to_string(&file).map(Some).map_err(|error| StoreError::File { file, error })
    }

    /// Keeps a text; an earlier one stays whole until the new one is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_text(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let Some(file) = self.path(name) else { return Ok(()) };
        let new = file.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, &file));
        written.map_err(|error| StoreError::File { file, error })
    }

    /// A network that was kept, with the shapes of all its values.
    ///
    /// # Errors
    /// If it is not there or cannot be read.
    pub fn network(&self, name: &str) -> Result<Graph, StoreError> {
        let file = self.path(name).unwrap_or_default();
        if !file.exists() {
            return Err(StoreError::Damaged(file));
        }
        let mut graph = onnx::read_file(&file)?;
        infer_graph(&mut graph).map_err(|_| StoreError::Damaged(file))?;
        Ok(graph)
    }

    /// Keeps a network; an earlier one stays whole until the new one is.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_network(&self, name: &str, graph: &Graph) -> Result<(), StoreError> {
        let Some(file) = self.path(name) else { return Ok(()) };
        onnx::write_file(graph, &file)?;
        Ok(())
    }

    /// Forgets a file.
    pub fn forget(&self, name: &str) {
        if let Some(file) = self.path(name) {
            // What is left of it would only be in the way.
            let _ = fs::remove_file(file);
        }
    }

    /// Forgets all of it.
    pub fn clear(&self, names: &[&str]) {
        for name in names {
            self.forget(name);
        }
        if let Some(folder) = &self.folder {
            // What was half written when the work was cut off: NAME with another ending, or .NAME.….tmp.
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let file = entry.file_name().to_string_lossy().into_owned();
                let half = |name: &&str| {
                    let new = Path::new(name).with_extension("new");
                    let ends = Path::new(&file).extension().is_some_and(|ending| ending == "tmp");
                    Path::new(&file) == new || (file.starts_with(&format!(".{name}.")) && ends)
                };
                if names.iter().any(half) {
                    let _ = fs::remove_file(entry.path());
                }
            }
            if self.lock.is_some() {
                let _ = fs::remove_file(folder.join(LOCK));
            }
            // Stays if somebody else's files are in it.
            let _ = fs::remove_dir(folder);
        }
    }
}
