//! Walking over an output whose every element comes from one element of an input, or from none.

use rayon::prelude::*;

/// Most axes of a walk, of those that cannot be walked together.
pub(super) const MOST_AXES: usize = 16;

/// The offset of what comes from nowhere.
pub(super) const OUTSIDE: usize = usize::MAX;

/// Elements of a part of the work.
pub(super) const PART: usize = 32 * 1024;

/// Where the places of an axis of the output come from. Offsets of all axes are added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Place p comes from offset p · step.
    Step(usize),
    /// Each place has an offset, or is [`OUTSIDE`].
    List(Vec<usize>),
}

/// An axis of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axis {
    pub length: usize,
    pub source: Source,
}

impl Axis {
    pub fn step(length: usize, step: usize) -> Self {
        Self { length, source: Source::Step(step) }
    }

    /// The offset of a place added to that of other axes.
    #[inline]
    fn from(&self, base: usize, place: usize) -> usize {
        let offset = match &self.source {
            Source::Step(step) => place * step,
            Source::List(offsets) => offsets[place],
        };
        if base == OUTSIDE || offset == OUTSIDE { OUTSIDE } else { base + offset }
    }
}

/// Elements of a row that stand side by side in the input too, or come from nowhere.
#[derive(Debug, Clone, Copy)]
struct Run {
    target: usize,
    source: usize,
    length: usize,
}

/// How a row, the last axis, is filled.
#[derive(Debug)]
enum Row {
    /// Every so many elements of the input.
    Step(usize),
    Runs(Vec<Run>),
    /// Each element of its own.
    Picks(Vec<usize>),
}

/// A walk over an output.
#[derive(Debug)]
pub(super) struct Walk {
    /// All axes but the last.
    outer: Vec<Axis>,
    row: Row,
    /// Elements of a row.
    width: usize,
    /// The offset to which those of the axes are added.
    base: usize,
    /// Which of the axes is walked by steps of one, if not the last: then squares are transposed.
    turned: Option<usize>,
    elements: usize,
}

impl Walk {
    /// A walk over an output with these axes. `None` if it has too many.
    pub fn new(base: usize, axes: Vec<Axis>) -> Option<Self> {
        let elements = axes.iter().map(|axis| axis.length).product();
        let (mut base, mut joined) = (base, Vec::<Axis>::new());
        for axis in axes {
            let Axis { length, source } = axis;
            // Places at equal distances need no list.
            let source = match source {
                Source::List(offsets) => match progression(&offsets) {
                    Some((start, step)) => {
                        base += start;
                        Source::Step(step)
                    }
                    None => Source::List(offsets),
                },
                step @ Source::Step(_) => step,
            };
            if length == 1 && matches!(source, Source::Step(_)) {
                continue;
            }
            // An axis continues the one before it if that goes on where this one ends.
            match (joined.last_mut(), &source) {
                (Some(Axis { length: outer, source: Source::Step(far) }), Source::Step(near))
                    if *far == near * length =>
                {
                    *outer *= length;
                    *far = *near;
                }
                _ => joined.push(Axis { length, source }),
            }
        }
        let last = joined.pop().unwrap_or_else(|| Axis::step(1, 1));
        if joined.len() >= MOST_AXES {
            return None;
        }
        let width = last.length;
        let row = match last.source {
            Source::Step(step) => Row::Step(step),
            Source::List(offsets) => match runs(&offsets) {
                runs if runs.len() * 4 <= width => Row::Runs(runs),
                _ => Row::Picks(offsets),
            },
        };
        let turned = match row {
            Row::Step(2..) => joined.iter().rposition(|axis| axis.source == Source::Step(1)),
            _ => None,
        };
        Some(Self { outer: joined, row, width, base, turned, elements })
    }

    /// Elements of the output.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// Whether the output is the first elements of the input as they are.
    pub fn is_plain(&self) -> bool {
        self.outer.is_empty() && self.base == 0 && matches!(self.row, Row::Step(1))
    }

    /// Fills the output; what comes from nowhere is `fill`.
    pub fn copy<T: Copy + Send + Sync>(&self, x: &[T], y: &mut [T], fill: T) {
        if y.is_empty() {
            return;
        }
        if let (Some(turned), Row::Step(step)) = (self.turned, &self.row) {
            return self.copy_turned(x, y, fill, turned, *step);
        }
        let part = if self.width < PART { PART / self.width * self.width } else { PART };
        if y.len() <= part {
            return self.piece(x, 0, y, fill);
        }
        y.par_chunks_mut(part).enumerate().for_each(|(index, y)| self.piece(x, index * part, y, fill));
    }

    /// Fills the elements from `first` on.
    fn piece<T: Copy>(&self, x: &[T], first: usize, mut y: &mut [T], fill: T) {
        let mut rows = Odometer::new(&self.outer, self.base, first / self.width);
        let mut from = first % self.width;
        while !y.is_empty() {
            let (row, rest) = y.split_at_mut((self.width - from).min(y.len()));
            match rows.offset() {
                OUTSIDE => row.fill(fill),
                base => self.row(x, base, from, row, fill),
            }
            y = rest;
            from = 0;
            rows.advance();
        }
    }

    /// Fills elements of a row, from `from` on.
    #[inline]
    fn row<T: Copy>(&self, x: &[T], base: usize, from: usize, y: &mut [T], fill: T) {
        match &self.row {
            Row::Step(1) => y.copy_from_slice(&x[base + from..][..y.len()]),
            Row::Step(0) => y.fill(x[base]),
            Row::Step(step) => {
                let x = x[base + from * step..].iter().step_by(*step);
                y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
            }
            Row::Picks(picks) => {
                let pick = |&offset: &usize| if offset == OUTSIDE { fill } else { x[base + offset] };
                y.iter_mut().zip(&picks[from..]).for_each(|(y, offset)| *y = pick(offset));
            }
            Row::Runs(runs) => {
                let end = from + y.len();
                let begin = runs.partition_point(|run| run.target + run.length <= from);
                for run in runs[begin..].iter().take_while(|run| run.target < end) {
                    let (start, stop) = (run.target.max(from), (run.target + run.length).min(end));
                    let y = &mut y[start - from..stop - from];
                    match run.source {
                        OUTSIDE => y.fill(fill),
                        source => y.copy_from_slice(&x[base + source + start - run.target..][..stop - start]),
                    }
                }
            }
        }
    }

    /// Fills an output whose neighbours along axis `turned`, not those of a row, are neighbours in the input.
    fn copy_turned<T: Copy + Send + Sync>(&self, x: &[T], y: &mut [T], fill: T, turned: usize, step: usize) {
        let (before, between) = (&self.outer[..turned], &self.outer[turned + 1..]);
        let height = self.outer[turned].length;
        let pitch = between.iter().map(|axis| axis.length).product::<usize>() * self.width;
        // Rows of a part, whole squares of them.
        let rows = (PART / pitch).next_multiple_of(SQUARE).clamp(SQUARE, height.next_multiple_of(SQUARE));
        let part = |outer: usize, first: usize, y: &mut [T]| {
            let count = y.len() / pitch;
            let base = Odometer::new(before, self.base, outer).offset();
            let mut between = Odometer::new(between, if base == OUTSIDE { OUTSIDE } else { base + first }, 0);
            for start in (0..pitch).step_by(self.width) {
                let y = &mut y[start..];
                match between.offset() {
                    OUTSIDE => (0..count).for_each(|row| y[row * pitch..][..self.width].fill(fill)),
                    base => transpose(&x[base..], step, y, pitch, count, self.width),
                }
                between.advance();
            }
        };
        if self.elements <= PART {
            return y.chunks_mut(height * pitch).enumerate().for_each(|(outer, y)| part(outer, 0, y));
        }
        let least = (PART / (height * pitch)).max(1);
        y.par_chunks_mut(height * pitch).with_min_len(least).enumerate().for_each(|(outer, y)| {
            if y.len() <= rows * pitch {
                return part(outer, 0, y);
            }
            y.par_chunks_mut(rows * pitch).enumerate().for_each(|(index, y)| part(outer, index * rows, y));
        });
    }
}

/// Rows and columns of the squares that are transposed at once.
const SQUARE: usize = 8;

/// `y[row · pitch + column] = x[column · step + row]`.
fn transpose<T: Copy>(x: &[T], step: usize, y: &mut [T], pitch: usize, rows: usize, columns: usize) {
    let (whole_rows, whole_columns) = (rows / SQUARE * SQUARE, columns / SQUARE * SQUARE);
    for column in (0..whole_columns).step_by(SQUARE) {
        for row in (0..whole_rows).step_by(SQUARE) {
            let square: [[T; SQUARE]; SQUARE] = std::array::from_fn(|at| {
                let x = &x[(column + at) * step + row..][..SQUARE];
                std::array::from_fn(|place| x[place])
            });
            for at in 0..SQUARE {
                let y = &mut y[(row + at) * pitch + column..][..SQUARE];
                for place in 0..SQUARE {
                    y[place] = square[place][at];
                }
            }
        }
    }
    // What is left: rows below the squares, which are walked along, and columns beside them, which are few.
    for row in whole_rows..rows {
        let x = x[row..].iter().step_by(step);
        y[row * pitch..][..columns].iter_mut().zip(x).for_each(|(y, x)| *y = *x);
    }
    for column in whole_columns..columns {
        let x = &x[column * step..][..whole_rows];
        let y = y[column..].iter_mut().step_by(pitch);
        y.zip(x).for_each(|(y, x)| *y = *x);
    }
}

/// Offsets at equal distances: the first and the distance.
fn progression(offsets: &[usize]) -> Option<(usize, usize)> {
    let &[start, ..] = offsets else { return Some((0, 0)) };
    let step = offsets.get(1).map_or(Some(0), |second| second.checked_sub(start))?;
    let follows = |(place, &offset): (usize, &usize)| offset != OUTSIDE && offset == start + place * step;
    (start != OUTSIDE && offsets.iter().enumerate().all(follows)).then_some((start, step))
}

/// Offsets as runs.
fn runs(offsets: &[usize]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (target, &source) in offsets.iter().enumerate() {
        match runs.last_mut() {
            Some(last) if last.source == OUTSIDE && source == OUTSIDE => last.length += 1,
            Some(last) if last.source != OUTSIDE && last.source + last.length == source => last.length += 1,
            _ => runs.push(Run { target, source, length: 1 }),
        }
    }
    runs
}

/// The offsets of the places of some axes, one after the other.
struct Odometer<'a> {
    axes: &'a [Axis],
    places: [usize; MOST_AXES],
    /// The offset of the first so many axes.
    offsets: [usize; MOST_AXES + 1],
}

impl<'a> Odometer<'a> {
    /// Begins at a place.
    fn new(axes: &'a [Axis], base: usize, place: usize) -> Self {
        let (mut rest, mut places) = (place, [0; MOST_AXES]);
        for (place, axis) in places.iter_mut().zip(axes).rev() {
            *place = rest % axis.length;
            rest /= axis.length;
        }
        let mut odometer = Self { axes, places, offsets: [base; MOST_AXES + 1] };
        odometer.update(0);
        odometer
    }

    #[inline]
    fn offset(&self) -> usize {
        self.offsets[self.axes.len()]
    }

    #[inline]
    fn update(&mut self, first: usize) {
        for (at, axis) in self.axes.iter().enumerate().skip(first) {
            self.offsets[at + 1] = axis.from(self.offsets[at], self.places[at]);
        }
    }

    /// Goes to the next place; from the last one to the first.
    #[inline]
    fn advance(&mut self) {
        let mut at = self.axes.len();
        while at > 0 {
            at -= 1;
            self.places[at] += 1;
            if self.places[at] < self.axes[at].length {
                break;
            }
            self.places[at] = 0;
        }
        self.update(at);
    }
}
