//! `slimnet data fetch NAME`: gets data sets.

use slimnet_data::default_data_dir;
use slimnet_data::fetch::{self, Mirrors};

use crate::arguments::DataCommand;
use crate::console::Console;
use crate::failure::{Failure, Outcome, Result};
use crate::report::data::FetchReport;
use crate::report::number::bytes;

/// Downloads and reports.
pub fn run(command: &DataCommand, console: Console) -> Result<Outcome> {
    let DataCommand::Fetch(options) = command;
    let folder = options.data_dir.clone().unwrap_or_else(default_data_dir);
    let known: Vec<_> = fetch::names().collect();
    if let Some(unknown) = options.names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(Failure::usage(&format!("no data set {unknown:?} is known; known are {}", known.join(", "))));
    }
    let mut report =
        FetchReport { command: "data fetch", folder: folder.clone(), kept: Vec::new(), downloaded: Vec::new() };
    for name in &options.names {
        let mut said = String::new();
        let mut progress = |progress: fetch::Progress<'_>| {
            if said != progress.url {
                progress.url.clone_into(&mut said);
                let size = progress.total.map_or_else(String::new, |total| format!(" ({})", bytes(total)));
                console.note(&format!("{}{size} …", progress.url));
            }
        };
        let fetched = fetch::fetch(name, &folder, &Mirrors::default(), &mut progress)
            .map_err(|error| Failure::new(&format!("cannot get the data set {name:?}"), &error))?;
        report.kept.extend(fetched.kept);
        report.downloaded.extend(fetched.downloaded);
    }
    console.result(&report)?;
    Ok(Outcome::Done)
}
