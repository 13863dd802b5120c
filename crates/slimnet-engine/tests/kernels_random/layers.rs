//! Recurrent layers, products, normalisations, choices.

use slimnet_graph::Op;
use slimnet_graph::ops::normalization::{
    BatchNormalization, GroupNormalization, InstanceNormalization, LayerNormalization, LpNormalization, Lrn,
    MeanVarianceNormalization, RmsNormalization,
};
use slimnet_graph::ops::product::Einsum;
use slimnet_graph::ops::recurrent::{Direction, Gru, Lstm, Rnn};
use slimnet_graph::ops::reduction::{CumSum, TopK};
use slimnet_graph::tensor::Tensor;

use super::check::{Case, Random, axes_of, check, integers, with_known};

#[test]
fn recurrent_layers() {
    check("recurrent", 700, |random| {
        let (steps, batch) = (1 + random.below(6), random.pick(&[1, 2, 3, 7, 17, 33]));
        let (input, hidden) = (random.pick(&[1, 2, 3, 8, 9]), random.pick(&[1, 2, 3, 7, 8, 9, 17]));
        let direction = random.pick(&[Direction::Forward, Direction::Reverse, Direction::Bidirectional]);
        let directions = if direction == Direction::Bidirectional { 2 } else { 1 };
        let layout = random.chance(3);
        let kind = random.below(3);
        let (gates, functions) = ([1, 3, 4][kind], [1, 2, 3][kind]);
        let names = [
            "Tanh",
            "Sigmoid",
            "Softsign",
            "Softplus",
            "Affine",
            "ScaledTanh",
            "Elu",
            "LeakyRelu",
            "HardSigmoid",
            "Relu",
            "ThresholdedRelu",
            "tanh",
        ];
        let activations: Vec<String> = if random.chance(3) {
            (0..functions * directions).map(|_| random.pick(&names).to_owned()).collect()
        } else {
            vec![]
        };
        let (activation_alpha, activation_beta) =
            if random.chance(2) { (vec![0.3, 0.7], vec![0.4]) } else { (vec![], vec![]) };
        let clip = random.chance(5).then_some(0.7);
        let rows = gates * hidden;
        let small = |random: &mut Random, shape: &[usize]| {
            let count: usize = shape.iter().product();
            let values = (0..count).map(|_| random.normal() as f32 * 0.3).collect();
            Some(Tensor::from_values(shape.to_vec(), values).unwrap())
        };
        let x = if layout { [batch, steps, input] } else { [steps, batch, input] };
        let state = if layout { [batch, directions, hidden] } else { [directions, batch, hidden] };
        let mut inputs = vec![
            small(random, &x),
            small(random, &[directions, rows, input]),
            small(random, &[directions, rows, hidden]),
        ];
        let optional =
            |random: &mut Random, shape: &[usize]| if random.chance(2) { small(random, shape) } else { None };
        inputs.push(optional(random, &[directions, 2 * rows]));
        inputs.push(random.chance(2).then(|| {
            let over = usize::from(random.chance(20));
            Tensor::vector((0..batch).map(|_| random.below(steps + 1 + over) as i32).collect())
        }));
        inputs.push(optional(random, &state));
        if kind == 2 {
            inputs.push(optional(random, &state));
            inputs.push(optional(random, &[directions, 3 * hidden]));
        }
        let wanted = (0..inputs.len()).filter(|&slot| slot != 4 && inputs[slot].is_some()).collect();
        let hidden_size = random.chance(2).then_some(hidden as i64);
        let op: Op = match kind {
            0 => Rnn { activation_alpha, activation_beta, activations, clip, direction, hidden_size, layout }.into(),
            1 => {
                let linear_before_reset = random.chance(2);
                Gru {
                    activation_alpha,
                    activation_beta,
                    activations,
                    clip,
                    direction,
                    hidden_size,
                    layout,
                    linear_before_reset,
                }
                .into()
            }
            _ => {
                let input_forget = random.chance(3);
                Lstm {
                    activation_alpha,
                    activation_beta,
                    activations,
                    clip,
                    direction,
                    hidden_size,
                    input_forget,
                    layout,
                }
                .into()
            }
        };
        let outputs = if kind == 2 { 3 } else { 2 };
        Case { outputs, given: 1 + random.below(outputs), wanted, tolerance: 2e-5, ..Case::new(op, inputs) }
    });
}

#[test]
fn sums_of_products() {
    check("einsum", 2500, |random| {
        let count = 1 + random.below(2);
        let letters = ['a', 'b', 'c', 'd', 'e'];
        let lengths: Vec<usize> = letters.iter().map(|_| random.length(9)).collect();
        let dots = random.chance(4);
        let under = 1 + random.below(2);
        let hidden = if dots { random.shape(under, 6) } else { vec![] };
        let (mut terms, mut inputs, mut all) = (vec![], vec![], vec![]);
        for _ in 0..count {
            let (mut term, mut shape) = (String::new(), vec![]);
            let with_dots = dots && random.chance(2);
            let place = random.below(3);
            for at in 0..=random.below(4) {
                if with_dots && at == place.min(1) {
                    term.push_str("...");
                    shape.extend(hidden.iter().map(|length| if random.chance(4) { 1 } else { *length }));
                }
                let letter = random.below(letters.len());
                if term.contains(letters[letter]) && !random.chance(6) {
                    continue;
                }
                term.push(letters[letter]);
                shape.push(if random.chance(8) && !term.contains(letters[letter]) { 1 } else { lengths[letter] });
                if !all.contains(&letters[letter]) {
                    all.push(letters[letter]);
                }
            }
            terms.push(term);
            inputs.push(random.floats(&shape));
        }
        let mut output: Vec<char> = all.into_iter().filter(|_| random.chance(2)).collect();
        for place in 0..output.len() {
            let other = random.below(output.len());
            output.swap(place, other);
        }
        let mut equation = terms.join(",");
        if !random.chance(6) {
            equation.push_str("->");
            if equation.contains("...") {
                equation.push_str("...");
            }
            equation.extend(output);
        }
        Case { wanted: (0..count).collect(), ..Case::new(Einsum { equation }, inputs) }
    });
}

#[test]
fn normalizations() {
    check("normalization", 2500, |random| {
        let rank = 2 + random.below(3);
        let elements = if random.chance(20) { 30_000 } else { 900 };
        let shape = random.shape(rank, elements);
        let mut x = random.floats(&shape);
        if random.chance(3) {
            // Far from zero.
            let moved = x.unwrap().to_f64s().unwrap().into_iter().map(|value| (value + 5.0) as f32);
            x = Some(Tensor::from_values(shape.clone(), moved.collect()).unwrap());
        }
        let epsilon = random.pick(&[1e-5, 1e-3]);
        let channels = shape[1];
        let (scale, bias) = (random.floats(&[channels]), random.floats(&[channels]));
        let at = random.below(rank);
        let axis = if random.chance(2) { at as i64 } else { at as i64 - rank as i64 };
        let empty = shape.contains(&0);
        let case = match random.below(9) {
            0 => {
                let inputs = vec![x, scale, bias, random.floats(&[channels]), random.positive(&[channels])];
                let op = BatchNormalization { epsilon, momentum: 0.9, training_mode: false };
                Case { wanted: vec![0, 1, 2], ..Case::new(op, inputs) }
            }
            1 => {
                let inputs = vec![x, scale, bias, random.floats(&[channels]), random.positive(&[channels])];
                let op = BatchNormalization { epsilon, momentum: 0.7, training_mode: true };
                Case { outputs: 5, wanted: vec![0, 1, 2], ..Case::new(op, inputs) }
            }
            // The evaluator refuses no channels, the kernel does not.
            2 if channels > 0 || with_known() => {
                Case { wanted: vec![0, 1, 2], ..Case::new(InstanceNormalization { epsilon }, vec![x, scale, bias]) }
            }
            2 | 3 => {
                let groups: Vec<_> = (1..=channels.max(1)).filter(|&groups| channels % groups == 0).collect();
                let op = GroupNormalization { epsilon, num_groups: random.pick(&groups) as i64, stash_type: 1 };
                Case { wanted: vec![0, 1, 2], ..Case::new(op, vec![x, scale, bias]) }
            }
            4 => {
                let scale = random.floats(&shape[at..]);
                let bias = if random.chance(2) { random.floats(&shape[at..]) } else { None };
                let mut wanted = vec![0, 1];
                let mut inputs = vec![x, scale];
                if bias.is_some() {
                    inputs.push(bias);
                    wanted.push(2);
                }
                Case { wanted, ..Case::new(LayerNormalization { axis, epsilon, stash_type: 1 }, inputs) }
            }
            5 => {
                let scale = random.floats(&shape[at..]);
                let op = RmsNormalization { axis, epsilon, stash_type: 1 };
                Case { wanted: vec![0, 1], ..Case::new(op, vec![x, scale]) }
            }
            6 => {
                let op = Lrn {
                    alpha: random.pick(&[1e-4, 0.5]),
                    beta: random.pick(&[0.75, 0.5, 1.0, 0.3]),
                    bias: random.pick(&[1.0, 2.0]),
                    size: random.range(1, 6),
                };
                Case::new(op, vec![x])
            }
            7 => Case::new(LpNormalization { axis, p: random.range(1, 2) }, vec![x]),
            _ => {
                let axes = axes_of(random, rank);
                let group: usize = axes.iter().map(|axis| shape[axis.rem_euclid(rank as i64) as usize]).product();
                // Of two numbers the results are ±1, with a kink where they are equal.
                let wanted = if group > 3 { vec![0] } else { vec![] };
                Case { wanted, ..Case::new(MeanVarianceNormalization { axes }, vec![x]) }
            }
        };
        // Statistics of little cancel, and errors grow with how far from zero it all is: two numbers of about 20 that are
        // near each other leave few digits.
        let wanted = if empty { vec![] } else { case.wanted.clone() };
        Case { tolerance: 1e-3, wanted, ..case }
    });
}

#[test]
fn choices_and_running_sums() {
    check("choices", 2000, |random| {
        let rank = 1 + random.below(4);
        let elements = if random.chance(20) { 40_000 } else { 900 };
        let shape = random.shape(rank, elements);
        let count: usize = shape.iter().product();
        let at = random.below(rank);
        let axis = if random.chance(2) { at as i64 } else { at as i64 - rank as i64 };
        let kind = random.below(3);
        let values = (0..count)
            .map(|_| match kind {
                0 => random.normal() as f32,
                1 => random.range(-2, 2) as f32,
                _ => {
                    random.pick(&[f32::NAN, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, 1.0, -1.0, f32::MIN_POSITIVE])
                }
            })
            .collect();
        let x = Some(Tensor::from_values(shape.clone(), values).unwrap());
        let wanted = if kind == 0 { vec![0] } else { vec![] };
        if random.chance(2) {
            let axis = if random.chance(2) { Some(Tensor::scalar(axis)) } else { Some(Tensor::scalar(axis as i32)) };
            let op = CumSum { exclusive: random.chance(2), reverse: random.chance(2) };
            return Case { constant: vec![1], wanted, ..Case::new(op, vec![x, axis]) };
        }
        let k = random.below(shape[at] + 1) as i64;
        let op = TopK { axis, largest: random.chance(2), sorted: !random.chance(4) };
        Case { outputs: 2, constant: vec![1], wanted, ..Case::new(op, vec![x, integers(&[k])]) }
    });
}
