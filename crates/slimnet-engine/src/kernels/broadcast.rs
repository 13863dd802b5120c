//! Broadcasting: which elements of the inputs belong to an element of the output.

/// Axes of an output along which inputs are walked, adjacent ones merged where that makes no difference. The last axis is
/// walked as a row; the others say where rows begin.
#[derive(Debug, Clone)]
pub(super) struct Broadcast<const N: usize> {
    /// Lengths of the axes, and steps of each input along them.
    axes: Vec<(usize, [usize; N])>,
    /// Length of a row, and steps (0 or 1) of each input along it.
    pub row: usize,
    /// Steps of each input along a row: 1, or 0 where one element serves all.
    pub steps: [usize; N],
    /// Elements of the output.
    pub elements: usize,
}

impl<const N: usize> Broadcast<N> {
    /// For inputs of these shapes.
    pub fn new(inputs: [&[usize]; N], output: &[usize]) -> Self {
        let rank = output.len();
        let mut strides = [1usize; N];
        let mut axes: Vec<(usize, [usize; N])> = Vec::new();
        for axis in (0..rank).rev() {
            let length = output[axis];
            let mut steps = [0; N];
            for (input, shape) in inputs.iter().enumerate() {
                let own = (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
                if own != 1 {
                    steps[input] = strides[input];
                    strides[input] *= own;
                }
            }
            if length == 1 {
                continue;
            }
            // An axis continues the one inside it if every input goes on where that one ends.
            match axes.last_mut() {
                Some((inner, inside)) if (0..N).all(|input| steps[input] == inside[input] * *inner) => *inner *= length,
                _ => axes.push((length, steps)),
            }
        }
        axes.reverse();
        // A row of its own if the innermost axis is not walked by steps of 0 or 1.
        let (row, steps) = match axes.last() {
            Some((length, steps)) if steps.iter().all(|&step| step <= 1) => (*length, *steps),
            _ => (1, [0; N]),
        };
        if row != 1 || axes.last().is_some_and(|(length, _)| *length == 1) {
            axes.pop();
        }
        Self { axes, row, steps, elements: output.iter().product() }
    }

    /// Where the inputs' parts for a row begin.
    pub fn start(&self, row: usize) -> [usize; N] {
        let mut rest = row;
        let mut start = [0; N];
        for (length, steps) in self.axes.iter().rev() {
            let index = rest % length;
            rest /= length;
            for (start, step) in start.iter_mut().zip(steps) {
                *start += index * step;
            }
        }
        start
    }

    /// Length of the outermost axis if it is not part of a row, and the steps of the inputs along it.
    pub fn outer(&self) -> Option<(usize, [usize; N])> {
        self.axes.first().copied()
    }

    /// Whether an input has an element of its own for every element of the output, in the same order.
    pub fn is_whole(&self, input: usize) -> bool {
        self.axes
            .iter()
            .rev()
            .try_fold(self.row, |stride, (length, steps)| (steps[input] == stride).then_some(stride * length))
            .is_some()
            && (self.row == 1 || self.steps[input] == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_merged_and_rows_found() {
        let same = Broadcast::new([&[2, 3, 4], &[2, 3, 4]], &[2, 3, 4]);
        assert_eq!((same.row, same.steps), (24, [1, 1]));
        let channel = Broadcast::new([&[2, 3, 4, 4], &[3, 1, 1]], &[2, 3, 4, 4]);
        assert_eq!((channel.row, channel.steps, channel.start(4)), (16, [1, 0], [64, 1]));
        let bias = Broadcast::new([&[2, 3, 4], &[4]], &[2, 3, 4]);
        assert_eq!((bias.row, bias.steps, bias.start(5)), (4, [1, 1], [20, 0]));
        let outer = Broadcast::new([&[3, 1], &[1, 4]], &[3, 4]);
        assert_eq!((outer.row, outer.steps, outer.start(2)), (4, [0, 1], [2, 0]));
        assert!(bias.is_whole(0) && !bias.is_whole(1) && !outer.is_whole(0));
        let scalar = Broadcast::new([&[], &[1, 1]], &[1, 1]);
        assert_eq!((scalar.row, scalar.start(0)), (1, [0, 0]));
        assert!(scalar.is_whole(0));
    }
}
