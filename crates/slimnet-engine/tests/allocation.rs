//! A step of training asks for no memory, but for the panels that the library of matrix products packs and gives back.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use slimnet_engine::Threads;
use slimnet_engine::job::{Job, JobOptions};
use slimnet_engine::train::{Batch, TrainOptions, Trainer};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};
use slimnet_graph::zoo::{ZooOptions, build};

/// The system's allocator, which looks at who asks while a step runs.
struct Watching;

static WATCHES: AtomicBool = AtomicBool::new(false);

/// Where memory was asked for by somebody who must not.
static FOUND: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    static LOOKING: Cell<bool> = const { Cell::new(false) };
}

fn look() {
    // Looking allocates, too.
    if !WATCHES.load(Ordering::Relaxed) || LOOKING.with(|looking| looking.replace(true)) {
        return;
    }
    let trace = Backtrace::force_capture().to_string();
    // Packed panels of matrix products, blocks of the queues between threads, and the list of tests that run, which the
    // main thread keeps.
    let known = ["gemm::", "gemm_f32", "crossbeam", "test::console::run_tests_console"];
    if !known.iter().any(|known| trace.contains(known)) {
        *FOUND.lock().unwrap() = Some(trace);
    }
    LOOKING.with(|looking| looking.set(false));
}

// SAFETY: everything is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        look();
        // SAFETY: as asked for by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as asked for by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

fn found_while(work: impl FnOnce()) -> Option<String> {
    WATCHES.store(true, Ordering::Relaxed);
    work();
    WATCHES.store(false, Ordering::Relaxed);
    FOUND.lock().unwrap().take()
}

#[test]
fn a_step_asks_for_no_memory() {
    assert!(found_while(|| drop(std::hint::black_box(vec![1u8; 100]))).is_some(), "nobody looks");
    for (name, options) in [
        ("resnet8", ZooOptions { resolution: Some(16), ..ZooOptions::default() }),
        ("mlp-dropout", ZooOptions { width: Some(0.25), ..ZooOptions::default() }),
        ("ds-cnn", ZooOptions { width: Some(0.5), ..ZooOptions::default() }),
        ("transformer-encoder", ZooOptions::default()),
        ("lenet-5", ZooOptions::default()),
    ] {
        let network = build(name, &options).unwrap();
        let input = network.free_inputs().next().unwrap();
        let shape = network.value(input).shape.as_ref().unwrap();
        let shape: Vec<usize> = std::iter::once(4).chain(shape[1..].iter().map(|dim| dim.known().unwrap())).collect();
        let normal = Distribution::Normal { mean: 0.0, deviation: 1.0 };
        let x = tensor(ElementType::F32, shape, Stream::new(1, 0), normal).unwrap();
        let labels = Tensor::vector((0..4).map(|label| label % 10).collect::<Vec<i64>>());
        let values = vec![(network.value(input).name.clone(), x), ("labels".to_owned(), labels)];
        let batch = Batch { values, samples: 4 };
        let job = Job::build(&network, &JobOptions::default()).unwrap();
        let options = TrainOptions { batch: 4, clip: Some(1.0), average: Some(0.9), ..TrainOptions::default() };
        let mut trainer = Trainer::new(&job, 8, options).unwrap();
        let threads = Threads::new(2).unwrap();
        // Threads set themselves up when they begin, which small networks do not wait for, and in the first steps.
        threads.run(|| rayon::broadcast(|_| ()));
        for _ in 0..3 {
            trainer.step(&batch, &threads).unwrap();
        }
        let found = found_while(|| drop(trainer.step(&batch, &threads)));
        assert!(found.is_none(), "{name} asks for memory in a step:\n{}", found.unwrap_or_default());
    }
}
