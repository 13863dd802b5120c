//! What `data fetch` reports.

use std::path::PathBuf;

use serde::Serialize;

use super::Report;

/// Files that were asked for.
#[derive(Debug, Serialize)]
pub struct FetchReport {
    /// `data fetch`.
    pub command: &'static str,
    /// The folder of all data sets.
    pub folder: PathBuf,
    /// Files that were there already, and right.
    pub kept: Vec<String>,
    /// Files that were downloaded.
    pub downloaded: Vec<String>,
}

impl Report for FetchReport {
    fn text(&self, _width: Option<usize>) -> String {
        let line = |what: &'static str| move |file: &String| format!("  {file}  {what}\n");
        let mut text = format!("{}\n", self.folder.display());
        text.extend(self.kept.iter().map(line("was there")));
        text.extend(self.downloaded.iter().map(line("downloaded")));
        text
    }
}
