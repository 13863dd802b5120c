//! Feeds the ONNX reader with mutated networks: `slimnet-fuzz [--executions N] [--seed S] [--start N] [--keep FOLDER]`.
//!
//! An execution mutates a valid seed (its messages or its bytes), reads it, infers, writes and reads again, also with other
//! names and in another operator set. It fails if anything panics, if memory is taken beyond the file's size times a
//! factor, if what was written cannot be read or is written otherwise the second time, or if it takes longer than ten
//! seconds. Executions depend on the seed and their number alone: `--start N --executions 1` repeats one. Failures are
//! printed and, with `--keep`, their files kept.

mod allocator;
mod dictionary;
mod mutate;
mod random;
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use prost::Message;
use random::Random;
use slimnet_graph::Graph;
use slimnet_graph::infer::infer_graph;
use slimnet_graph::onnx::{WriteError, read_bytes, write_bytes};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// Memory that a file may take: so much for each of its bytes, and so much in any case.
const MEMORY_FACTOR: usize = 500;
const MEMORY_FREE: usize = 8 << 20;
/// What an execution may take of time.
const SECONDS: u64 = 10;
/// Failures of one kind that are printed.
const MOST_FAILURES: usize = 20;

static EXECUTION: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicBool = AtomicBool::new(false);
static PANIC: Mutex<String> = Mutex::new(String::new());

struct Arguments {
    executions: u64,
    start: u64,
    seed: u64,
    keep: Option<PathBuf>,
}

fn arguments() -> Option<Arguments> {
    let mut arguments = Arguments { executions: 100_000, start: 0, seed: 1, keep: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--executions" => arguments.executions = value.parse().ok()?,
            "--start" => arguments.start = value.parse().ok()?,
            "--seed" => arguments.seed = value.parse().ok()?,
            "--keep" => arguments.keep = Some(value.into()),
            _ => return None,
        }
    }
    Some(arguments)
}

fn main() -> ExitCode {
    let Some(arguments) = arguments() else {
        eprintln!("usage: slimnet-fuzz [--executions N] [--seed S] [--start N] [--keep FOLDER]");
        return ExitCode::from(2);
    };
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut message) = PANIC.lock() {
            *message = info.to_string().replace('\n', " ");
        }
    }));
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("data"), [0u8; 64]).expect("a file in it");
    let seeds = seeds::all();
    std::thread::spawn(watch);
    let start = Instant::now();
    let mut counts = Counts::default();
    for number in arguments.start..arguments.start + arguments.executions {
        EXECUTION.store(number, Relaxed);
        let mut random = Random::new(arguments.seed.wrapping_mul(0x1000_0001).wrapping_add(number << 20));
        let bytes = mutate::mutated(&seeds, &mut random);
        counts.run(number, bytes, random, folder.path(), arguments.keep.as_deref());
        if counts.failures >= MOST_FAILURES {
            break;
        }
    }
    DONE.store(true, Relaxed);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{} executions in {seconds:.0} s: {} read, {} written, {} failures; at most {} bytes of memory",
        counts.executions, counts.read, counts.written, counts.failures, counts.memory
    );
    if counts.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Counts {
    executions: u64,
    read: u64,
    written: u64,
    failures: usize,
    memory: usize,
}

impl Counts {
    fn run(&mut self, number: u64, bytes: Vec<u8>, mut random: Random, folder: &Path, keep: Option<&Path>) {
        self.executions += 1;
        let allowed = bytes.len() * MEMORY_FACTOR + MEMORY_FREE;
        let copy = bytes.clone();
        let (result, memory) =
            allocator::peak_of(|| catch_unwind(AssertUnwindSafe(|| execute(bytes, folder, &mut random))));
        self.memory = self.memory.max(memory);
        let failure = match result {
            Ok(Ok(outcome)) => {
                self.read += u64::from(outcome != Outcome::Refused);
                self.written += u64::from(outcome == Outcome::Written);
                (memory > allowed).then(|| format!("took {memory} bytes of memory for {} of file", copy.len()))
            }
            Ok(Err(message)) => Some(message),
            Err(_) => Some(PANIC.lock().map(|message| message.clone()).unwrap_or_default()),
        };
        if let Some(message) = failure {
            self.failures += 1;
            println!("execution {number}: {message}");
            if let Some(folder) = keep {
                let kept = std::fs::create_dir_all(folder)
                    .and_then(|()| std::fs::write(folder.join(format!("{number}.onnx")), &copy));
                kept.unwrap_or_else(|error| println!("  could not be kept: {error}"));
            }
        }
    }
}

#[derive(PartialEq)]
enum Outcome {
    Refused,
    Read,
    Written,
}

/// Reads, infers, writes and reads again; an error is a fault of slimnet.
fn execute(bytes: Vec<u8>, folder: &Path, random: &mut Random) -> Result<Outcome, String> {
    let Ok(mut graph) = read_bytes(bytes.into(), Some(folder)) else { return Ok(Outcome::Refused) };
    let first = match write_bytes(&graph) {
        Ok((first, _)) => first,
        Err(WriteError::Pinned { .. } | WriteError::Inexpressible { .. }) => return Ok(Outcome::Read),
        Err(error) => return Err(format!("what was read cannot be written: {error}")),
    };
    let again =
        read_bytes(first.clone().into(), None).map_err(|error| format!("what was written is refused: {error}"))?;
    let (second, _) = write_bytes(&again).map_err(|error| format!("cannot be written a second time: {error}"))?;
    if first != second {
        let differ = first.iter().zip(&second).position(|(a, b)| a != b);
        return Err(format!("is written otherwise the second time, from byte {differ:?} on"));
    }
    change(&mut graph, random)?;
    infer_graph(&mut graph).map_err(|error| format!("what was validated cannot be inferred: {error}"))?;
    Ok(Outcome::Written)
}

/// Gives values other names and asks for another operator set: what is then written must be readable too.
fn change(graph: &mut Graph, random: &mut Random) -> Result<(), String> {
    let mut changed = graph.clone();
    let values: Vec<_> = changed.values().map(|(id, value)| (id, value.name.clone())).collect();
    let other = random.pick(&values).map_or(String::new(), |(_, name)| name.clone());
    for (id, name) in &values {
        changed.rename(*id, &if random.once_in(2) { format!("{name}_renamed") } else { other.clone() });
    }
    let opset = 7 + random.below(22) as i64;
    changed.model.opsets.iter_mut().filter(|(domain, _)| domain.is_empty()).for_each(|(_, version)| *version = opset);
    let Ok((bytes, _)) = write_bytes(&changed) else { return Ok(()) };
    // A node that is kept whole may mean something else in another operator set; then only no harm may come of it.
    let kept = graph.nodes().any(|(_, node)| node.op.other().is_some());
    match read_bytes(bytes.into(), None) {
        Err(error) if !kept => Err(format!("after changes what was written is refused: {error}")),
        _ => Ok(()),
    }
}

/// Ends the process when an execution does not.
fn watch() {
    let mut last = (u64::MAX, Instant::now());
    while !DONE.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(500));
        let now = EXECUTION.load(Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        } else if last.1.elapsed().as_secs() >= SECONDS {
            println!("execution {now}: takes longer than {SECONDS} s");
            std::process::exit(1);
        }
    }
}

/// The bytes of a model.
fn encode(model: &slimnet_graph::onnx::proto::ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}
