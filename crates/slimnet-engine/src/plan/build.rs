//! Making a plan: kernels for nodes, and memory for values.
//!
//! Values that share memory form a *class*: a reshaped value and its source, or an output that takes the place of an input
//! that nobody needs any more. A class either has a fixed place (states, results, inputs, constants) or lives from the step
//! that first writes it to the step that last reads it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use slimnet_graph::graph::{Graph, NodeId, ValueId};
use slimnet_graph::tensor::Tensor;
use slimnet_graph::zoo::random::Stream;

use super::arena::{ALIGNMENT, Arena};
use super::fuse::{Prepared, fuse};
use super::layout;
use super::memory::{Lifetime, lower_bound, place};
use super::shapes::Fixed;
use super::{Memory, Place, Plan, PlanError, PlanOptions, Slot, Step, Work};
use crate::kernels::arrangement::Layout;
use crate::kernels::{Kernel, NodeType, ValueType, prepare};

/// Values that share memory.
#[derive(Debug)]
struct Class {
    bytes: usize,
    /// Fixed place, for what is there all the time.
    resident: Option<Place>,
    first: usize,
    last: usize,
    /// Uses of its values that are still to come; what is kept has one for ever.
    pending: usize,
}

/// A step whose memory is not placed yet.
enum Draft {
    Kernel {
        kernel: Box<dyn Kernel>,
        inputs: Vec<Option<usize>>,
        outputs: Vec<Option<usize>>,
        scratch: usize,
        number: u64,
    },
    Copy {
        from: usize,
        to: usize,
    },
}

struct Builder<'a> {
    fixed: Fixed,
    /// Nodes from this number on are not the graph's: they move tensors to another layout.
    own_nodes: usize,
    options: &'a PlanOptions,
    types: HashMap<ValueId, ValueType>,
    classes: Vec<Class>,
    class_of: BTreeMap<ValueId, usize>,
    /// How often each value is used by steps to come, and once more if it is kept.
    uses: HashMap<ValueId, usize>,
    results: HashMap<ValueId, Place>,
    resident: usize,
    initial: Vec<(Place, Tensor)>,
    drafts: Vec<(String, Option<NodeId>, Draft, Vec<ValueId>)>,
}

fn aligned(bytes: usize) -> usize {
    bytes.div_ceil(ALIGNMENT) * ALIGNMENT
}

impl Plan {
    /// Plans a graph for fixed lengths.
    ///
    /// # Errors
    /// If shapes are not known or do not fit, a node has no kernel, or there is not enough memory.
    pub fn new(graph: &Graph, options: &PlanOptions) -> Result<Self, PlanError> {
        let states: Vec<_> = options.states.iter().flatten().copied().collect();
        let fixed = Fixed::new(graph, &options.lengths, &states)?;
        let mut builder = Builder {
            fixed,
            own_nodes: graph.node_bound(),
            options,
            types: HashMap::new(),
            classes: Vec::new(),
            class_of: BTreeMap::new(),
            uses: HashMap::new(),
            results: HashMap::new(),
            resident: 0,
            initial: Vec::new(),
            drafts: Vec::new(),
        };
        let state_groups = builder.place_states(graph)?;
        let result_groups = builder.place_results()?;
        let inputs: Vec<_> = builder.fixed.graph.free_inputs().collect();
        for input in inputs {
            if !builder.class_of.contains_key(&input) {
                builder.make_resident(input)?;
            }
        }
        let kernels = builder.prepare_kernels()?;
        for step in kernels {
            builder.add_step(step)?;
        }
        builder.keep_known()?;
        builder.finish(state_groups, result_groups)
    }
}

impl Builder<'_> {
    fn value_type(&mut self, value: ValueId) -> Result<ValueType, PlanError> {
        if let Some(found) = self.types.get(&value) {
            return Ok(found.clone());
        }
        let found = self.fixed.value_type(value)?;
        self.types.insert(value, found.clone());
        Ok(found)
    }

    fn bytes(&mut self, value: ValueId) -> Result<usize, PlanError> {
        let found = self.value_type(value)?;
        let name = || self.fixed.graph.value(value).name.clone();
        if found.element_type.bits().is_none_or(|bits| bits < 8) {
            return Err(PlanError::ElementType { value: name(), found: found.element_type });
        }
        found.element_type.byte_count(found.len()).ok_or(PlanError::Memory { bytes: usize::MAX })
    }

    /// Takes memory that is there all the time.
    fn take_resident(&mut self, bytes: usize) -> Place {
        let offset = self.resident;
        self.resident += aligned(bytes);
        Place { offset, bytes }
    }

    fn add_resident_class(&mut self, value: ValueId, place: Place) -> usize {
        let class = self.classes.len();
        self.classes.push(Class { bytes: place.bytes, resident: Some(place), first: 0, last: 0, pending: 0 });
        self.class_of.insert(value, class);
        class
    }

    /// Memory that is there all the time, for an input or a constant.
    fn make_resident(&mut self, value: ValueId) -> Result<usize, PlanError> {
        let bytes = self.bytes(value)?;
        let place = self.take_resident(bytes);
        if let Some(data) = self.value_type(value)?.constant {
            self.initial.push((place, data));
        }
        Ok(self.add_resident_class(value, place))
    }

    fn place_states(&mut self, graph: &Graph) -> Result<Vec<Place>, PlanError> {
        let mut groups = Vec::new();
        for group in &self.options.states {
            let offset = self.resident;
            for &state in group {
                let bytes = self.bytes(state)?;
                let place = self.take_resident(bytes);
                self.add_resident_class(state, place);
                if let Some(data) = &graph.value(state).data {
                    self.initial.push((place, data.clone()));
                }
            }
            groups.push(Place { offset, bytes: self.resident - offset });
        }
        Ok(groups)
    }

    fn place_results(&mut self) -> Result<Vec<Place>, PlanError> {
        let mut groups = Vec::new();
        for group in &self.options.results {
            let offset = self.resident;
            for &result in group {
                let bytes = self.bytes(result)?;
                let place = self.take_resident(bytes);
                self.results.insert(result, place);
            }
            groups.push(Place { offset, bytes: self.resident - offset });
        }
        Ok(groups)
    }

    /// What must be there after a run.
    fn kept(&self) -> BTreeSet<ValueId> {
        let mut kept: BTreeSet<_> = self.options.results.iter().flatten().copied().collect();
        kept.extend(self.fixed.graph.outputs());
        kept.extend(&self.options.kept);
        kept.extend(self.options.updates.iter().map(|(_, new)| *new));
        kept
    }

    /// The nodes that must run, in order.
    fn needed(&self, kept: &BTreeSet<ValueId>) -> Result<Vec<NodeId>, PlanError> {
        let graph = &self.fixed.graph;
        let mut needed: BTreeSet<NodeId> = BTreeSet::new();
        let mut stack: Vec<_> = kept.iter().filter_map(|&value| graph.value(value).producer()).collect();
        while let Some(node) = stack.pop() {
            if self.fixed.is_known(node) || !needed.insert(node) {
                continue;
            }
            let inputs = graph.node(node).inputs().iter().flatten();
            stack.extend(inputs.filter_map(|&input| graph.value(input).producer()));
        }
        Ok(graph.schedule()?.into_iter().filter(|id| needed.contains(id)).collect())
    }

    /// Kernels of the nodes that must run, in order, and how often each value is used.
    fn prepare_kernels(&mut self) -> Result<Vec<Prepared>, PlanError> {
        let kept = self.kept();
        let nodes = self.needed(&kept)?;
        let channels_last = layout::choose(&mut self.fixed, &nodes, self.options.zeros)?;
        let mut kernels = Vec::new();
        for id in self.needed(&kept)? {
            let node = self.fixed.graph.node(id).clone();
            let mut types = |values: &[Option<ValueId>]| {
                values
                    .iter()
                    .map(|value| value.map(|value| self.value_type(value)).transpose())
                    .collect::<Result<Vec<_>, _>>()
            };
            let (inputs, outputs) = (types(node.inputs())?, types(node.outputs())?);
            let layout = if channels_last.contains(&id) { Layout::ChannelsLast } else { Layout::Plain };
            let zeros = self.options.zeros;
            let described = NodeType { op: &node.op, inputs: &inputs, outputs: &outputs, layout, zeros };
            let kernel = prepare(&described)
                .map_err(|error| PlanError::Node { node: self.fixed.graph.describe_node(id), error })?;
            let (inputs, outputs) = (node.inputs().to_vec(), node.outputs().to_vec());
            kernels.push(Prepared { node: id, kernel, inputs, outputs });
        }
        let kernels = fuse(kernels, &self.fixed, &kept)?;
        let read = kernels.iter().flat_map(|step| used(&*step.kernel, &step.inputs, &step.outputs));
        for value in kept.into_iter().chain(read.map(|(_, value)| value)) {
            *self.uses.entry(value).or_default() += 1;
        }
        Ok(kernels)
    }

    /// The class of a value that a step reads.
    fn class(&mut self, value: ValueId) -> Result<usize, PlanError> {
        if let Some(&class) = self.class_of.get(&value) {
            return Ok(class);
        }
        self.make_resident(value)
    }

    fn add_step(&mut self, step: Prepared) -> Result<(), PlanError> {
        let Prepared { node: id, kernel, inputs: read, outputs: computed } = step;
        let index = self.drafts.len();
        let mut inputs = vec![None; read.len()];
        let mut read_here: HashMap<usize, usize> = HashMap::new();
        for (slot, value) in used(&*kernel, &read, &computed) {
            let class = self.class(value)?;
            self.classes[class].last = self.classes[class].last.max(index);
            self.classes[class].pending = self.classes[class].pending.saturating_sub(1);
            *read_here.entry(class).or_default() += 1;
            inputs[slot] = Some(class);
        }
        let mut outputs = vec![None; computed.len()];
        let mut copies = Vec::new();
        let mut given = BTreeSet::new();
        let mut runs = false;
        for (slot, value) in computed.iter().enumerate() {
            let Some(value) = *value else { continue };
            let bytes = self.bytes(value)?;
            let uses = self.uses.get(&value).copied().unwrap_or(0);
            let target = self.results.get(&value).copied();
            let free = |class: &Class| class.bytes == bytes && class.resident.is_none();
            let class = match kernel.alias(slot).and_then(|input| inputs[input]) {
                Some(class) if target.is_none() || free(&self.classes[class]) => {
                    self.classes[class].resident = self.classes[class].resident.or(target);
                    class
                }
                Some(class) => {
                    let own = self.add_class(bytes, target, index);
                    copies.push((class, own, value));
                    own
                }
                None => {
                    runs = true;
                    let place = (0..inputs.len()).find_map(|input| {
                        let class = inputs[input].filter(|_| kernel.in_place(input, slot))?;
                        let unneeded = self.classes[class].pending == 0 && read_here[&class] == 1;
                        (unneeded && free(&self.classes[class]) && given.insert(class)).then_some(class)
                    });
                    let class = match place {
                        Some(class) => {
                            self.classes[class].resident = target;
                            class
                        }
                        None => self.add_class(bytes, target, index),
                    };
                    outputs[slot] = Some(class);
                    class
                }
            };
            self.classes[class].pending += uses;
            self.class_of.insert(value, class);
        }
        let name = self.fixed.graph.describe_node(id);
        let id = (id.index() < self.own_nodes).then_some(id);
        if runs {
            let scratch = kernel.scratch();
            let first = computed.iter().flatten().next().map_or("", |&value| &self.fixed.graph.value(value).name);
            let number = Stream::named(0, first).bits(0);
            let floats = computed.iter().enumerate().filter(|(slot, _)| outputs[*slot].is_some());
            let computed = floats.filter_map(|(_, value)| *value).collect();
            let draft = Draft::Kernel { kernel, inputs, outputs, scratch, number };
            self.drafts.push((name.clone(), id, draft, computed));
        }
        for (from, to, value) in copies {
            let index = self.drafts.len();
            self.classes[from].last = self.classes[from].last.max(index);
            self.classes[to].last = self.classes[to].last.max(index);
            self.drafts.push((name.clone(), id, Draft::Copy { from, to }, vec![value]));
        }
        Ok(())
    }

    fn add_class(&mut self, bytes: usize, resident: Option<Place>, step: usize) -> usize {
        self.classes.push(Class { bytes, resident, first: step, last: step, pending: 0 });
        self.classes.len() - 1
    }

    /// Gives memory to kept values that no step computes, and lets those that steps compute live to the end.
    fn keep_known(&mut self) -> Result<(), PlanError> {
        let end = self.drafts.len();
        for value in self.kept() {
            match (self.class_of.get(&value).copied(), self.results.get(&value).copied()) {
                (Some(class), Some(place)) if self.classes[class].resident != Some(place) => {
                    // A result that is an input or a state.
                    let to = self.add_class(place.bytes, Some(place), end);
                    let name = self.fixed.graph.value(value).name.clone();
                    self.drafts.push((name, None, Draft::Copy { from: class, to }, vec![value]));
                    self.class_of.insert(value, to);
                }
                (Some(class), _) => self.classes[class].last = end,
                (None, Some(place)) => {
                    if let Some(data) = self.value_type(value)?.constant {
                        self.initial.push((place, data));
                    }
                    self.add_resident_class(value, place);
                }
                (None, None) => {
                    self.make_resident(value)?;
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, states: Vec<Place>, results: Vec<Place>) -> Result<Plan, PlanError> {
        let mut pieces = Vec::new();
        let mut piece_of = vec![None; self.classes.len()];
        for (index, class) in self.classes.iter().enumerate().filter(|(_, class)| class.resident.is_none()) {
            piece_of[index] = Some(pieces.len());
            pieces.push(Lifetime { bytes: aligned(class.bytes), first: class.first, last: class.last });
        }
        let mut scratch_of = HashMap::new();
        for (index, (_, _, draft, _)) in self.drafts.iter().enumerate() {
            if let Draft::Kernel { scratch: 1.., .. } = draft {
                scratch_of.insert(index, pieces.len());
                let Draft::Kernel { scratch, .. } = draft else { continue };
                pieces.push(Lifetime { bytes: aligned(scratch * size_of::<f32>()), first: index, last: index });
            }
        }
        let (offsets, transient) = place(&pieces);
        let kept = |(_, _, draft, _): &(_, _, Draft, _)| match draft {
            Draft::Kernel { kernel, .. } => kernel.kept_bytes(),
            Draft::Copy { .. } => 0,
        };
        let packed = self.drafts.iter().map(kept).sum();
        let memory = Memory { resident: self.resident, packed, transient, transient_lower_bound: lower_bound(&pieces) };
        let bytes = memory.resident + memory.transient;
        let mut arena = Arena::new(bytes).ok_or(PlanError::Memory { bytes })?;
        for (place, data) in &self.initial {
            if let Some(bytes) = data.bytes() {
                arena.slice_mut::<u8>(place.offset, place.bytes).copy_from_slice(bytes);
            }
        }
        let resident = self.resident;
        let places: Vec<Place> = self
            .classes
            .iter()
            .enumerate()
            .map(|(index, class)| match (class.resident, piece_of[index]) {
                (Some(place), _) => place,
                (None, piece) => {
                    Place { offset: resident + piece.map_or(0, |piece| offsets[piece]), bytes: class.bytes }
                }
            })
            .collect();
        let region = |class: &Option<usize>| class.map(|class| arena.region(places[class].offset, places[class].bytes));
        let mut steps = Vec::new();
        for (index, (node, id, draft, computed)) in std::mem::take(&mut self.drafts).into_iter().enumerate() {
            let work = match draft {
                Draft::Copy { from, to } => Work::Copy { from: places[from], to: places[to] },
                Draft::Kernel { kernel, inputs, outputs, scratch, number } => {
                    let offset = scratch_of.get(&index).map_or(0, |&piece| resident + offsets[piece]);
                    Work::Kernel {
                        kernel,
                        inputs: inputs.iter().map(region).collect(),
                        outputs: outputs.iter().map(region).collect(),
                        scratch: arena.region(offset, scratch * size_of::<f32>()),
                        number,
                    }
                }
            };
            let floats = computed.into_iter().filter(|value| self.types.get(value).is_some_and(ValueType::is_f32));
            let computed = floats
                .filter_map(|value| {
                    Some((self.fixed.graph.value(value).name.clone(), places[*self.class_of.get(&value)?]))
                })
                .collect();
            steps.push(Step { node, id, work, computed });
        }
        let mut visible = self.kept();
        visible.extend(self.options.states.iter().flatten());
        visible.extend(self.fixed.graph.free_inputs());
        let slots: BTreeMap<_, _> = visible
            .into_iter()
            .filter_map(|value| {
                let place = places[*self.class_of.get(&value)?];
                let ValueType { element_type, shape, .. } = self.types.get(&value)?.clone();
                Some((value, Slot { name: self.fixed.graph.value(value).name.clone(), element_type, shape, place }))
            })
            .collect();
        let place_of = |value: &ValueId| slots.get(value).map(|slot: &Slot| slot.place);
        let updates = self
            .options
            .updates
            .iter()
            .filter_map(|(state, new)| Some((place_of(state)?, place_of(new)?)))
            .filter(|(state, new)| state != new)
            .collect();
        Ok(Plan { steps, slots, states, results, updates, memory, arena })
    }
}

/// The inputs whose memory a step needs: those that it reads and those that an output is an alias of.
pub(super) fn used(
    kernel: &dyn Kernel,
    inputs: &[Option<ValueId>],
    outputs: &[Option<ValueId>],
) -> Vec<(usize, ValueId)> {
    let present = outputs.iter().enumerate().filter(|(_, output)| output.is_some());
    let aliases: Vec<_> = present.map(|(slot, _)| kernel.alias(slot)).collect();
    let runs = aliases.iter().any(Option::is_none);
    let uses = |slot: usize| (runs && kernel.reads(slot)) || aliases.contains(&Some(slot));
    inputs.iter().enumerate().filter_map(|(slot, value)| Some((slot, (*value).filter(|_| uses(slot))?))).collect()
}
