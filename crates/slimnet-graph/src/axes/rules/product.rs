//! Products and sums over axes. A product is an elementwise product in the space of all its axes, summed over some of
//! them: contracted positions go together, and the operands' slices there are what reads them.

use crate::axes::Reason;
use crate::axes::pass::{Axis, Cover, Pass, State};
use crate::graph::{NodeId, ValueId};
use crate::ops::product::Gemm;

impl Pass<'_> {
    pub(super) fn mat_mul(&mut self, node: NodeId, a: usize, b: usize) {
        let graph = self.graph;
        let operator = graph.node(node);
        let (Some(a), Some(b), Some(y)) = (operator.input(a), operator.input(b), operator.output(0)) else { return };
        let (Some(a_rank), Some(b_rank)) = (self.rank(a), self.rank(b)) else {
            let reason = self.unknown_shape(&[a, b], y);
            return self.give_up(node, reason);
        };
        if a_rank == 0 || b_rank == 0 {
            let reason = self.because(Reason::NoRule, node);
            return self.give_up(node, reason);
        }
        // The joint space: batch axes, rows, columns, the contracted axis. Vectors lack rows or columns.
        let batch = a_rank.max(b_rank).max(2) - 2;
        let (row, column, contracted) = (batch, batch + 1, batch + 2);
        let spread = |rank: usize, last: [usize; 2]| -> Vec<usize> {
            match rank {
                1 => vec![contracted],
                _ => (batch + 2 - rank..batch).chain(last).collect(),
            }
        };
        let names = [spread(a_rank, [row, contracted]), spread(b_rank, [contracted, column])];
        let kept: Vec<usize> =
            (0..batch).chain((a_rank > 1).then_some(row)).chain((b_rank > 1).then_some(column)).collect();
        self.product(node, &[a, b], &names, batch + 3, &kept);
    }

    pub(super) fn gemm(&mut self, node: NodeId, gemm: &Gemm) {
        let graph = self.graph;
        let operator = graph.node(node);
        let (Some(a), Some(b), Some(y)) = (operator.input(0), operator.input(1), operator.output(0)) else { return };
        if self.rank(a) != Some(2) || self.rank(b) != Some(2) {
            let reason = self.unknown_shape(&[a, b], y);
            return self.give_up(node, reason);
        }
        let names =
            [if gemm.transA { vec![2, 0] } else { vec![0, 2] }, if gemm.transB { vec![1, 2] } else { vec![2, 1] }];
        self.product(node, &[a, b], &names, 3, &[0, 1]);
        if let (Some(addend), Some(state)) = (operator.input(2), self.load(y)) {
            let Some(addend) = self.load(addend) else {
                let reason = self.unknown_shape(&[addend], y);
                return self.give_up(node, reason);
            };
            let lengths = state.lengths.clone();
            let state = self.broadcast(node, &mut [state, addend], lengths);
            self.store(y, state);
        }
    }

    pub(super) fn einsum(&mut self, node: NodeId, equation: &str) {
        let graph = self.graph;
        let inputs: Vec<ValueId> = graph.node(node).inputs().iter().flatten().copied().collect();
        let reason = self.because(Reason::NoRule, node);
        let text: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
        let Some((left, right)) = text.split_once("->") else { return self.give_up(node, reason) };
        let terms: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
        let kept: Vec<char> = right.chars().collect();
        let mut letters: Vec<char> = Vec::new();
        let repeats = |term: &[char]| (1..term.len()).any(|place| term[..place].contains(&term[place]));
        for term in &terms {
            letters.extend(term.iter().filter(|letter| !letters.contains(letter)).copied().collect::<Vec<_>>());
        }
        let fits = terms.len() == inputs.len()
            && terms.iter().zip(&inputs).all(|(term, &input)| self.rank(input) == Some(term.len()))
            && !text.contains('.')
            && !terms.iter().any(|term| repeats(term))
            && !repeats(&kept);
        let place = |letter: &char| letters.iter().position(|other| other == letter);
        let names: Option<Vec<Vec<usize>>> = terms.iter().map(|term| term.iter().map(place).collect()).collect();
        let kept: Option<Vec<usize>> = kept.iter().map(place).collect();
        match (fits, names, kept) {
            (true, Some(names), Some(kept)) => {
                // An axis that only one operand has is summed by itself, not contracted.
                for (axis, letter) in letters.iter().enumerate() {
                    let owners: Vec<_> = (0..terms.len()).filter(|&term| terms[term].contains(letter)).collect();
                    if let ([owner], false) = (&owners[..], kept.contains(&axis))
                        && let Some(mut state) = self.load(inputs[*owner])
                        && let Some(own) = names[*owner].iter().position(|&name| name == axis)
                    {
                        self.freeze_over(node, &mut state, own);
                    }
                }
                self.product(node, &inputs, &names, letters.len(), &kept);
            }
            _ => self.give_up(node, reason),
        }
    }

    pub(super) fn rank(&self, value: ValueId) -> Option<usize> {
        Some(self.types.shape(value)?.len())
    }

    /// The product of `inputs`, whose axes are called `names` in a joint space of `rank` axes, summed over all but `kept`.
    fn product(&mut self, node: NodeId, inputs: &[ValueId], names: &[Vec<usize>], rank: usize, kept: &[usize]) {
        let graph = self.graph;
        let Some(y) = graph.node(node).output(0) else { return };
        let states: Option<Vec<State>> = inputs.iter().map(|&input| self.load(input)).collect();
        let (Some(states), Some(out_lengths)) = (states, self.lengths(y)) else {
            let reason = self.unknown_shape(inputs, y);
            return self.give_up(node, reason);
        };
        if out_lengths.len() != kept.len() || states.iter().zip(names).any(|(state, names)| state.rank() != names.len())
        {
            let reason = self.because(Reason::NoRule, node);
            return self.give_up(node, reason);
        }
        let single = self.reason(Reason::Single);
        let mut states: Vec<State> = states
            .iter()
            .zip(names)
            .map(|(state, names)| {
                let mut joint = State::fixed(vec![Some(1); rank], single);
                names.iter().enumerate().for_each(|(axis, &name)| joint.lengths[name] = state.lengths[axis]);
                joint.take(state, &names.iter().copied().enumerate().collect::<Vec<_>>());
                joint
            })
            .collect();
        let mut lengths = vec![Some(1); rank];
        for state in &states {
            for (all, own) in lengths.iter_mut().zip(&state.lengths) {
                *all = match (*all, *own) {
                    (Some(1), own) => own,
                    (all, Some(1)) => all,
                    (None, own) => own,
                    (all, _) => all,
                };
            }
        }
        let joint = self.broadcast(node, &mut states, lengths);
        for axis in (0..rank).filter(|axis| !kept.contains(axis)) {
            for (state, &input) in states.iter().zip(inputs) {
                self.mark_reads(input, state, axis);
            }
        }
        let mut state = self.project(&joint, kept);
        state.lengths = out_lengths;
        self.store(y, state);
    }

    /// What is left of a state when all axes but `kept` are summed or otherwise done with.
    pub(super) fn project(&mut self, state: &State, kept: &[usize]) -> State {
        let single = self.reason(Reason::Single);
        let mut result = State::fixed(kept.iter().map(|&axis| state.lengths[axis]).collect(), single);
        let names: Vec<(usize, usize)> = kept.iter().copied().enumerate().map(|(to, from)| (from, to)).collect();
        self.carry(&mut result, state, &names);
        result
    }

    /// As [`State::take`], but of a block of which some axes are not taken the rest is: its rows, or its axes alone.
    pub(super) fn carry(&mut self, result: &mut State, state: &State, names: &[(usize, usize)]) {
        result.take(state, names);
        let name = |axis: usize| names.iter().find(|(from, _)| *from == axis).map(|(_, to)| *to);
        for cover in &state.covers {
            let outer: Vec<usize> = cover.axes.iter().copied().map_while(name).collect();
            let left: Vec<usize> = cover.axes.iter().copied().filter(|&axis| name(axis).is_some()).collect();
            if left.len() == cover.axes.len() || left.is_empty() {
                continue;
            }
            if outer.len() == left.len() {
                let inner = cover.lengths[outer.len()..].iter().product();
                let labels = self.labels.rows(&cover.labels, inner);
                let lengths = cover.lengths[..outer.len()].to_vec();
                result.covers.push(Cover { axes: outer, lengths, labels, origins: cover.origins.clone() });
                continue;
            }
            for axis in left {
                let labels = self.alone_in(cover, axis);
                let (axes, lengths) = (vec![name(axis).unwrap_or(axis)], vec![labels.len()]);
                result.covers.push(Cover { axes, lengths, labels, origins: cover.origins.clone() });
            }
        }
        self.drop_implied(result);
    }

    /// Drops covers of one axis that another cover, whose rows they are, already implies.
    fn drop_implied(&mut self, state: &mut State) {
        let mut index = 0;
        while index < state.covers.len() {
            let own = state.covers[index].clone();
            let mut implied = false;
            for (other, cover) in state.covers.iter().enumerate() {
                if own.axes.len() != 1 || other == index || cover.axes[0] != own.axes[0] {
                    continue;
                }
                let rows = self.alone_in(cover, own.axes[0]);
                let same =
                    rows.iter().zip(own.labels.iter()).all(|(&a, &b)| self.labels.find(a) == self.labels.find(b));
                implied |= same && (cover.axes.len() > 1 || other < index);
            }
            if implied {
                state.covers.remove(index);
            } else {
                index += 1;
            }
        }
    }

    /// Something is computed over the axis: its positions may go only where that is allowed.
    pub(super) fn freeze_over(&mut self, node: NodeId, state: &mut State, axis: usize) {
        if self.options.approximate && state.axes[axis] == Axis::Covered {
            return;
        }
        let reason = self.because(Reason::Over, node);
        self.fix(state, axis, reason);
    }

    /// A reduction over some axes.
    pub(super) fn reduce(&mut self, node: NodeId, axes: &[usize], keep_dims: bool) {
        let graph = self.graph;
        let operator = graph.node(node);
        let (Some(x), Some(y)) = (operator.input(0), operator.output(0)) else { return };
        let (Some(mut state), Some(lengths)) = (self.load(x), self.lengths(y)) else {
            let reason = self.unknown_shape(&[x], y);
            return self.give_up(node, reason);
        };
        for &axis in axes {
            self.freeze_over(node, &mut state, axis);
        }
        let kept: Vec<usize> = (0..state.rank()).filter(|axis| !axes.contains(axis)).collect();
        let inner = self.project(&state, &kept);
        if !keep_dims {
            return self.store(y, State { lengths, ..inner });
        }
        let single = self.reason(Reason::Single);
        let mut result = State::fixed(lengths, single);
        result.take(&inner, &kept.iter().copied().enumerate().collect::<Vec<_>>());
        self.store(y, result);
    }
}
