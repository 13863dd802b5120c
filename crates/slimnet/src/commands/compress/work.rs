//! What steps leave: a folder for each, with the network that it made and a record of how it was made.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::fingerprint::Fingerprint;

/// The record of a step.
const RECORD: &str = "step.json";

/// How a step ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finished {
    /// How long it took.
    pub seconds: f64,
    /// Whether it missed its target.
    pub target_missed: bool,
    /// Fingerprint of the network that it made.
    network: Option<String>,
    /// What it reported, in a few words.
    pub headline: String,
    /// What it reported.
    pub report: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Of all that decides what the step gives.
    fingerprint: String,
    finished: Option<Finished>,
}

/// How far a step is.
#[derive(Debug)]
pub enum Progress {
    /// Nothing of it is there.
    New,
    /// It was begun and ended before it was done.
    Begun,
    /// It is done.
    Finished(Finished),
}

/// The folder of a step.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    fingerprint: String,
}

impl Folder {
    /// Opens the folder of the step with this fingerprint, and says how far the step is. What another step left there
    /// is removed.
    ///
    /// # Errors
    /// If the folder cannot be made, or holds what no step left.
    pub fn open(path: &Path, fingerprint: String) -> Result<(Self, Progress)> {
        let cannot = |error: std::io::Error| Failure::new("cannot keep what steps make in", &error).about(path);
        let record = fs::read(path.join(RECORD)).ok();
        let known = record.as_ref().and_then(|bytes| serde_json::from_slice::<Record>(bytes).ok());
        let folder = Self { path: path.to_owned(), fingerprint };
        match known.filter(|known| known.fingerprint == folder.fingerprint) {
            Some(Record { finished: None, .. }) => return Ok((folder, Progress::Begun)),
            Some(Record { finished: Some(finished), .. }) if folder.print()? == finished.network => {
                return Ok((folder, Progress::Finished(finished)));
            }
            _ => {}
        }
        if record.is_some() {
            fs::remove_dir_all(path).map_err(cannot)?;
        }
        fs::create_dir_all(path).map_err(cannot)?;
        if fs::read_dir(path).map_err(cannot)?.next().is_some() {
            let why = "there is something else in it";
            return Err(Failure::because("cannot keep what a step makes in", why).about(path).advise("move it away"));
        }
        folder.write(None)?;
        Ok((folder, Progress::New))
    }

    /// The file of the network that the step makes.
    pub fn network(&self) -> PathBuf {
        network_in(&self.path)
    }

    /// Records that the step is done.
    pub fn finish(&self, seconds: f64, target_missed: bool, (headline, report): (String, Value)) -> Result<Finished> {
        let finished = Finished { seconds, target_missed, network: self.print()?, headline, report };
        self.write(Some(finished.clone()))?;
        Ok(finished)
    }

    fn print(&self) -> Result<Option<String>> {
        let network = self.network();
        network.exists().then(|| print_of(&network)).transpose()
    }

    fn write(&self, finished: Option<Finished>) -> Result<()> {
        let (file, temporary) = (self.path.join(RECORD), self.path.join("step.json.new"));
        let record = Record { fingerprint: self.fingerprint.clone(), finished };
        let bytes = serde_json::to_vec_pretty(&record).map_err(std::io::Error::other);
        let written = bytes.and_then(|bytes| fs::write(&temporary, bytes)).and_then(|()| fs::rename(&temporary, &file));
        written.map_err(|error| Failure::new("cannot write", &error).about(&file))
    }
}

/// The file of the network that a step makes in its folder.
pub fn network_in(folder: &Path) -> PathBuf {
    folder.join("network.onnx")
}

fn print_of(path: &Path) -> Result<String> {
    let mut fingerprint = Fingerprint::new();
    fingerprint.path(path)?;
    Ok(fingerprint.hexadecimal())
}
