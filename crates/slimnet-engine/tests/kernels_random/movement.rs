//! Movement, joining and cutting, indices.

use slimnet_graph::Op;
use slimnet_graph::ops::index::{Gather, GatherElements, GatherNd, ScatterElements, ScatterNd, ScatterReduction};
use slimnet_graph::ops::layout::{
    CenterCropPad, Concat, DepthToSpace, DepthToSpaceMode, Expand, Pad, PadMode, ReverseSequence, Slice, SpaceToDepth,
    Split, Tile, Transpose, Trilu,
};
use slimnet_graph::tensor::Tensor;

use super::check::{Case, Random, axes_of, check, integers};

#[test]
fn movements() {
    check("movement", 2000, |random| {
        let rank = 1 + random.below(5);
        let elements = if random.chance(25) { 70_000 } else { 2000 };
        let shape = random.shape(rank, elements);
        let x = random.floats(&shape);
        let constant: Vec<usize> = if random.chance(10) { vec![] } else { (1..5).collect() };
        let case = |op: Op, inputs: Vec<Option<Tensor>>, constant: &[usize]| {
            // Without settings there is the reference evaluator only, and no gradient.
            let known = constant.len() > 1 || inputs.len() == 1;
            let wanted = if known { vec![0] } else { vec![] };
            Case { constant: constant.to_vec(), wanted, ..Case::new(op, inputs) }
        };
        match random.below(12) {
            0 | 1 => {
                let mut perm: Vec<i64> = (0..rank as i64).collect();
                for place in 0..rank {
                    let other = random.below(rank);
                    perm.swap(place, other);
                }
                case(Transpose { perm: (!random.chance(5)).then_some(perm) }.into(), vec![x], &constant)
            }
            2 | 3 => {
                let axes = axes_of(random, rank);
                let (mut starts, mut ends, mut steps) = (vec![], vec![], vec![]);
                for &axis in &axes {
                    let length = shape[(if axis < 0 { axis + rank as i64 } else { axis }) as usize] as i64;
                    let any = |random: &mut Random| match random.below(8) {
                        0 => i64::MIN,
                        1 => i64::MAX,
                        2 => i64::from(i32::MIN),
                        _ => random.range(-length - 2, length + 2),
                    };
                    starts.push(any(random));
                    ends.push(any(random));
                    steps.push(random.pick(&[1, 1, 2, 3, -1, -1, -2, -7, i64::MAX, i64::MIN + 1]));
                }
                let steps = if random.chance(3) { None } else { integers(&steps) };
                let inputs = vec![x, integers(&starts), integers(&ends), integers(&axes), steps];
                case(Slice {}.into(), inputs, &constant)
            }
            4..=6 => {
                let mode = random.pick(&[
                    PadMode::Constant,
                    PadMode::Constant,
                    PadMode::Reflect,
                    PadMode::Edge,
                    PadMode::Wrap,
                ]);
                let axes = random.chance(2).then(|| axes_of(random, rank));
                let count = axes.as_ref().map_or(rank, Vec::len);
                let least = random.pick(&[0, -1, -3]);
                let pads: Vec<i64> = (0..2 * count).map(|_| random.range(least, 4)).collect();
                let filled = mode == PadMode::Constant && random.chance(2);
                let value = filled.then(|| Tensor::scalar(0.75f32));
                let mut inputs = vec![x, integers(&pads), value, axes.and_then(|axes| integers(&axes))];
                while inputs.last().is_some_and(Option::is_none) {
                    inputs.pop();
                }
                let mut case = case(Pad { mode }.into(), inputs, &constant);
                if filled && !case.wanted.is_empty() && random.chance(2) {
                    case.wanted.push(2);
                }
                case
            }
            7 => {
                let repeats: Vec<i64> = (0..rank).map(|_| random.pick(&[0, 1, 1, 1, 2, 3])).collect();
                case(Tile {}.into(), vec![x, integers(&repeats)], &constant)
            }
            8 => {
                let shape: Vec<_> = shape.iter().map(|length| if random.chance(2) { 1 } else { *length }).collect();
                let x = random.floats(&shape);
                let mut target: Vec<i64> =
                    shape
                        .iter()
                        .map(|&length| {
                            if length == 1 {
                                random.pick(&[1, 1, 0, 2, 3, 9])
                            } else {
                                random.pick(&[1, length as i64])
                            }
                        })
                        .collect();
                match random.range(0, 3) {
                    0 => drop(target.splice(0..0, [random.range(1, 3)])),
                    1 => drop(target.remove(0)),
                    _ => {}
                }
                case(Expand {}.into(), vec![x, integers(&target)], &constant)
            }
            9 => {
                let block = random.range(1, 3);
                let square = (block * block) as usize;
                let four = random.shape(4, 600);
                if random.chance(2) {
                    let mode = random.pick(&[DepthToSpaceMode::DepthColumnRow, DepthToSpaceMode::ColumnRowDepth]);
                    let x = random.floats(&[four[0], four[1] * square, four[2], four[3]]);
                    case(DepthToSpace { blocksize: block, mode }.into(), vec![x], &constant)
                } else {
                    let block_length = block as usize;
                    let x = random.floats(&[four[0], four[1], four[2] * block_length, four[3] * block_length]);
                    case(SpaceToDepth { blocksize: block }.into(), vec![x], &constant)
                }
            }
            10 => {
                let diagonal = random.pick(&[0, 1, -1, 5, -5, i64::MAX, i64::MIN]);
                let given = random.chance(2).then(|| Tensor::scalar(diagonal));
                let inputs = if given.is_some() { vec![x, given] } else { vec![x] };
                case(Trilu { upper: random.chance(2) }.into(), inputs, &constant)
            }
            _ => {
                let lengths: Vec<i64> =
                    shape.iter().map(|&length| (length as i64 + random.range(-3, 3)).max(0)).collect();
                case(CenterCropPad { axes: None }.into(), vec![x, integers(&lengths)], &constant)
            }
        }
    });
}

#[test]
fn pieces() {
    check("pieces", 800, |random| {
        let rank = 1 + random.below(4);
        let elements = if random.chance(20) { 40_000 } else { 900 };
        let mut shape = random.shape(rank, elements);
        let at = random.below(rank);
        let axis = if random.chance(2) { at as i64 } else { at as i64 - rank as i64 };
        if random.chance(2) {
            let count = 1 + random.below(6);
            let inputs: Vec<_> = (0..count)
                .map(|_| {
                    shape[at] = random.length(9);
                    random.floats(&shape)
                })
                .collect();
            return Case { wanted: (0..count).collect(), ..Case::new(Concat { axis }, inputs) };
        }
        let count = 1 + random.below(5);
        if random.chance(2) {
            let lengths: Vec<_> = (0..count).map(|_| random.below(4) as i64).collect();
            shape[at] = lengths.iter().sum::<i64>() as usize;
            let inputs = vec![random.floats(&shape), integers(&lengths)];
            let op = Split { axis, num_outputs: None };
            return Case { outputs: count, given: count, constant: vec![1], ..Case::new(op, inputs) };
        }
        let num_outputs = random.chance(2).then_some(count as i64);
        Case { outputs: count, given: count, ..Case::new(Split { axis, num_outputs }, vec![random.floats(&shape)]) }
    });
}

/// Indices on axes of these lengths in turn; now and then one that lies outside.
fn indices(random: &mut Random, shape: &[usize], lengths: &[usize]) -> Option<Tensor> {
    let count: usize = shape.iter().product();
    let outside = random.chance(12);
    let one = |random: &mut Random, place: usize| {
        let length = lengths[place % lengths.len().max(1)].max(1) as i64;
        random.range(-length, length - 1)
    };
    let mut values: Vec<_> = (0..count).map(|place| one(random, place)).collect();
    if outside && count > 0 {
        let place = random.below(count);
        let length = lengths[place % lengths.len()] as i64;
        values[place] = random.pick(&[length, -length - 1, i64::from(i32::MAX), i64::from(i32::MIN)]);
    }
    if random.chance(4) {
        let values = values.into_iter().map(|value| value as i32).collect();
        return Some(Tensor::from_values(shape.to_vec(), values).unwrap());
    }
    Some(Tensor::from_values(shape.to_vec(), values).unwrap())
}

#[test]
fn indexing() {
    check("indexing", 3000, |random| {
        let rank = 1 + random.below(4);
        let elements = if random.chance(25) { 40_000 } else { 700 };
        let shape = random.shape(rank, elements);
        let x = random.floats(&shape);
        let at = random.below(rank);
        let axis = if random.chance(2) { at as i64 } else { at as i64 - rank as i64 };
        let reduction = random.pick(&[
            ScatterReduction::None,
            ScatterReduction::None,
            ScatterReduction::Add,
            ScatterReduction::Mul,
            ScatterReduction::Max,
            ScatterReduction::Min,
        ]);
        let smooth = matches!(reduction, ScatterReduction::None | ScatterReduction::Add);
        match random.below(6) {
            0 => {
                let rank = random.below(3);
                let of = random.shape(rank, 40);
                let indices = indices(random, &of, &[shape[at]]);
                Case::new(Gather { axis }, vec![x, indices])
            }
            kind @ (1 | 2) => {
                let mut of = shape.clone();
                of[at] = random.length(17);
                if random.chance(2) {
                    for length in &mut of {
                        *length = 1.max(*length / 2).min(*length);
                    }
                }
                let indices = indices(random, &of, &[shape[at]]);
                if kind == 1 {
                    return Case::new(GatherElements { axis }, vec![x, indices]);
                }
                let updates = random.floats(&of);
                let wanted = if smooth { vec![0, 2] } else { vec![] };
                Case { wanted, ..Case::new(ScatterElements { axis, reduction }, vec![x, indices, updates]) }
            }
            3 => {
                let batch = random.below(rank);
                let arity = random.below(rank - batch + 1);
                let mut of = shape[..batch].to_vec();
                for _ in 0..random.below(3) {
                    of.push(random.length(9));
                }
                of.push(arity);
                let indices = indices(random, &of, &shape[batch..batch + arity]);
                Case::new(GatherNd { batch_dims: batch as i64 }, vec![x, indices])
            }
            4 => {
                let arity = random.below(rank + 1);
                let mut of: Vec<_> = (0..random.below(3)).map(|_| random.length(9)).collect();
                let mut updates = of.clone();
                of.push(arity);
                updates.extend(&shape[arity..]);
                let indices = indices(random, &of, &shape[..arity]);
                let updates = random.floats(&updates);
                let wanted = if smooth { vec![0, 2] } else { vec![] };
                Case { wanted, ..Case::new(ScatterNd { reduction }, vec![x, indices, updates]) }
            }
            _ => {
                let rank = 2 + random.below(3);
                let shape = random.shape(rank, 600);
                let (batch, time) = if random.chance(2) { (0, 1) } else { (1, 0) };
                let least = if random.chance(10) { -1 } else { 0 };
                let most = shape[time] as i64 + i64::from(random.chance(10));
                let lengths: Vec<_> = (0..shape[batch]).map(|_| random.range(least, most)).collect();
                let op = ReverseSequence { batch_axis: batch as i64, time_axis: time as i64 };
                Case::new(op, vec![random.floats(&shape), integers(&lengths)])
            }
        }
    });
}
