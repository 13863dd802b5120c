//! Putting slices or elements where indices say that are known only when it runs.

use bytemuck::Pod;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;
use slimnet_graph::ops::index::ScatterReduction;

use super::address::Address;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// How updates join what is there.
fn reduction(op: &Op) -> Option<ScatterReduction> {
    match op {
        Op::ScatterElements(op) => Some(op.reduction),
        Op::ScatterNd(op) => Some(op.reduction),
        _ => None,
    }
}

/// What the indices name, if the shapes of data, indices and updates go together.
fn address(op: &Op, node: &NodeType<'_>) -> Option<Address> {
    let (data, updates) = (node.input(0)?, node.input(2)?);
    let address = Address::of(op, node)?;
    (updates.len() == address.elements_named() && updates.element_type == data.element_type).then_some(address)
}

#[derive(Debug)]
struct Forward {
    address: Address,
    reduction: ScatterReduction,
    /// Bytes of an element.
    bytes: usize,
}

pub(super) fn prepare(op: &Op, node: &NodeType<'_>) -> Prepared {
    let (data, reduction) = (node.input(0)?, reduction(op)?);
    let bytes = data.element_type.bits().filter(|bits| [8, 16, 32, 64, 128].contains(bits))? / 8;
    if (reduction != ScatterReduction::None && !data.is_f32()) || node.output(0)?.shape != data.shape {
        return None;
    }
    Some(Box::new(Forward { address: address(op, node)?, reduction, bytes }))
}

impl Forward {
    fn scatter<T: Pod + Send + Sync>(
        &self,
        call: &mut Call<'_>,
        join: impl Fn(&mut T, T) + Sync,
    ) -> Result<(), KernelError> {
        let places = self.address.resolve(call)?;
        let (x, updates, y) = (call.input::<T>(0), call.input::<T>(2), call.output::<T>(0));
        let Address { units: of_block, places: count, slice, .. } = self.address;
        self.address.each_part(y, |block, units, y| {
            y.copy_from_slice(&x[(block * of_block + units.start) * slice..][..y.len()]);
            for place in 0..count {
                let unit = places.unit(block, place);
                if units.contains(&unit) {
                    let y = &mut y[(unit - units.start) * slice..][..slice];
                    let updates = &updates[(block * count + place) * slice..][..slice];
                    y.iter_mut().zip(updates).for_each(|(y, &update)| join(y, update));
                }
            }
        });
        Ok(())
    }
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        // NaN stays, whichever side it is on.
        let better = |old: &mut f32, new: f32, ahead: bool| {
            if ahead || new.is_nan() {
                *old = new;
            }
        };
        match (self.reduction, self.bytes) {
            (ScatterReduction::None, 1) => self.scatter::<u8>(call, |old, new| *old = new),
            (ScatterReduction::None, 2) => self.scatter::<u16>(call, |old, new| *old = new),
            (ScatterReduction::None, 4) => self.scatter::<u32>(call, |old, new| *old = new),
            (ScatterReduction::None, 8) => self.scatter::<u64>(call, |old, new| *old = new),
            (ScatterReduction::None, _) => self.scatter::<[u64; 2]>(call, |old, new| *old = new),
            (ScatterReduction::Add, _) => self.scatter::<f32>(call, |old, new| *old += new),
            (ScatterReduction::Mul, _) => self.scatter::<f32>(call, |old, new| *old *= new),
            (ScatterReduction::Max, _) => self.scatter::<f32>(call, |old, new| better(old, new, new > *old)),
            (ScatterReduction::Min, _) => self.scatter::<f32>(call, |old, new| better(old, new, new < *old)),
        }
    }
}

/// Slots of the gradient node.
const DATA: usize = 0;
const UPDATES: usize = 2;
const GRADIENT: usize = 4;

#[derive(Debug)]
struct Backward {
    address: Address,
    /// Whether updates take the place of what is there.
    replaces: bool,
    /// Whether the gradient of the data is wanted, and that of the updates.
    wanted: [bool; 2],
}

pub(super) fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let reduction = reduction(&gradient.of)?;
    if !matches!(reduction, ScatterReduction::None | ScatterReduction::Add) || node.output(1).is_some() {
        return None;
    }
    let address = address(&gradient.of, node)?;
    let dy = node.input(GRADIENT).filter(|dy| dy.is_f32())?;
    // Places are numbered in 32 bits.
    if dy.shape != node.input(DATA)?.shape || u32::try_from(address.blocks * address.places).is_err() {
        return None;
    }
    let wanted = [node.output(DATA).is_some(), node.output(UPDATES).is_some()];
    Some(Box::new(Backward { address, replaces: reduction == ScatterReduction::None, wanted }))
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let places = self.address.resolve(call)?;
        let Address { blocks, units: of_block, places: count, slice, .. } = self.address;
        let dy = call.input::<f32>(GRADIENT);
        if self.wanted[0] && self.replaces {
            self.address.each_part(call.output::<f32>(DATA), |block, units, dx| {
                dx.copy_from_slice(&dy[(block * of_block + units.start) * slice..][..dx.len()]);
                for place in 0..count {
                    let unit = places.unit(block, place);
                    if units.contains(&unit) {
                        dx[(unit - units.start) * slice..][..slice].fill(0.0);
                    }
                }
            });
        }
        if !self.wanted[1] {
            return Ok(());
        }
        let updates = call.output::<f32>(UPDATES);
        if updates.is_empty() {
            return Ok(());
        }
        let source =
            |block: usize, place: usize| &dy[(block * of_block + places.unit(block, place)) * slice..][..slice];
        if !self.replaces {
            self.address.each_place(updates, |block, place, updates| updates.copy_from_slice(source(block, place)));
            return Ok(());
        }
        // The last of several updates of one unit is the one that is seen. Only units that have an owner are asked for it.
        let owners: &mut [u32] = bytemuck::cast_slice_mut(call.scratch());
        for block in 0..blocks {
            for place in 0..count {
                owners[block * of_block + places.unit(block, place)] = (block * count + place) as u32;
            }
        }
        let owners = &*owners;
        self.address.each_place(updates, |block, place, updates| {
            if owners[block * of_block + places.unit(block, place)] as usize == block * count + place {
                updates.copy_from_slice(source(block, place));
            } else {
                updates.fill(0.0);
            }
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 1 || input == GRADIENT
    }

    fn scratch(&self) -> usize {
        if self.wanted[1] && self.replaces { self.address.blocks * self.address.units } else { 0 }
    }

    fn alias(&self, output: usize) -> Option<usize> {
        // What is added to has the gradient of the sum.
        (output == DATA && !self.replaces).then_some(GRADIENT)
    }
}
