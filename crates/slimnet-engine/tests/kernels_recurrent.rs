//! Recurrent layers against the reference evaluator and finite differences.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

use slimnet_engine::kernels::testing::{compare_forward, compare_gradient, run};
use slimnet_engine::kernels::{Context, ValueType};
use slimnet_graph::Op;
use slimnet_graph::ops::recurrent::{Direction, Gru, Lstm, Rnn};
use slimnet_graph::tensor::{ElementType, Tensor};
use slimnet_graph::zoo::random::{Distribution, Stream, tensor};

fn random(shape: &[usize], stream: u64) -> Option<Tensor> {
    // Large layers have smaller weights, else they multiply every error from step to step.
    let deviation = if shape.iter().product::<usize>() > 2000 { 0.12 } else { 0.6 };
    let normal = Distribution::Normal { mean: 0.0, deviation };
    Some(tensor(ElementType::F32, shape.to_vec(), Stream::new(5, stream), normal).unwrap())
}

#[derive(Debug, Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
}

const SMALL: Sizes = Sizes { steps: 4, batch: 3, input: 2, hidden: 3 };

/// All attributes that the layers share.
#[derive(Debug, Clone)]
struct Setting {
    direction: Direction,
    layout: bool,
    clip: Option<f32>,
    activations: Vec<String>,
    alphas: Vec<f32>,
}

impl Setting {
    fn new(direction: Direction) -> Self {
        Self { direction, layout: false, clip: None, activations: Vec::new(), alphas: Vec::new() }
    }

    fn directions(&self) -> usize {
        if self.direction == Direction::Bidirectional { 2 } else { 1 }
    }
}

const DIRECTIONS: [Direction; 3] = [Direction::Forward, Direction::Reverse, Direction::Bidirectional];

macro_rules! layer {
    ($variant:ident, $setting:expr, $($own:ident: $value:expr),*) => {
        Op::$variant($variant {
            activation_alpha: $setting.alphas.clone(),
            activation_beta: vec![],
            activations: $setting.activations.clone(),
            clip: $setting.clip,
            direction: $setting.direction,
            hidden_size: None,
            layout: $setting.layout,
            $($own: $value),*
        })
    };
}

fn lstm(setting: &Setting, input_forget: bool) -> Op {
    layer!(Lstm, setting, input_forget: input_forget)
}

fn gru(setting: &Setting, linear_before_reset: bool) -> Op {
    layer!(Gru, setting, linear_before_reset: linear_before_reset)
}

fn rnn(setting: &Setting) -> Op {
    layer!(Rnn, setting,)
}

/// All inputs that the layer may have.
fn inputs(op: &Op, setting: &Setting, sizes: Sizes, lengths: Option<&[i32]>) -> Vec<Option<Tensor>> {
    let Sizes { steps, batch, input, hidden } = sizes;
    let gates = match op {
        Op::Lstm(_) => 4,
        Op::Gru(_) => 3,
        _ => 1,
    };
    let (directions, rows) = (setting.directions(), gates * hidden);
    let state = if setting.layout { [batch, directions, hidden] } else { [directions, batch, hidden] };
    let x = if setting.layout { [batch, steps, input] } else { [steps, batch, input] };
    let mut all = vec![
        random(&x, 1),
        random(&[directions, rows, input], 2),
        random(&[directions, rows, hidden], 3),
        random(&[directions, 2 * rows], 4),
        lengths.map(|lengths| Tensor::from_values(vec![batch], lengths.to_vec()).unwrap()),
        random(&state, 5),
    ];
    if gates == 4 {
        all.extend([random(&state, 6), random(&[directions, 3 * hidden], 7)]);
    }
    all
}

fn check(op: &Op, inputs: &[Option<Tensor>]) {
    let outputs = if matches!(op, Op::Lstm(_)) { 3 } else { 2 };
    let forward = compare_forward(op, inputs, outputs, |_| false).unwrap();
    assert!(forward < 1e-5, "{op:?}: {forward}");
    let wanted: Vec<usize> = (0..inputs.len()).filter(|&slot| slot != 4 && inputs[slot].is_some()).collect();
    for outputs in [1, outputs] {
        let gradient = compare_gradient(op, inputs, outputs, &wanted, |_| false).unwrap();
        assert!(gradient < 1e-4, "gradient of {outputs} outputs of {op:?}: {gradient}");
    }
    for one in wanted {
        let gradient = compare_gradient(op, inputs, outputs, &[one], |_| false).unwrap();
        assert!(gradient < 1e-4, "gradient of input {one} of {op:?}: {gradient}");
    }
}

fn all_cells(setting: &Setting) -> Vec<Op> {
    vec![lstm(setting, false), lstm(setting, true), gru(setting, false), gru(setting, true), rnn(setting)]
}

#[test]
fn every_cell_in_every_direction_and_layout() {
    for direction in DIRECTIONS {
        for layout in [false, true] {
            let setting = Setting { layout, ..Setting::new(direction) };
            for op in all_cells(&setting) {
                check(&op, &inputs(&op, &setting, SMALL, None));
                check(&op, &inputs(&op, &setting, SMALL, Some(&[2, 4, 0])));
                check(&op, &inputs(&op, &setting, SMALL, None)[..3]);
            }
        }
    }
}

#[test]
fn optional_inputs_may_be_absent_one_by_one() {
    let setting = Setting::new(Direction::Bidirectional);
    for op in all_cells(&setting) {
        let all = inputs(&op, &setting, SMALL, None);
        for absent in 3..all.len() {
            let mut some = all.clone();
            some[absent] = None;
            check(&op, &some);
        }
    }
}

#[test]
fn sizes_of_one_and_several_parts() {
    let setting = Setting::new(Direction::Bidirectional);
    for sizes in [
        Sizes { steps: 1, batch: 1, input: 1, hidden: 1 },
        Sizes { steps: 2, batch: 17, input: 1, hidden: 2 },
        Sizes { steps: 1, batch: 35, input: 2, hidden: 1 },
    ] {
        for op in all_cells(&setting) {
            check(&op, &inputs(&op, &setting, sizes, None));
        }
    }
}

#[test]
fn large_layers() {
    let sizes = Sizes { steps: 9, batch: 33, input: 40, hidden: 67 };
    for direction in DIRECTIONS {
        let setting = Setting { layout: true, ..Setting::new(direction) };
        let lengths: Vec<i32> = (0..33).map(|example| example % 10).collect();
        for op in all_cells(&setting) {
            let all = inputs(&op, &setting, sizes, Some(&lengths));
            let outputs = if matches!(op, Op::Lstm(_)) { 3 } else { 2 };
            let forward = compare_forward(&op, &all, outputs, |_| false).unwrap();
            assert!(forward < 1e-5, "{op:?}: {forward}");
        }
    }
}

#[test]
fn activations_and_clip() {
    // Not more steps: what is not bounded grows with each beyond all numbers.
    let sizes = Sizes { steps: 2, ..SMALL };
    for (name, alphas) in [
        ("Relu", vec![]),
        ("Tanh", vec![]),
        ("sigmoid", vec![]),
        ("Softsign", vec![]),
        ("Softplus", vec![]),
        ("Affine", vec![0.7]),
        ("LeakyRelu", vec![-0.3]),
        ("ThresholdedRelu", vec![0.1]),
        ("ScaledTanh", vec![1.5]),
        ("HardSigmoid", vec![0.3]),
        ("Elu", vec![1.3]),
    ] {
        for clip in [None, Some(0.4)] {
            let setting = |count: usize| Setting {
                clip,
                activations: vec![name.to_string(); count],
                alphas: alphas.repeat(count),
                ..Setting::new(Direction::Forward)
            };
            for op in [lstm(&setting(3), false), gru(&setting(2), true), gru(&setting(2), false), rnn(&setting(1))] {
                let all = inputs(&op, &setting(1), sizes, None);
                check(&op, &all);
            }
        }
    }
}

#[test]
fn what_lies_behind_a_sequence_does_not_count() {
    let setting = Setting::new(Direction::Reverse);
    for op in all_cells(&setting) {
        let mut all = inputs(&op, &setting, SMALL, Some(&[4, 4, 3]));
        let mut x = all[0].as_ref().unwrap().to_f64s().unwrap();
        x[(3 * 3 + 2) * 2..].fill(f64::NAN);
        all[0] = Some(Tensor::from_values(vec![4, 3, 2], x.iter().map(|&x| x as f32).collect()).unwrap());
        let weights: Vec<usize> = (1..all.len()).filter(|&slot| slot != 4).collect();
        assert!(compare_forward(&op, &all, 2, |_| false).unwrap() < 1e-5);
        assert!(compare_gradient(&op, &all, 2, &weights, |_| false).unwrap() < 1e-4);
    }
}

#[test]
fn lengths_beyond_the_steps_are_refused() {
    let setting = Setting::new(Direction::Forward);
    for lengths in [[5, 1, 1], [-1, 1, 1]] {
        let op = rnn(&setting);
        let all = inputs(&op, &setting, SMALL, Some(&lengths));
        let outputs = [Some(ValueType::new(ElementType::F32, vec![4, 1, 3, 3]))];
        assert!(run(&op, &all, &outputs, |_| false, Context::default()).is_err());
    }
}

#[test]
fn results_have_the_same_bits_on_any_number_of_threads() {
    let sizes = Sizes { steps: 5, batch: 37, input: 30, hidden: 65 };
    let setting = Setting::new(Direction::Bidirectional);
    for op in all_cells(&setting) {
        let all = inputs(&op, &setting, sizes, None);
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let gradient = slimnet_graph::ops::Gradient { of: op.clone(), inputs: all.len(), outputs: 1 };
            let y = [Some(ValueType::new(ElementType::F32, vec![5, 2, 37, 65]))];
            pool.install(|| {
                let mut results = run(&op, &all, &y, |_| false, Context::default()).unwrap();
                let mut more = all.clone();
                more.extend([results[0].clone(), random(&[5, 2, 37, 65], 9)]);
                let wanted: Vec<_> = all
                    .iter()
                    .map(|input| input.as_ref().map(|it| ValueType::new(it.element_type(), it.shape().to_vec())))
                    .collect();
                let gradient = Op::Gradient(Box::new(gradient));
                results.extend(run(&gradient, &more, &wanted, |_| false, Context::default()).unwrap());
                results.iter().flatten().map(|it| it.bytes().unwrap().to_vec()).collect::<Vec<_>>()
            })
        };
        assert_eq!(on(1), on(3), "{op:?}");
    }
}
