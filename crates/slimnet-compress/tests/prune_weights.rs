//! Which weights go, against a naive definition.

use proptest::prelude::*;
use slimnet_compress::constraint::{Constraint, Pattern, recorded};
use slimnet_compress::importance::WeightScores;
use slimnet_compress::prune::{Amount, PruneError, PrunedWeights, Scope, WeightChoice, measure, prune_weights};
use slimnet_compress::weight::{Weight, weights};
use slimnet_graph::graph::Value;
use slimnet_graph::ops::attribute::Attributes;
use slimnet_graph::zoo::random::Stream;
use slimnet_graph::{Dim, ElementType, Graph, Op, Tensor};

/// One weight of the networks that are drawn, with its elements and their importance.
#[derive(Debug, Clone)]
struct Layer {
    /// A kernel `[O, I, height, width]`; without taps a matrix `[I, O]`.
    outputs: usize,
    inputs: usize,
    taps: Option<(usize, usize)>,
    values: Vec<f32>,
    scores: Vec<f32>,
}

impl Layer {
    /// Few different values, so that there are zeros and equals.
    fn new(outputs: usize, inputs: usize, taps: Option<(usize, usize)>, seed: u64) -> Self {
        let count = outputs * inputs * taps.map_or(1, |(height, width)| height * width);
        let (values, scores) = (Stream::named(seed, "values"), Stream::named(seed, "scores"));
        let draw = |stream: Stream, bound| (0..count as u64).map(move |index| stream.below(index, bound) as f32);
        let values = draw(values, 5).map(|value| value - 2.0).collect();
        Self { outputs, inputs, taps, values, scores: draw(scores, 7).collect() }
    }

    fn shape(&self) -> Vec<usize> {
        match self.taps {
            Some((height, width)) => vec![self.outputs, self.inputs, height, width],
            None => vec![self.inputs, self.outputs],
        }
    }

    /// Where the element of an output, an input and a tap lies.
    fn element(&self, output: usize, input: usize, tap: usize) -> usize {
        match self.taps {
            Some((height, width)) => (output * self.inputs + input) * height * width + tap,
            None => input * self.outputs + output,
        }
    }

    /// The matrix of outputs × (taps · inputs), as elements.
    fn rows(&self) -> Vec<Vec<usize>> {
        let taps = self.taps.map_or(1, |(height, width)| height * width);
        let row = |output| (0..taps).flat_map(move |tap| (0..self.inputs).map(move |input| (output, input, tap)));
        let element = |(output, input, tap)| self.element(output, input, tap);
        (0..self.outputs).map(|output| row(output).map(element).collect()).collect()
    }

    fn is_zero(&self, element: usize) -> bool {
        self.values[element] == 0.0
    }

    /// What becomes 0 together, by definition.
    fn units(&self, pattern: Pattern) -> Vec<Vec<usize>> {
        let rows = self.rows();
        match pattern {
            Pattern::Single => rows.concat().into_iter().map(|element| vec![element]).collect(),
            Pattern::NofM { group, .. } if self.inputs < group => Vec::new(),
            Pattern::NofM { left, group } => {
                let groups = rows.iter().flat_map(|row| row.chunks(self.inputs)).flat_map(|tap| tap.chunks(group));
                groups.map(|members| self.least(members, (left * members.len()).div_ceil(group))).collect()
            }
            Pattern::Block { outputs, inputs } => {
                let mut blocks = Vec::new();
                for band in rows.chunks(outputs) {
                    for start in (0..band[0].len()).step_by(inputs) {
                        let end = (start + inputs).min(band[0].len());
                        blocks.push(band.iter().flat_map(|row| row[start..end].to_vec()).collect());
                    }
                }
                blocks
            }
        }
    }

    /// All but so many: as long as too many are left, the least important of them goes.
    fn least(&self, members: &[usize], stay: usize) -> Vec<usize> {
        let mut left = members.to_vec();
        let mut gone = Vec::new();
        while left.len() > stay {
            let key = |&&element: &&usize| (!self.is_zero(element), self.scores[element] as i64);
            let least = *left.iter().min_by_key(key).unwrap();
            left.retain(|&element| element != least);
            gone.push(least);
        }
        gone
    }

    fn importance(&self, unit: &[usize]) -> f32 {
        let sum: f64 = unit.iter().filter(|&&e| !self.is_zero(e)).map(|&e| f64::from(self.scores[e])).sum();
        (sum / unit.len() as f64) as f32
    }
}

/// Unit by unit: as long as too few elements are 0, the least important unit of those that may go goes.
fn naive(layers: &mut [Layer], pattern: Pattern, sparsity: f64) {
    let units: Vec<Vec<Vec<usize>>> = layers.iter().map(|layer| layer.units(pattern)).collect();
    let elements: usize = layers.iter().map(|layer| layer.values.len()).sum();
    loop {
        let zeros: usize = layers.iter().map(|l| l.values.iter().filter(|&&value| value == 0.0).count()).sum();
        if zeros as f64 / elements as f64 >= sparsity {
            return;
        }
        let mut best: Option<(f32, usize, usize)> = None;
        for (place, layer) in layers.iter().enumerate() {
            let alive: Vec<usize> = (0..units[place].len())
                .filter(|&unit| !units[place][unit].iter().all(|&element| layer.is_zero(element)))
                .collect();
            let last = alive.len() == 1 && sparsity < 1.0 && !matches!(pattern, Pattern::NofM { .. });
            for unit in alive.into_iter().filter(|_| !last) {
                let importance = layer.importance(&units[place][unit]);
                if best.is_none_or(|(least, ..)| importance < least) {
                    best = Some((importance, place, unit));
                }
            }
        }
        let Some((_, place, unit)) = best else { return };
        for &element in &units[place][unit] {
            layers[place].values[element] = 0.0;
        }
    }
}

/// A network in which the layers lie side by side.
fn network(layers: &[Layer]) -> (Graph, Vec<Weight>, WeightScores) {
    let mut graph = Graph::new("layers");
    for (index, layer) in layers.iter().enumerate() {
        let mut value = Value::new(&format!("x{index}"));
        value.element_type = Some(ElementType::F32);
        let image = layer.taps.map_or(vec![], |(height, width)| vec![Dim::from(height), Dim::from(width)]);
        value.shape = Some([vec![Dim::named("N"), layer.inputs.into()], image].concat());
        let x = graph.add_value(value).unwrap();
        graph.add_input(x).unwrap();
        let name = format!("weight{index}");
        let weight = graph.add_constant(&name, Tensor::from_values(layer.shape(), layer.values.clone()).unwrap());
        let operator = if layer.taps.is_some() { "Conv" } else { "MatMul" };
        let op = Op::read(operator, Attributes::default()).unwrap().unwrap();
        let y = graph.apply(operator, op, &[x, weight]);
        graph.add_output(y);
    }
    let found = weights(&graph);
    assert_eq!(found.len(), layers.len());
    let scores = found.iter().zip(layers).map(|(weight, layer)| (weight.value, layer.scores.clone())).collect();
    (graph, found, scores)
}

fn values(graph: &Graph, weight: &Weight) -> Vec<f32> {
    graph.value(weight.value).data.as_ref().unwrap().values::<f32>().unwrap().into_owned()
}

fn prune(layers: &[Layer], choice: WeightChoice, sparsity: f64) -> (Graph, Vec<Weight>, PrunedWeights) {
    let (mut graph, found, scores) = network(layers);
    let pruned = prune_weights(&mut graph, &found, &scores, choice, sparsity).unwrap();
    (graph, found, pruned)
}

fn patterns() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        Just(Pattern::Single),
        (1..4usize, 1..4usize).prop_map(|(left, more)| Pattern::NofM { left, group: left + more }),
        (1..4usize, 1..6usize).prop_map(|(outputs, inputs)| Pattern::Block { outputs, inputs }),
    ]
}

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let taps = prop_oneof![Just(None), (1..3usize, 1..4usize).prop_map(Some)];
    let layer = (1..6usize, 1..10usize, taps, any::<u64>());
    let layer = layer.prop_map(|(outputs, inputs, taps, seed)| Layer::new(outputs, inputs, taps, seed));
    prop::collection::vec(layer, 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn selection_is_that_of_the_definition(
        layers in layers(),
        pattern in patterns(),
        global in any::<bool>(),
        sparsity in prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0],
    ) {
        let scope = if global { Scope::Global } else { Scope::Layer };
        let (graph, found, pruned) = prune(&layers, WeightChoice { pattern, scope }, sparsity);
        let mut expected = layers.clone();
        match scope {
            Scope::Global => naive(&mut expected, pattern, sparsity),
            Scope::Layer => expected.iter_mut().for_each(|l| naive(std::slice::from_mut(l), pattern, sparsity)),
        }
        for ((layer, weight), report) in expected.iter().zip(&found).zip(&pruned.tensors) {
            prop_assert_eq!(&values(&graph, weight), &layer.values);
            prop_assert_eq!(report.zeros, layer.values.iter().filter(|&&value| value == 0.0).count());
        }
        prop_assert_eq!(pruned.sparsity(), measure(&graph, Amount::Sparsity).unwrap());
    }

    #[test]
    fn steps_arrive_where_one_step_does(layers in layers(), global in any::<bool>(), part in 0.0..=1.0) {
        let scope = if global { Scope::Global } else { Scope::Layer };
        let choice = WeightChoice { pattern: Pattern::Single, scope };
        let (mut graph, found, scores) = network(&layers);
        for sparsity in [part / 3.0, part / 1.5, part] {
            prune_weights(&mut graph, &found, &scores, choice, sparsity).unwrap();
        }
        let (once, ..) = prune(&layers, choice, part);
        prop_assert!(found.iter().all(|weight| values(&graph, weight) == values(&once, weight)));
    }
}

/// A matrix of one output whose importance falls.
fn line(values: &[f32]) -> Layer {
    let scores = values.iter().map(|value| value.abs()).collect();
    Layer { outputs: 1, inputs: values.len(), taps: Some((1, 1)), values: values.to_vec(), scores }
}

fn kept(graph: &Graph, weight: &Weight) -> Option<Pattern> {
    recorded(graph, weight.value).unwrap().map(|Constraint::Sparse(pattern)| pattern)
}

#[test]
fn counts_are_the_least_that_suffice() {
    // 0.55 · 100 is a little more than 55 in binary.
    let layer = Layer::new(10, 10, None, 1);
    let layer = Layer { values: vec![1.0; 100], ..layer };
    for (sparsity, zeros) in [(0.55, 55), (0.07, 7), (0.071, 8), (0.0, 0), (0.991, 99), (1.0, 100)] {
        let (.., pruned) = prune(std::slice::from_ref(&layer), WeightChoice::default(), sparsity);
        assert_eq!(pruned.tensors[0].zeros, zeros, "sparsity {sparsity}");
    }
}

#[test]
fn no_layer_vanishes_before_all_must() {
    let layers = [line(&[0.1, 0.2]), line(&[5.0, 6.0, 7.0, 8.0, 9.0, 4.0])];
    let (graph, found, _) = prune(&layers, WeightChoice::default(), 0.5);
    assert_eq!(values(&graph, &found[0]), [0.0, 0.2]);
    assert_eq!(values(&graph, &found[1]), [0.0, 0.0, 7.0, 8.0, 9.0, 0.0]);
}

#[test]
fn n_of_m_is_approached_and_then_recorded() {
    let pattern = Pattern::NofM { left: 2, group: 4 };
    let choice = WeightChoice { pattern, scope: Scope::Global };
    let layer = line(&[8.0, 7.0, 5.0, 6.0, 1.0, 3.0, 4.0, 2.0, 9.0, 0.5, 9.5]);
    let (mut graph, found, scores) = network(&[layer, line(&[1.0, 2.0, 3.0])]);
    // Two groups of four would lose 11 and 3; the rest of three keeps two and loses 0.5.
    let steps: [(f64, &[f32], Pattern); 3] = [
        (0.05, &[8.0, 7.0, 5.0, 6.0, 1.0, 3.0, 4.0, 2.0, 9.0, 0.0, 9.5], Pattern::Single),
        (0.2, &[8.0, 7.0, 5.0, 6.0, 0.0, 3.0, 4.0, 0.0, 9.0, 0.0, 9.5], Pattern::Single),
        (0.9, &[8.0, 7.0, 0.0, 0.0, 0.0, 3.0, 4.0, 0.0, 9.0, 0.0, 9.5], pattern),
    ];
    for (sparsity, expected, record) in steps {
        let pruned = prune_weights(&mut graph, &found, &scores, choice, sparsity).unwrap();
        assert_eq!(values(&graph, &found[0]), expected, "sparsity {sparsity}");
        assert_eq!(kept(&graph, &found[0]), Some(record), "sparsity {sparsity}");
        assert_eq!(pruned.tensors.iter().map(|tensor| tensor.too_small).collect::<Vec<_>>(), [false, true]);
        assert_eq!((kept(&graph, &found[1]), pruned.tensors[1].zeros), (None, 0));
    }
    // More zeros leave the pattern what it is; they break blocks.
    let single = WeightChoice::default();
    prune_weights(&mut graph, &found, &scores, single, 0.6).unwrap();
    assert_eq!(kept(&graph, &found[0]), Some(pattern));
}

#[test]
fn blocks_lie_on_outputs_and_inputs_and_single_zeros_break_them() {
    // [I, O] = [4, 2]: the blocks of one output and two inputs are columns of the tensor.
    let values_before = vec![1.0, 9.0, 1.0, 8.0, 7.0, 2.0, 7.0, 2.0];
    let scores = values_before.clone();
    let layer = Layer { outputs: 2, inputs: 4, taps: None, values: values_before, scores };
    let pattern = Pattern::Block { outputs: 1, inputs: 2 };
    let (mut graph, found, scores) = network(&[layer]);
    prune_weights(&mut graph, &found, &scores, WeightChoice { pattern, scope: Scope::Layer }, 0.5).unwrap();
    assert_eq!(values(&graph, &found[0]), [0.0, 9.0, 0.0, 8.0, 7.0, 0.0, 7.0, 0.0]);
    assert_eq!(kept(&graph, &found[0]), Some(pattern));
    prune_weights(&mut graph, &found, &scores, WeightChoice::default(), 0.6).unwrap();
    assert_eq!(kept(&graph, &found[0]), Some(Pattern::Single));
}

#[test]
fn infinite_importance_stays_and_what_is_not_judged_is_left_alone() {
    let layers = [line(&[1.0, 2.0, 3.0, 4.0]), line(&[1.0, 2.0])];
    let (mut graph, found, mut scores) = network(&layers);
    scores.get_mut(&found[0].value).unwrap()[0] = f32::INFINITY;
    scores.remove(&found[1].value);
    let pruned = prune_weights(&mut graph, &found, &scores, WeightChoice::default(), 1.0).unwrap();
    assert_eq!(values(&graph, &found[0]), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(values(&graph, &found[1]), [1.0, 2.0]);
    assert_eq!((pruned.tensors.len(), pruned.sparsity()), (1, 0.75));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let (graph, found, scores) = network(&[line(&[1.0, 2.0, 3.0])]);
    let choice = WeightChoice::default();
    let attempt = |choice: WeightChoice, scores: &WeightScores, weights: &[Weight], sparsity: f64| {
        let mut changed = graph.clone();
        let error = prune_weights(&mut changed, weights, scores, choice, sparsity).unwrap_err();
        assert_eq!(values(&changed, &found[0]), [1.0, 2.0, 3.0]);
        assert_eq!(kept(&changed, &found[0]), None);
        error
    };
    for sparsity in [-0.1, 1.1, f64::NAN] {
        assert!(matches!(attempt(choice, &scores, &found, sparsity), PruneError::Sparsity(_)));
    }
    assert!(matches!(attempt(choice, &WeightScores::new(), &found, 0.5), PruneError::NoWeights));
    assert!(matches!(attempt(choice, &scores, &[], 0.5), PruneError::NoWeights));
    let given = |own: Vec<f32>| WeightScores::from([(found[0].value, own)]);
    assert!(matches!(
        attempt(choice, &given(vec![1.0; 2]), &found, 0.5),
        PruneError::Scores { expected: 3, found: 2, .. }
    ));
    let nan = given(vec![1.0, f32::NAN, 1.0]);
    assert!(matches!(attempt(choice, &nan, &found, 0.5), PruneError::NotANumber { index: 1, .. }));
    let impossible = [
        Pattern::NofM { left: 0, group: 4 },
        Pattern::NofM { left: 4, group: 4 },
        Pattern::NofM { left: 0, group: 0 },
        Pattern::Block { outputs: 0, inputs: 1 },
        Pattern::Block { outputs: 1, inputs: 0 },
    ];
    for pattern in impossible {
        let choice = WeightChoice { pattern, scope: Scope::Global };
        assert!(matches!(attempt(choice, &scores, &found, 0.5), PruneError::Pattern(_)));
    }
    for wrong in [Weight { outputs: 7, ..found[0].clone() }, Weight { inputs: 0, ..found[0].clone() }] {
        assert!(matches!(attempt(choice, &scores, &[wrong], 0.5), PruneError::Weight { .. }));
    }
    let x = Weight { value: graph.inputs()[0], ..found[0].clone() };
    let error = attempt(choice, &WeightScores::from([(x.value, vec![1.0; 3])]), &[x], 0.5);
    assert!(matches!(error, PruneError::Weight { .. }), "{error}");
}

#[test]
fn patterns_larger_than_the_weight_are_one_block() {
    let choice =
        WeightChoice { pattern: Pattern::Block { outputs: usize::MAX, inputs: usize::MAX }, scope: Scope::Layer };
    let (graph, found, pruned) = prune(&[line(&[1.0, 2.0])], choice, 0.5);
    assert_eq!((values(&graph, &found[0]), pruned.tensors[0].zeros), (vec![1.0, 2.0], 0));
    let (graph, found, _) = prune(&[line(&[1.0, 2.0])], choice, 1.0);
    assert_eq!(values(&graph, &found[0]), [0.0, 0.0]);
}
