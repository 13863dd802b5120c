//! Masks of sparse weights.

use slimnet_graph::ops::Gradient;
use slimnet_graph::tensor::ElementType;

use crate::kernels::call::Fused;
use crate::kernels::parallel::each_chunk;
use crate::kernels::vector::vectorized;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

/// Slot of the mask, in the operator and in its gradient.
const MASK: usize = 1;

/// `output = input[source] · mask`: the weights that are left, and the gradients that they get.
#[derive(Debug)]
struct Masked {
    source: usize,
}

pub(super) fn prepare(node: &NodeType<'_>) -> Prepared {
    masked(node, 0)
}

/// y = w · mask, so dw = dy · mask: what is masked is moved by nothing.
pub(super) fn prepare_gradient(gradient: &Gradient, node: &NodeType<'_>) -> Prepared {
    masked(node, gradient.gradient_slot(0))
}

fn masked(node: &NodeType<'_>, source: usize) -> Prepared {
    let floats = node.input(source)?.is_f32() && node.output(0)?.is_f32();
    let fits = floats && node.input(MASK)?.element_type == ElementType::U8;
    fits.then(|| Box::new(Masked { source }) as Box<dyn Kernel>)
}

impl Kernel for Masked {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        let mask = call.input::<u8>(MASK);
        let Fused { inputs: [x], output: y, place } = call.fused::<f32, 1>([self.source], 0);
        each_chunk(y, |range, y| {
            let mask = &mask[range.clone()];
            vectorized(
                #[inline(always)]
                || match place {
                    Some(_) => {
                        for (y, &mask) in y.iter_mut().zip(mask) {
                            *y *= f32::from(mask);
                        }
                    }
                    None => {
                        for ((y, &x), &mask) in y.iter_mut().zip(&x[range]).zip(mask) {
                            *y = x * f32::from(mask);
                        }
                    }
                },
            );
        });
        Ok(())
    }

    fn reads(&self, input: usize) -> bool {
        input == self.source || input == MASK
    }

    fn in_place(&self, input: usize, _output: usize) -> bool {
        input == self.source
    }
}
