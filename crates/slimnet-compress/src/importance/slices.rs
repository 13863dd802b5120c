//! The slices of parameters that belong to the groups of a coupling, and sums over them.

use std::collections::{BTreeSet, HashMap};

use slimnet_graph::Op;
use slimnet_graph::axes::{Access, AxisCover, Coupling, GroupId};
use slimnet_graph::evaluate::evaluate_op;
use slimnet_graph::graph::{Graph, ValueId};
use slimnet_graph::ops::Role;
use slimnet_graph::roles::roles;

use super::ImportanceError;

/// A number for each group; `None` where no slice counts.
pub(super) type GroupSums = Vec<Option<f64>>;

/// A parameter that groups have slices of.
pub(super) struct Parameter {
    pub(super) value: ValueId,
    /// Its elements, in its order.
    pub(super) data: Vec<f32>,
    pub(super) spreads: Vec<Spread>,
}

/// Which groups the elements of a parameter belong to, by one of its covers.
pub(super) struct Spread {
    pub(super) access: Access,
    /// So many elements side by side belong to one group.
    pub(super) run: usize,
    /// The group of each run.
    pub(super) groups: Vec<GroupId>,
    /// The elements that another cover already counts for the group, or for one that goes with it; empty if there are none.
    repeated: Vec<bool>,
    /// Whether what is lost with its groups passes through these slices ([`Slices::effects`]).
    effective: bool,
}

/// All slices that count.
pub(super) struct Slices<'a> {
    coupling: &'a Coupling,
    pub(super) parameters: Vec<Parameter>,
    /// Groups that stand for whole rows, with all that goes with them.
    wholes: Vec<(GroupId, BTreeSet<GroupId>)>,
}

impl Spread {
    fn new(shape: &[usize], cover: &AxisCover) -> Self {
        let mut steps = vec![0; shape.len()];
        let mut step = 1;
        for (&axis, &length) in cover.axes.iter().zip(&cover.lengths).rev() {
            steps[axis] = step;
            step *= length;
        }
        let covered = cover.axes.iter().max().map_or(0, |last| last + 1);
        let mut places = vec![0];
        for (&length, step) in shape[..covered].iter().zip(steps) {
            places = places.into_iter().flat_map(|place| (0..length).map(move |index| place + index * step)).collect();
        }
        Self {
            access: cover.access,
            run: shape[covered..].iter().product(),
            groups: places.into_iter().map(|place| cover.groups[place]).collect(),
            repeated: Vec::new(),
            effective: true,
        }
    }

    fn group(&self, element: usize) -> GroupId {
        self.groups[element / self.run]
    }

    fn add(&self, terms: &[f64], sums: &mut GroupSums) {
        if !self.repeated.is_empty() {
            let once = terms.iter().enumerate().filter(|(element, _)| !self.repeated[*element]);
            return once.for_each(|(element, term)| *sums[self.group(element).index()].get_or_insert(0.0) += term);
        }
        for (run, group) in terms.chunks_exact(self.run).zip(&self.groups) {
            *sums[group.index()].get_or_insert(0.0) += run.iter().sum::<f64>();
        }
    }
}

impl<'a> Slices<'a> {
    /// The slices of the parameters for which `counts` holds, of any floating-point type, or integers that are
    /// dequantized.
    ///
    /// # Errors
    /// If an element is not finite.
    pub(super) fn new(
        graph: &Graph,
        coupling: &'a Coupling,
        counts: impl Fn(ValueId) -> bool,
    ) -> Result<Self, ImportanceError> {
        let roles = roles(graph);
        let mut parameters = Vec::new();
        for (value, source) in graph.values() {
            let covers = coupling.covers(value);
            if roles[value.index()] != Some(Role::Parameter) || covers.is_empty() || !counts(value) {
                continue;
            }
            let Some(data) = finite_elements(graph, value)?.filter(|data| !data.is_empty()) else { continue };
            let shape = source.data.as_ref().map_or_else(Vec::new, |data| data.shape().to_vec());
            let spreads = covers.iter().map(|cover| Spread::new(&shape, cover)).collect();
            parameters.push(Parameter { value, data, spreads });
        }
        let closure = |group: GroupId| coupling.closure(&BTreeSet::from([group]));
        let whole = |group: &GroupId| !coupling.members(*group).is_empty();
        let wholes = coupling.groups().filter(whole).map(|group| (group, closure(group))).collect();
        let mut slices = Self { coupling, parameters, wholes };
        slices.find_repeated();
        slices.find_effective();
        Ok(slices)
    }

    fn find_repeated(&mut self) {
        let wholes: HashMap<GroupId, &BTreeSet<GroupId>> =
            self.wholes.iter().map(|(group, closure)| (*group, closure)).collect();
        for parameter in &mut self.parameters {
            let spreads = &parameter.spreads;
            // What reads counts first: where anything reads a group, nothing else is looked at.
            let ranks = |spread: usize| (spreads[spread].access == Access::Writes, spread);
            let repeats = |own: usize, other: usize, element: usize| {
                let (group, before) = (spreads[own].group(element), spreads[other].group(element));
                let member = || wholes.get(&group).is_some_and(|closure| closure.contains(&before));
                if before == group { ranks(other) < ranks(own) } else { ranks(other).0 <= ranks(own).0 && member() }
            };
            let others = |own: usize| (0..spreads.len()).filter(move |&other| other != own);
            let repeated = |own: usize| -> Vec<bool> {
                let again = |element: usize| others(own).any(|other| repeats(own, other, element));
                let all: Vec<bool> = (0..parameter.data.len()).map(again).collect();
                if all.contains(&true) { all } else { Vec::new() }
            };
            let found: Vec<_> = (0..spreads.len()).map(repeated).collect();
            parameter.spreads.iter_mut().zip(found).for_each(|(spread, repeated)| spread.repeated = repeated);
        }
    }

    fn find_effective(&mut self) {
        let mut read = vec![false; self.coupling.group_count()];
        let spreads = || self.parameters.iter().flat_map(|parameter| &parameter.spreads);
        for spread in spreads().filter(|spread| spread.access == Access::Reads) {
            spread.groups.iter().for_each(|group| read[group.index()] = true);
        }
        for spread in self.parameters.iter_mut().flat_map(|parameter| &mut parameter.spreads) {
            let unread = spread.groups.iter().any(|group| !read[group.index()]);
            spread.effective = spread.access == Access::Reads || unread;
        }
    }

    /// Sums over all slices of each group, of a term for each element, which counts once. What goes with a whole row counts
    /// for it.
    pub(super) fn sums(&self, terms: impl Fn(&Parameter) -> Vec<f64>) -> GroupSums {
        let mut sums = vec![None; self.coupling.group_count()];
        for parameter in &self.parameters {
            let terms = terms(parameter);
            parameter.spreads.iter().for_each(|spread| spread.add(&terms, &mut sums));
        }
        self.with_members(&sums)
    }

    /// Sums as [`Self::sums`], over the slices that read a group: to remove it is to set these to zero. Groups that no
    /// parameter reads (queries and keys, which meet in a product of activations) have the sums over the slices that
    /// write them.
    pub(super) fn effects(&self, terms: impl Fn(&Parameter) -> Vec<f64>) -> GroupSums {
        let mut reads = vec![None; self.coupling.group_count()];
        let mut writes = reads.clone();
        for parameter in &self.parameters {
            if !parameter.spreads.iter().any(|spread| spread.effective) {
                continue;
            }
            let terms = terms(parameter);
            for spread in parameter.spreads.iter().filter(|spread| spread.effective) {
                spread.add(&terms, if spread.access == Access::Reads { &mut reads } else { &mut writes });
            }
        }
        // A whole row is read if any of what goes with it is: that is all that its removal changes.
        let (reads, writes) = (self.with_members(&reads), self.with_members(&writes));
        reads.into_iter().zip(writes).map(|(read, written)| read.or(written)).collect()
    }

    /// Gives whole rows the sum over all that goes with them.
    pub(super) fn with_members(&self, sums: &[Option<f64>]) -> GroupSums {
        let mut all = sums.to_vec();
        for (group, closure) in &self.wholes {
            let parts = closure.iter().filter_map(|member| sums[member.index()]);
            all[group.index()] = parts.reduce(|sum, part| sum + part);
        }
        all
    }

    /// Scores divided by their mean over the groups of their axis that can be removed, so that axes can be compared.
    pub(super) fn relative(&self, mut scores: GroupSums) -> GroupSums {
        for axis in self.coupling.axes() {
            let free = axis.groups.iter().filter(|&&group| self.coupling.frozen(group).is_none());
            let judged: Vec<f64> = free.filter_map(|group| scores[group.index()]).collect();
            let mean = judged.iter().sum::<f64>() / judged.len() as f64;
            // Where all are 0 nothing is lost with any.
            if mean > 0.0 {
                let divide = |group: &GroupId| {
                    let score = &mut scores[group.index()];
                    *score = score.map(|score| score / mean);
                };
                axis.groups.iter().for_each(divide);
            }
        }
        scores
    }
}

/// The elements of a parameter as the layers see them: floating-point numbers, or dequantized integers; `None` for other
/// data.
///
/// # Errors
/// If one is not finite.
pub(super) fn finite_elements(graph: &Graph, value: ValueId) -> Result<Option<Vec<f32>>, ImportanceError> {
    let Some(data) = &graph.value(value).data else { return Ok(None) };
    let float = if data.element_type().is_float() { Some(data.clone()) } else { dequantized(graph, value) };
    let Some(elements) = float.and_then(|data| data.to_f64s().ok()) else { return Ok(None) };
    if let Some(position) = elements.iter().position(|&element| !(element as f32).is_finite()) {
        let (tensor, found) = (graph.value(value).name.clone(), elements[position]);
        return Err(ImportanceError::NotFinite { tensor, position, found });
    }
    Ok(Some(elements.into_iter().map(|element| element as f32).collect()))
}

/// What `DequantizeLinear` makes of integers, if it reads them.
fn dequantized(graph: &Graph, value: ValueId) -> Option<slimnet_graph::Tensor> {
    let mut readers = graph.value(value).readers().filter(|reader| reader.slot == 0);
    let reader = readers.find(|reader| matches!(graph.node(reader.node).op, Op::DequantizeLinear(_)))?;
    let node = graph.node(reader.node);
    let data = |input: &Option<ValueId>| input.map(|input| graph.value(input).data.as_ref());
    let inputs: Vec<_> = node.inputs().iter().map(data).collect();
    if inputs.iter().any(|input| matches!(input, Some(None))) {
        return None;
    }
    let inputs: Vec<_> = inputs.into_iter().map(Option::flatten).collect();
    // 8 bytes an element are enough for any result.
    let limit = graph.value(value).data.as_ref()?.len().saturating_mul(8);
    evaluate_op(&node.op, &inputs, 1, limit).ok()?.pop()
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimnet_graph::axes::{CoupleOptions, couple};
    use slimnet_graph::graph::{Dim, Value};
    use slimnet_graph::infer::infer_graph;
    use slimnet_graph::ops::layout::{Reshape, Transpose};
    use slimnet_graph::ops::product::MatMul;
    use slimnet_graph::{ElementType, Tensor};

    /// Several axes of one tensor can hold the same group.
    #[test]
    fn an_element_counts_once() {
        let mut graph = Graph::new("united");
        let x = graph.add_value(Value::new("x")).unwrap();
        (graph.value_mut(x).element_type, graph.value_mut(x).shape) =
            (Some(ElementType::F32), Some(vec![Dim::named("N"), 4usize.into()]));
        graph.add_input(x).unwrap();
        let w = graph.add_constant("w", Tensor::from_values(vec![4, 6], vec![1f32; 24]).unwrap());
        let y = graph.apply("y", MatMul {}, &[x, w]);
        // The matrix behind is kept as [2, 3, 2] and comes as [6, 2]: its outer axes are united, element by element.
        let numbers = (0..12).map(|number| number as f32).collect();
        let v = graph.add_constant("v", Tensor::from_values(vec![2, 3, 2], numbers).unwrap());
        let moved = graph.apply("moved", Transpose { perm: Some(vec![2, 1, 0]) }, &[v]);
        let shape = graph.add_constant("shape", Tensor::vector(vec![6i64, 2]));
        let flat = graph.apply("flat", Reshape { allowzero: false }, &[moved, shape]);
        let z = graph.apply("z", MatMul {}, &[y, flat]);
        graph.add_output(z);
        infer_graph(&mut graph).unwrap();
        let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
        let reads = coupling.covers(v).iter().filter(|cover| cover.access == Access::Reads);
        assert_eq!(reads.map(|cover| cover.groups[0]).collect::<Vec<_>>().len(), 2);
        let slices = Slices::new(&graph, &coupling, |value| value == v).unwrap();
        let sums = slices.effects(|parameter| parameter.data.iter().map(|&x| f64::from(x)).collect());
        let hidden = coupling.covers(w).iter().find(|cover| cover.axes == [1]).unwrap();
        assert_eq!(sums[hidden.groups[0].index()], Some(66.0));
    }

    /// A block whose axes are neither side by side nor in order, as a Transpose leaves them.
    #[test]
    fn elements_belong_to_groups_by_their_places_in_the_block() {
        let mut graph = Graph::new("block");
        let a = graph.add_constant("a", Tensor::from_values(vec![1, 6], vec![1f32; 6]).unwrap());
        let b = graph.add_constant("b", Tensor::from_values(vec![6, 1], vec![1f32; 6]).unwrap());
        let y = graph.apply("y", MatMul {}, &[a, b]);
        graph.add_output(y);
        let coupling = couple(&graph, &CoupleOptions::default()).unwrap();
        let groups = coupling.covers(a).iter().find(|cover| cover.axes == [1]).unwrap().groups.clone();
        let shape = [2, 4, 3, 5];
        let cover = AxisCover { axes: vec![2, 0], lengths: vec![3, 2], groups: groups.clone(), access: Access::Reads };
        let spread = Spread::new(&shape, &cover);
        assert_eq!((spread.run, spread.groups.len()), (5, 24));
        for (run, group) in spread.groups.iter().enumerate() {
            let (first, third) = (run / 12, run % 3);
            assert_eq!(*group, groups[2 * third + first]);
        }
        let mut sums = vec![None; coupling.group_count()];
        spread.add(&(0..120).map(f64::from).collect::<Vec<_>>(), &mut sums);
        let expected = |place: usize| {
            let at = |element: &usize| (element / 60, element / 5 % 3) == (place % 2, place / 2);
            Some((0..120).filter(at).sum::<usize>() as f64)
        };
        assert!((0..6).all(|place| sums[groups[place].index()] == expected(place)), "{sums:?}");
    }
}
