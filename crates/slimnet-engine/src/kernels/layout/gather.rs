//! Choosing slices or elements by indices that are known only when it runs: embeddings, labels.

use bytemuck::Pod;
use slimnet_graph::Op;
use slimnet_graph::ops::Gradient;

use super::address::Address;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

#[derive(Debug)]
struct Forward {
    address: Address,
    /// Bytes of an element.
    bytes: usize,
}

pub(super) fn prepare(op: &Op, node: &NodeType<'_>) -> Prepared {
    let (data, y) = (node.input(0)?, node.output(0)?);
    let bytes = data.element_type.bits().filter(|bits| [8, 16, 32, 64, 128].contains(bits))? / 8;
    let address = Address::of(op, node)?;
    if y.len() != address.elements_named() || y.element_type != data.element_type {
        return None;
    }
    Some(Box::new(Forward { address, bytes }))
}

impl Forward {
    fn copy<T: Pod + Send + Sync>(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let Address { units, slice, .. } = self.address;
        let places = self.address.resolve(call)?;
        let (x, y) = (call.input::<T>(0), call.output::<T>(0));
        if slice == 1 {
            self.address.each_place(y, |block, place, y| y[0] = x[block * units + places.unit(block, place)]);
        } else {
            self.address.each_place(y, |block, place, y| {
                y.copy_from_slice(&x[(block * units + places.unit(block, place)) * slice..][..slice]);
            });
        }
        Ok(())
    }
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        match self.bytes {
            1 => self.copy::<u8>(call),
            2 => self.copy::<u16>(call),
            4 => self.copy::<u32>(call),
            8 => self.copy::<u64>(call),
            _ => self.copy::<[u64; 2]>(call),
        }
    }
}

/// Slot of the gradient of the output.
const GRADIENT: usize = 3;

#[derive(Debug)]
struct Backward(Address);

pub(super) fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    let dy = node.input(GRADIENT).filter(|dy| dy.is_f32())?;
    if !node.input(0)?.is_f32() || node.output(0).is_none() || node.output(1).is_some() {
        return None;
    }
    let address = Address::of(&gradient.of, node)?;
    (dy.len() == address.elements_named()).then(|| Box::new(Backward(address)) as Box<dyn Kernel>)
}

impl Kernel for Backward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let places = self.0.resolve(call)?;
        let (dy, dx) = (call.input::<f32>(GRADIENT), call.output::<f32>(0));
        let Address { places: count, slice, .. } = self.0;
        self.0.each_part(dx, |block, units, dx| {
            dx.fill(0.0);
            for place in 0..count {
                let unit = places.unit(block, place);
                if units.contains(&unit) {
                    let dx = &mut dx[(unit - units.start) * slice..][..slice];
                    let dy = &dy[(block * count + place) * slice..][..slice];
                    dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx += dy);
                }
            }
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == 1 || input == GRADIENT
    }
}
