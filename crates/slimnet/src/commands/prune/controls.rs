//! What pruning is compared with.

use slimnet_compress::control::reinitialise;
use slimnet_compress::material::Material;
use slimnet_compress::prune::{self, Accuracy, Ended, Most, Pruned, Request, Schedule, Target};
use slimnet_compress::recover::training::{Trained, train};
use slimnet_compress::store::Store;
use slimnet_graph::graph::Graph;

use super::watch::Watcher;
use crate::arguments::ControlName;
use crate::failure::{Failure, Result};
use crate::report::prune::ControlReport;

/// A network that pruning is compared with.
pub(super) struct Control {
    pub name: &'static str,
    pub network: Graph,
    /// Mean loss of the last epoch of training.
    pub training_loss: Option<f64>,
    pub epochs: u64,
    /// What is left of what the target counts, as a part of the original.
    pub left: f64,
}

impl Control {
    /// What is reported of it, besides the proof.
    pub fn report(&self) -> ControlReport {
        ControlReport { control: self.name, epochs: self.epochs, left: self.left, training_loss: self.training_loss }
    }
}

/// Makes the networks that the command line asks for.
pub(super) fn run(
    names: &[ControlName],
    request: &Request,
    original: &Graph,
    pruned: &Pruned,
    excluded: &dyn Fn(&str) -> bool,
    material: &Material<'_>,
    watcher: &mut Watcher<'_>,
) -> Result<Vec<Control>> {
    let make = |name: &ControlName| match name {
        ControlName::Scratch => scratch(request, pruned, material, watcher),
        ControlName::Random => random(request, original, pruned, excluded, material, watcher),
    };
    names.iter().map(make).collect()
}

/// The architecture that was found, its weights made anew, trained as recovery was, for as many epochs in one go.
fn scratch(request: &Request, pruned: &Pruned, material: &Material<'_>, watcher: &mut Watcher<'_>) -> Result<Control> {
    let cannot = |error: &dyn std::error::Error| Failure::new("cannot make the control from scratch", error);
    let mut network = pruned.network.clone();
    reinitialise(&mut network, None, request.seed).map_err(|error| cannot(&error))?;
    let (Some(training), Some(source)) = (&request.recovery.training, material.training) else {
        return Err(nothing_to_compare());
    };
    let mut training = training.clone();
    training.options.epochs = pruned.epochs();
    "control from scratch".clone_into(&mut watcher.what);
    match train(&network, &training, source, material.threads, watcher, None).map_err(|error| cannot(&error))? {
        Trained::Whole(network, loss) => Ok(Control {
            name: "scratch",
            network: *network,
            training_loss: loss,
            epochs: training.options.epochs,
            left: pruned.left,
        }),
        Trained::Diverged(why) => Err(Failure::because("cannot make the control from scratch", &why)),
        Trained::Interrupted => Err(interrupted()),
    }
}

/// As much is removed at random, at once, and trained for as many epochs in one go.
fn random(
    request: &Request,
    original: &Graph,
    pruned: &Pruned,
    excluded: &dyn Fn(&str) -> bool,
    material: &Material<'_>,
    watcher: &mut Watcher<'_>,
) -> Result<Control> {
    // As was asked, not what was left after channels without information went: the control loses its own.
    let aim = pruned.accepted().last().map_or(pruned.left, |round| round.aim);
    let mut recovery = request.recovery.clone();
    if let Some(training) = &mut recovery.training {
        // In one go, as from scratch; those of recoveries that were repeated included.
        training.options.epochs = pruned.epochs();
        recovery.final_epochs = None;
    }
    let request = Request {
        recovery,
        criterion: slimnet_compress::importance::Criterion::Random,
        accuracy: Accuracy::Any,
        target: Target { most: Most::Part(aim), ..request.target },
        schedule: Schedule::OneShot,
        rounds: 1,
        ..request.clone()
    };
    watcher.console.note("control: chosen at random");
    let ended = prune::prune(original, &request, excluded, material, (&Store::default(), ""), watcher);
    match ended.map_err(|error| Failure::new("cannot make the random control", &error))? {
        Ended::Whole(pruned) => {
            let (epochs, training_loss) = (pruned.epochs(), pruned.rounds.last().and_then(|round| round.training_loss));
            Ok(Control { name: "random", left: pruned.left, network: pruned.network, training_loss, epochs })
        }
        Ended::Interrupted => Err(interrupted()),
    }
}

/// There is no training that a network from scratch could have as much of.
pub(super) fn nothing_to_compare() -> Failure {
    Failure::usage("--control scratch: recovery trains nothing, so there is nothing to compare with")
}

fn interrupted() -> Failure {
    Failure::because("the controls did not end", "interrupted")
        .advise("the same command with --resume keeps the rounds that are done and begins the controls again")
}
