//! Networks that are measured, and the lengths that they are measured at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use slimnet_graph::Graph;
use slimnet_graph::zoo::{self, ZooOptions};

use crate::failure::{Failure, Result};
use crate::{files, lengths};

/// A network that is measured.
pub struct Subject {
    /// What it is called in reports.
    pub name: String,
    /// The network.
    pub graph: Graph,
}

impl Subject {
    /// A network in a file, or a new one of a known architecture.
    pub fn open(path: &Path, seed: u64) -> Result<Self> {
        let name = path.display().to_string();
        let is_name = path.extension().is_none() && path.components().count() == 1;
        if !is_name || path.exists() {
            return Ok(Self { name, graph: files::read(path)? });
        }
        if !zoo::architectures().iter().any(|architecture| architecture.name == name) {
            let known =
                zoo::architectures().iter().map(|architecture| architecture.name).collect::<Vec<_>>().join(", ");
            let why = format!("there is neither a file nor an architecture {name:?}; architectures are {known}");
            return Err(Failure::usage(&why));
        }
        let graph = zoo::build(&name, &ZooOptions { seed, ..ZooOptions::default() })
            .map_err(|error| Failure::new("cannot build the network", &error))?;
        Ok(Self { name, graph })
    }

    /// Names of the lengths of first axes of inputs: the batch.
    fn batch_names(&self) -> BTreeSet<String> {
        let shapes = self.graph.free_inputs().filter_map(|input| self.graph.value(input).shape.as_deref());
        let first = shapes.filter_map(|shape| shape.first());
        first.flat_map(|dim| dim.names().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// The only batch that it can have, if its inputs say so.
    fn fixed_batch(&self) -> Option<usize> {
        let first = |input| self.graph.value(input).shape.as_ref()?.first()?.known();
        // Without inputs that have axes there is nothing to choose either.
        self.batch_names().is_empty().then(|| self.graph.free_inputs().find_map(first).unwrap_or(1))
    }

    /// Lengths of all named dimensions of inputs.
    pub fn lengths(&self, batch: usize, given: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
        let mut all = lengths::defaults(&self.graph);
        all.extend(self.batch_names().into_iter().map(|name| (name, batch)));
        let known: Vec<_> = given.iter().filter(|(name, _)| all.contains_key(*name)).collect();
        let known: Vec<_> = known.into_iter().map(|(name, length)| (name.clone(), *length)).collect();
        all.extend(known);
        all
    }

    /// Lengths of named dimensions other than the batch, for reports.
    pub fn dims(&self, given: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
        let batch = self.batch_names();
        let shown = |name: &String| !name.starts_with('?') && (!batch.contains(name) || given.contains_key(name));
        self.lengths(1, given).into_iter().filter(|(name, _)| shown(name)).collect()
    }
}

/// Refuses lengths of dimensions that no network has, or that are the batch.
pub fn check_dims(subjects: &[Subject], given: &BTreeMap<String, usize>) -> Result<()> {
    for name in given.keys() {
        if let Err(failure) = lengths::check(&subjects[0].graph, [name])
            && !subjects[1..].iter().any(|subject| lengths::check(&subject.graph, [name]).is_ok())
        {
            return Err(failure);
        }
    }
    for subject in subjects {
        let names = subject.batch_names();
        // One of several first axes may be something else than the batch, but not all of them.
        if !names.is_empty() && names.iter().all(|name| given.contains_key(name)) {
            let names = names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(&format!("--dim: {names} is the batch of {}; use --batch", subject.name)));
        }
    }
    Ok(())
}

/// The batches to measure: those asked for, else what a network is fixed to, else the usual ones.
pub fn batches(subjects: &[Subject], given: &[usize], usual: &[usize]) -> Result<Vec<usize>> {
    let fixed: Vec<_> = subjects.iter().filter_map(|subject| Some((subject, subject.fixed_batch()?))).collect();
    for (subject, fixed) in &fixed {
        if let Some(other) = given.iter().find(|given| *given != fixed) {
            let name = &subject.name;
            return Err(Failure::usage(&format!(
                "--batch {other}: the inputs of {name} are fixed to a batch of {fixed}"
            )));
        }
    }
    match fixed.as_slice() {
        [] if given.is_empty() => Ok(usual.to_vec()),
        [(first, a), others @ ..] => match others.iter().find(|(_, b)| a != b) {
            Some((second, b)) => {
                let why = format!(
                    "the inputs of {} are fixed to a batch of {a}, those of {} to {b}: nothing to compare",
                    first.name, second.name
                );
                Err(Failure::because("cannot measure both networks", &why))
            }
            None if given.is_empty() => Ok(vec![*a]),
            None => Ok(given.to_vec()),
        },
        [] => Ok(given.to_vec()),
    }
}
