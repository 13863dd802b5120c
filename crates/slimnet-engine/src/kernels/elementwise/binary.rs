//! Functions of two numbers, with broadcasting.

use slimnet_graph::ops::elementwise::Binary;

use crate::kernels::broadcast::Broadcast;
use crate::kernels::parallel::each_segment;
use crate::kernels::{Call, Kernel, KernelError, NodeType, Prepared};

#[derive(Debug)]
struct Forward {
    kind: Binary,
    broadcast: Broadcast<2>,
    same: bool,
    whole: [bool; 2],
}

pub(super) fn is_arithmetic(kind: Binary) -> bool {
    matches!(kind, Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Pow | Binary::PRelu)
}

pub(super) fn prepare(kind: Binary, node: &NodeType<'_>) -> Prepared {
    if !is_arithmetic(kind) || !node.all_f32() {
        return None;
    }
    let (a, b, y) = (node.input(0)?, node.input(1)?, node.output(0)?);
    let broadcast = Broadcast::new([&a.shape, &b.shape], &y.shape);
    let whole = [broadcast.is_whole(0), broadcast.is_whole(1)];
    Some(Box::new(Forward { kind, broadcast, same: a.shape == b.shape, whole }))
}

/// Runs `$body` with `$f` being the function of `kind`, each in a copy of its own that the compiler can vectorise.
macro_rules! with_function {
    ($kind:expr, $f:ident, $body:expr) => {
        match $kind {
            Binary::Sub => {
                let $f = |a: f32, b: f32| a - b;
                $body
            }
            Binary::Mul => {
                let $f = |a: f32, b: f32| a * b;
                $body
            }
            Binary::Div => {
                let $f = |a: f32, b: f32| a / b;
                $body
            }
            Binary::Pow => {
                let $f = |a: f32, b: f32| a.powf(b);
                $body
            }
            Binary::PRelu => {
                let $f = |a: f32, b: f32| if a < 0.0 { a * b } else { a };
                $body
            }
            // The only other that is prepared.
            _ => {
                let $f = |a: f32, b: f32| a + b;
                $body
            }
        }
    };
}

impl Kernel for Forward {
    fn run(&self, call: &mut Call<'_>) -> Result<(), KernelError> {
        if self.same {
            with_function!(self.kind, f, call.zip([0, 1], 0, f));
            return Ok(());
        }
        let Broadcast { row, steps, .. } = self.broadcast;
        let fused = call.fused::<f32, 2>([0, 1], 0);
        let ([a, b], y, place) = (fused.inputs, fused.output, fused.place);
        with_function!(self.kind, f, {
            each_segment(
                y,
                row,
                #[inline(always)]
                |index, columns, y| {
                    let [start_a, start_b] = self.broadcast.start(index);
                    let (start_a, start_b) = (start_a + steps[0] * columns.start, start_b + steps[1] * columns.start);
                    match (place, steps) {
                        (Some(0), [_, 0]) => y.iter_mut().for_each(|y| *y = f(*y, b[start_b])),
                        (Some(0), _) => y.iter_mut().zip(&b[start_b..]).for_each(|(y, &b)| *y = f(*y, b)),
                        (Some(_), [0, _]) => y.iter_mut().for_each(|y| *y = f(a[start_a], *y)),
                        (Some(_), _) => y.iter_mut().zip(&a[start_a..]).for_each(|(y, &a)| *y = f(a, *y)),
                        (None, [1, 1]) => {
                            let (a, b) = (&a[start_a..][..y.len()], &b[start_b..][..y.len()]);
                            y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = f(a, b));
                        }
                        (None, [1, _]) => y.iter_mut().zip(&a[start_a..]).for_each(|(y, &a)| *y = f(a, b[start_b])),
                        (None, [_, 1]) => y.iter_mut().zip(&b[start_b..]).for_each(|(y, &b)| *y = f(a[start_a], b)),
                        (None, _) => y.fill(f(a[start_a], b[start_b])),
                    }
                },
            );
        });
        Ok(())
    }

    fn in_place(&self, input: usize, _output: usize) -> bool {
        self.same || self.whole.get(input).copied().unwrap_or(false)
    }
}
