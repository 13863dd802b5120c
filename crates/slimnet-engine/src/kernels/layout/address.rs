//! Which slices of a tensor indices name that are known only when the kernel runs.

use std::ops::Range;

use rayon::prelude::*;
use slimnet_graph::Op;
use slimnet_graph::tensor::ElementType;

use crate::kernels::{Call, KernelError, NodeType};

/// The slices of the data that the places of the indices name.
///
/// The data is `[blocks, units, slice]`, and what is gathered from it or scattered into it is `[blocks, places, slice]`:
/// places of a block name units of the same block.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// How a place names a unit.
    kind: Kind,
    /// Element type of the indices.
    indices: ElementType,
    /// Parts of the data that have nothing to do with each other.
    pub blocks: usize,
    /// Slices of a block.
    pub units: usize,
    /// Slices that are named in a block.
    pub places: usize,
    /// Elements of a slice.
    pub slice: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    /// The same indices for every block.
    Shared { axis: Axis },
    /// An index for each place of each block, which are `[places / inner, inner]` and name units `[axis, inner]`.
    Own { axis: Axis, inner: usize },
    /// As many indices as the data, which differ in more axes than the one that they are for: lengths of the indices' axes
    /// and distances in the data, from the last axis; and which of them is indexed.
    Cropped { axis: Axis, axes: Vec<(usize, usize)>, indexed: usize },
    /// A tuple of indices for each place of each block: the axes that it fixes.
    Tuples { axes: Vec<Axis> },
}

/// An axis that is indexed.
#[derive(Debug, Clone, Copy)]
struct Axis {
    /// Which of the data's.
    number: usize,
    length: usize,
    /// Units from one place on it to the next.
    distance: usize,
}

impl Axis {
    fn allows(self, index: i64) -> bool {
        let length = self.length as i64;
        (-length..length).contains(&index)
    }

    /// Units before the place that an index names, which may count from the back.
    fn offset(self, index: i64) -> usize {
        (if index < 0 { index + self.length as i64 } else { index }) as usize * self.distance
    }
}

/// The product of some lengths.
fn product(lengths: &[usize]) -> usize {
    lengths.iter().product()
}

impl Address {
    /// What the indices (input 1) of an operator name in its data (input 0).
    pub fn of(op: &Op, node: &NodeType<'_>) -> Option<Self> {
        let (data, indices) = (&node.input(0)?.shape[..], node.input(1)?);
        let element_type = indices.element_type;
        if !matches!(element_type, ElementType::I64 | ElementType::I32) {
            return None;
        }
        let indices = &indices.shape[..];
        let resolve = |axis: i64| {
            usize::try_from(if axis < 0 { axis + data.len() as i64 } else { axis }).ok().filter(|&at| at < data.len())
        };
        let address =
            |kind, blocks, units, places, slice| Self { kind, indices: element_type, blocks, units, places, slice };
        match op {
            Op::Gather(op) => {
                let at = resolve(op.axis)?;
                let axis = Axis { number: at, length: data[at], distance: 1 };
                let (before, behind) = (product(&data[..at]), product(&data[at + 1..]));
                Some(address(Kind::Shared { axis }, before, data[at], product(indices), behind))
            }
            Op::GatherElements(op) => Self::elements(resolve(op.axis)?, data, indices, address),
            Op::ScatterElements(op) => Self::elements(resolve(op.axis)?, data, indices, address),
            Op::GatherNd(op) => Self::tuples(usize::try_from(op.batch_dims).ok()?, data, indices, address),
            Op::ScatterNd(_) => Self::tuples(0, data, indices, address),
            _ => None,
        }
    }

    fn elements(
        at: usize,
        data: &[usize],
        indices: &[usize],
        address: impl Fn(Kind, usize, usize, usize, usize) -> Self,
    ) -> Option<Self> {
        let others = || (0..data.len()).filter(|&other| other != at);
        if indices.len() != data.len() || others().any(|other| indices[other] > data[other]) {
            return None;
        }
        let inner = product(&data[at + 1..]);
        let axis = Axis { number: at, length: data[at], distance: inner };
        if others().all(|other| indices[other] == data[other]) {
            let kind = Kind::Own { axis, inner };
            return Some(address(kind, product(&data[..at]), data[at] * inner, indices[at] * inner, 1));
        }
        let distances = (0..data.len()).map(|other| product(&data[other + 1..]));
        let axes = indices.iter().copied().zip(distances).rev().collect();
        let kind = Kind::Cropped { axis, axes, indexed: data.len() - 1 - at };
        Some(address(kind, 1, product(data), product(indices), 1))
    }

    fn tuples(
        batch: usize,
        data: &[usize],
        indices: &[usize],
        address: impl Fn(Kind, usize, usize, usize, usize) -> Self,
    ) -> Option<Self> {
        let (&arity, leading) = indices.split_last()?;
        let fixed = batch.checked_add(arity).filter(|&fixed| fixed <= data.len())?;
        if leading.get(..batch)? != &data[..batch] {
            return None;
        }
        let axes = (batch..fixed)
            .map(|at| Axis { number: at, length: data[at], distance: product(&data[at + 1..fixed]) })
            .collect();
        let (blocks, units) = (product(&data[..batch]), product(&data[batch..fixed]));
        Some(address(Kind::Tuples { axes }, blocks, units, product(&leading[batch..]), product(&data[fixed..])))
    }

    /// The shape of what is gathered or scattered.
    pub fn elements_named(&self) -> usize {
        self.blocks * self.places * self.slice
    }

    /// The indices of a call, all of them on their axes.
    pub fn resolve<'a>(&'a self, call: &Call<'a>) -> Result<Places<'a>, KernelError> {
        let numbers = match self.indices {
            ElementType::I64 => Numbers::I64(call.input(1)),
            _ => Numbers::I32(call.input(1)),
        };
        match &self.kind {
            Kind::Shared { axis } | Kind::Own { axis, .. } | Kind::Cropped { axis, .. } => numbers.check(&[*axis])?,
            // As by definition, tuples that name nothing are not looked at.
            Kind::Tuples { axes } if self.elements_named() > 0 => numbers.check(axes)?,
            Kind::Tuples { .. } => {}
        }
        Ok(Places { address: self, numbers })
    }

    /// Calls `work` on parts of `data`, which is `[blocks, units, slice]`, with the block and the units that a part has.
    pub fn each_part<T: Send>(&self, data: &mut [T], work: impl Fn(usize, Range<usize>, &mut [T]) + Sync) {
        let block = self.units * self.slice;
        if block == 0 {
            return;
        }
        let elements = self.elements_named().max(data.len());
        if elements <= PART {
            return data.chunks_mut(block).enumerate().for_each(|(index, data)| work(index, 0..self.units, data));
        }
        if self.blocks == 1 && self.slice >= NARROW {
            // Every part looks at all places, which is little work if slices are wide.
            let units = self.units.div_ceil(PARTS);
            return data.par_chunks_mut(units * self.slice).enumerate().for_each(|(index, data)| {
                let first = index * units;
                work(0, first..first + data.len() / self.slice, data);
            });
        }
        let least = (PART / (elements / self.blocks).max(1)).max(1);
        data.par_chunks_mut(block)
            .with_min_len(least)
            .enumerate()
            .for_each(|(index, data)| work(index, 0..self.units, data));
    }

    /// Calls `work` on every slice of `named`, which is `[blocks, places, slice]`, with block and place.
    pub fn each_place<T: Send>(&self, named: &mut [T], work: impl Fn(usize, usize, &mut [T]) + Sync) {
        if named.is_empty() {
            return;
        }
        let rows = (PART / self.slice).max(1);
        let part = |index: usize, named: &mut [T]| {
            let first = index * rows;
            let (mut block, mut place) = (first / self.places, first % self.places);
            for slice in named.chunks_exact_mut(self.slice) {
                work(block, place, slice);
                place += 1;
                if place == self.places {
                    (block, place) = (block + 1, 0);
                }
            }
        };
        if named.len() <= PART {
            return part(0, named);
        }
        named.par_chunks_mut(rows * self.slice).enumerate().for_each(|(index, named)| part(index, named));
    }
}

/// Elements of a part of the work.
const PART: usize = 16 * 1024;

/// Parts of a block.
const PARTS: usize = 8;

/// Slices of fewer elements are narrow.
const NARROW: usize = 16;

/// Indices as they come.
#[derive(Debug, Clone, Copy)]
enum Numbers<'a> {
    I64(&'a [i64]),
    I32(&'a [i32]),
}

impl Numbers<'_> {
    #[inline]
    fn at(self, place: usize) -> i64 {
        match self {
            Self::I64(numbers) => numbers[place],
            Self::I32(numbers) => numbers[place].into(),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::I64(numbers) => numbers.len(),
            Self::I32(numbers) => numbers.len(),
        }
    }

    /// Whether all indices, which are for these axes in turn, lie on them.
    fn check(self, axes: &[Axis]) -> Result<(), KernelError> {
        let Some(first) = axes.first() else { return Ok(()) };
        let allowed = match (self, axes.len()) {
            (Self::I64(numbers), 1) => numbers.iter().fold(true, |all, &index| all & first.allows(index)),
            (Self::I32(numbers), 1) => numbers.iter().fold(true, |all, &index| all & first.allows(index.into())),
            _ => false,
        };
        if allowed {
            return Ok(());
        }
        for place in 0..self.len() {
            let (axis, index) = (axes[place % axes.len()], self.at(place));
            if !axis.allows(index) {
                let Axis { number, length, .. } = axis;
                return Err(KernelError::Value(format!(
                    "index {index} is outside of axis {number} of length {length}"
                )));
            }
        }
        Ok(())
    }
}

/// The units that places name in one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    address: &'a Address,
    numbers: Numbers<'a>,
}

impl Places<'_> {
    /// The unit, within its block, that a place of a block names.
    #[inline]
    pub fn unit(&self, block: usize, place: usize) -> usize {
        match &self.address.kind {
            Kind::Shared { axis } => axis.offset(self.numbers.at(place)),
            Kind::Own { axis, inner } => {
                let index = self.numbers.at(block * self.address.places + place);
                axis.offset(index) + if *inner == 1 { 0 } else { place % inner }
            }
            Kind::Cropped { axis, axes, indexed } => {
                let (mut rest, mut unit) = (place, axis.offset(self.numbers.at(place)));
                for (number, (length, distance)) in axes.iter().enumerate() {
                    if number != *indexed {
                        unit += rest % length * distance;
                    }
                    rest /= length;
                }
                unit
            }
            Kind::Tuples { axes } => {
                let first = (block * self.address.places + place) * axes.len();
                axes.iter().enumerate().map(|(at, axis)| axis.offset(self.numbers.at(first + at))).sum()
            }
        }
    }
}
