//! What the command line asks for, in the library's words.

use std::collections::BTreeSet;
use std::path::Path;

use regex_lite::Regex;
use slimnet_compress::constraint::Pattern;
use slimnet_compress::importance::Criterion;
use slimnet_compress::prune::{Accuracy, Amount, Most, Request, Schedule, Subject, Target};
use slimnet_compress::recover::{Calibration, Recovery, Training};
use slimnet_compress::weight::weights;
use slimnet_engine::job::{JobOptions, Loss, Teacher};
use slimnet_engine::train::Metric;
use slimnet_engine::train::statistics::Measurement;
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::ops::Role;
use slimnet_graph::roles::roles;

use super::samples::Samples;
use crate::arguments::{ControlName, Global, Prune, RecoverName, Targets, What};
use crate::commands::learning::{self, looks_folded};
use crate::console::Console;
use crate::failure::{Failure, Result};
use crate::files;
use crate::fingerprint::Fingerprint;
use crate::report::prune::LeftAlone;

/// Batches that statistics and least squares are measured on.
const BATCHES: usize = 50;

/// Recovery moves weights that were learned: it is gentler than training.
const GENTLER: f32 = 0.2;

/// Percentage points that may be lost where nothing is said.
const MOST_DROP: f64 = 1.0;

/// Tells which tensors are left alone.
pub(super) fn excluded(what: &What, network: &Graph) -> Result<impl Fn(&str) -> bool + use<>> {
    let mut patterns = Vec::new();
    for text in &what.exclude {
        let pattern = Regex::new(text).map_err(|error| Failure::usage(&format!("--exclude {text:?}: {error}")))?;
        if !network.values().any(|(_, value)| value.data.is_some() && pattern.is_match(&value.name)) {
            return Err(Failure::usage(&format!(
                "--exclude {text:?} matches no tensor of the network (inspect shows their names)"
            )));
        }
        patterns.push(pattern);
    }
    Ok(move |name: &str| patterns.iter().any(|pattern| pattern.is_match(name)))
}

/// What is asked of pruning.
pub(super) fn request(
    options: &Prune,
    global: &Global,
    network: &Graph,
    samples: Option<&Samples>,
    console: Console<'_>,
) -> Result<Request> {
    let what = &options.what;
    let subject = if what.neurons {
        Subject::Neurons { round: what.round, approximate: what.approximate }
    } else {
        Subject::Weights(what.nm.or(what.block).unwrap_or(Pattern::Single))
    };
    let criterion = what.importance.unwrap_or(match (what.neurons, samples) {
        (false, _) => Criterion::L1,
        (true, Some(_)) => Criterion::Taylor,
        (true, None) => Criterion::L2,
    });
    if criterion.needs_data() && samples.is_none() {
        return Err(Failure::usage(&format!("--importance {criterion} is measured on data: say --data")));
    }
    let accuracy = match (options.target.max_drop, options.target.min_accuracy) {
        (Some(drop), _) => Accuracy::MostDrop(drop),
        (_, Some(least)) => Accuracy::AtLeast(least),
        _ if samples.is_some_and(|samples| samples.metric.is_some() && samples.validation.is_some()) => {
            Accuracy::MostDrop(MOST_DROP)
        }
        _ => Accuracy::Any,
    };
    if samples.is_some() && accuracy == Accuracy::Any {
        console.note(&format!("accuracy is not asked: {}", without_accuracy(samples)));
    }
    let asked = options.target.max_drop.map(|_| "--max-drop");
    if let Some(asked) = asked.or(options.target.min_accuracy.map(|_| "--min-accuracy")) {
        let Some(samples) = samples else {
            return Err(Failure::usage(&format!("{asked} is measured on data: say --data")));
        };
        samples.require_labels(asked)?;
        if samples.validation.is_none() {
            return Err(Failure::usage(&format!("{asked} needs validation samples: say how many by --validation")));
        }
    }
    let is_percent =
        samples.is_some_and(|samples| matches!(samples.metric, Some((Metric::Classes | Metric::Binary, _))));
    if let Some(least) = options.target.min_accuracy.filter(|least| is_percent && *least > 0.0 && *least < 1.0) {
        console.note(&format!("--min-accuracy {least} is {least} %, not a part of 1"));
    }
    let judged_by = JobOptions {
        loss: samples.map_or(Loss::None, |samples| {
            learning::loss(&options.learning, samples.metric.as_ref().map(|(metric, _)| *metric))
        }),
        outputs: options.data.as_ref().map_or_else(Vec::new, |data| data.output_names.clone()),
        freeze_batch_norm: true,
        ..JobOptions::default()
    };
    let pace = options.target.pace;
    let recovery = recovery(options, global, network, samples, console)?;
    if options.control.contains(&ControlName::Scratch) && recovery.training.is_none() {
        return Err(super::controls::nothing_to_compare());
    }
    Ok(Request {
        subject,
        criterion,
        scope: what.scope,
        target: target(&options.target, what)?,
        accuracy,
        schedule: pace,
        rounds: if pace == Schedule::OneShot { 1 } else { options.target.rounds },
        recovery,
        judged_by,
        importance_samples: what.importance_samples,
        seed: global.seed,
    })
}

/// Why accuracy cannot be asked.
pub(super) fn without_accuracy(samples: Option<&Samples>) -> &'static str {
    match samples {
        None => "there is no data (--data)",
        Some(samples) if samples.metric.is_none() => "there are no labels",
        Some(_) => "there are no validation samples (--validation)",
    }
}

/// Tensors of two axes or more that are trained but are no weights that become 0: tables, recurrent layers, other element types.
/// Their names, and how many elements they have.
pub(super) fn left_alone(network: &Graph, subject: Subject) -> LeftAlone {
    let mut left = LeftAlone::default();
    if !matches!(subject, Subject::Weights(_)) {
        return left;
    }
    let roles = roles(network);
    let weights: BTreeSet<ValueId> = weights(network).into_iter().map(|weight| weight.value).collect();
    for (id, value) in network.values().filter(|(id, _)| roles[id.index()] == Some(Role::Parameter)) {
        let Some(data) = value.data.as_ref().filter(|data| data.rank() >= 2 && !weights.contains(&id)) else {
            continue;
        };
        left.elements += data.len();
        left.tensors.push(value.name.clone());
    }
    left
}

/// The same for a look at what would go: at once, without recovery, however inaccurate.
pub(super) fn as_dry_run(request: &mut Request) {
    request.schedule = Schedule::OneShot;
    request.rounds = 1;
    request.accuracy = Accuracy::Any;
    request.recovery = Recovery { lossless: request.recovery.lossless, ..Recovery::default() };
}

/// Below 1 a number is a part.
fn most(number: f64) -> Most {
    if number < 1.0 { Most::Part(number) } else { Most::Count(number) }
}

fn target(options: &Targets, what: &What) -> Result<Target> {
    let asked = [
        (Amount::Sparsity, options.sparsity.map(|part| Most::Part(1.0 - part))),
        (Amount::Macs, options.macs.map(most)),
        (Amount::Params, options.params.map(most)),
        (Amount::Bytes, options.bytes.map(most)),
    ];
    let found = asked.into_iter().find_map(|(amount, most)| Some(Target { amount, most: most? }));
    let Some(target) = found else {
        return Err(Failure::usage("say when it is small enough: --sparsity, --macs, --params or --bytes"));
    };
    if !what.neurons && matches!(target.amount, Amount::Macs | Amount::Bytes) {
        return Err(Failure::usage(
            "weights that are 0 are still multiplied and still take their bytes in an ONNX file: --macs and --bytes fall \
             with --neurons; for weights say --sparsity or --params",
        ));
    }
    Ok(target)
}

fn recovery(
    options: &Prune,
    global: &Global,
    network: &Graph,
    samples: Option<&Samples>,
    console: Console<'_>,
) -> Result<Recovery> {
    let asked = &options.recovery;
    let usual: &[RecoverName] = match samples {
        Some(_) => &[RecoverName::Lossless, RecoverName::Statistics, RecoverName::Distillation],
        None => &[RecoverName::Lossless],
    };
    let steps = if asked.recover.is_empty() { usual } else { &asked.recover };
    let has = |step| steps.contains(&step);
    if has(RecoverName::LeastSquares) && !options.what.neurons {
        return Err(Failure::usage(
            "--recover least-squares mends layers that read removed neurons: it goes with --neurons",
        ));
    }
    if has(RecoverName::None) && steps.len() > 1 {
        return Err(Failure::usage("--recover none stands alone"));
    }
    let learns = has(RecoverName::Distillation) || has(RecoverName::Labels);
    let Some(samples) = samples else {
        if learns || has(RecoverName::Statistics) || has(RecoverName::LeastSquares) {
            return Err(Failure::usage("only --recover lossless and none go without data: say --data"));
        }
        return Ok(Recovery { lossless: has(RecoverName::Lossless), ..Recovery::default() });
    };
    let metric = samples.metric.as_ref().map(|(metric, _)| *metric);
    if has(RecoverName::Labels) {
        samples.require_labels("--recover labels")?;
    }
    let mut job = JobOptions {
        loss: if has(RecoverName::Labels) { learning::loss(&options.learning, metric) } else { Loss::None },
        outputs: options.data.as_ref().map_or_else(Vec::new, |data| data.output_names.clone()),
        temperature: options.learning.temperature,
        alpha: options.learning.alpha.unwrap_or(0.9),
        classes: metric == Some(Metric::Classes),
        ..JobOptions::default()
    };
    if has(RecoverName::Distillation) {
        let own = asked.teacher == Path::new("self");
        let teacher = if own { network.clone() } else { files::read(&asked.teacher)? };
        job.teachers = vec![Teacher::from(teacher)];
    }
    let folded = looks_folded(network);
    if learns && folded && options.learning.rate.is_none() {
        console
            .note("the network has no normalization (perhaps it was folded away): a tenth of the usual rate is used");
    }
    let rate = if folded { GENTLER / 10.0 } else { GENTLER };
    let lengths = samples.lengths.clone();
    let amount = (asked.epochs, samples.batch);
    let train = learning::train_options(&options.learning, amount, global.seed, rate, lengths.clone());
    let data = Measurement { batch: samples.batch, batches: BATCHES, lengths };
    let calibration = Calibration { data, ..Calibration::default() };
    Ok(Recovery {
        lossless: has(RecoverName::Lossless),
        statistics: has(RecoverName::Statistics).then_some(BATCHES),
        least_squares: has(RecoverName::LeastSquares).then_some(calibration),
        training: (learns && (asked.epochs > 0 || asked.final_epochs.is_some_and(|epochs| epochs > 0)))
            .then_some(Training { job, options: train }),
        final_epochs: asked.final_epochs,
    })
}

/// What tells this work from other: whatever its result depends on.
pub(super) fn identity(options: &Prune, global: &Global, network: &Graph, samples: Option<&Samples>) -> Result<String> {
    let mut identity = Fingerprint::new();
    identity.text(env!("CARGO_PKG_VERSION"));
    identity.network(network);
    if options.recovery.teacher != Path::new("self") {
        identity.path(&options.recovery.teacher)?;
    }
    identity.text(&format!("{:?} {:?} {:?}", options.what, options.target, options.recovery));
    identity.text(&format!("{:?} {:?} {}", options.learning, options.data, global.seed));
    if let Some(data) = &options.data {
        identity.path(Path::new(&data.data))?;
    }
    if let Some(samples) = samples {
        identity.text(&format!("{:?} {}", samples.opened.preprocessing, samples.opened.splits.train.len()));
    }
    Ok(identity.hexadecimal())
}
