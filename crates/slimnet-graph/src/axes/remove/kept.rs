//! Which positions of every value stay.

use std::collections::{BTreeSet, HashMap};

use super::RemoveError;
use crate::axes::{Coupling, GroupId};
use crate::graph::{Graph, ValueId};
use crate::tensor::Tensor;

/// A block of axes of a value that loses positions.
struct Part {
    /// The axes as they nest.
    axes: Vec<usize>,
    before: Vec<usize>,
    after: Vec<usize>,
    /// Places of the block that stay, ascending: they fill the new block row by row.
    places: Vec<usize>,
}

/// What stays of every value that loses something.
pub(super) struct Kept(HashMap<ValueId, Vec<Part>>);

impl Kept {
    pub(super) fn new(graph: &Graph, coupling: &Coupling, removed: &BTreeSet<GroupId>) -> Result<Self, RemoveError> {
        let mut gone = vec![false; coupling.group_count()];
        for group in removed {
            gone[group.index()] = true;
        }
        let mut all = HashMap::new();
        for (value, source) in graph.values() {
            let covers = coupling.covers(value);
            if !covers.iter().any(|cover| cover.groups.iter().any(|group| gone[group.index()])) {
                continue;
            }
            let shape = source.shape.as_deref().unwrap_or_default();
            let mut parts = Vec::new();
            let mut open: Vec<usize> = (0..covers.len()).collect();
            // The block with most axes first; whatever shares an axis with it belongs to the same part.
            open.sort_by_key(|&index| std::cmp::Reverse(covers[index].axes.len()));
            while !open.is_empty() {
                let (mut axes, mut before): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
                let mut own: Vec<usize> = Vec::new();
                while let Some(found) = open
                    .iter()
                    .position(|&index| own.is_empty() || covers[index].axes.iter().any(|axis| axes.contains(axis)))
                {
                    let index = open.remove(found);
                    own.push(index);
                    for (&axis, &length) in covers[index].axes.iter().zip(&covers[index].lengths) {
                        if shape.get(axis).and_then(crate::graph::Dim::known) != Some(length) {
                            return Err(RemoveError::Stale(format!("shape of {:?}", source.name)));
                        }
                        if !axes.contains(&axis) {
                            axes.push(axis);
                            before.push(length);
                        }
                    }
                }
                let total: usize = before.iter().product();
                let mut stays = vec![true; total];
                for cover in own.iter().map(|&index| &covers[index]) {
                    let strides = strides(&axes, &before, &cover.axes, &cover.lengths);
                    for (place, stays) in stays.iter_mut().enumerate() {
                        let group = cover.groups[locate(place, &before, &strides)];
                        *stays &= !gone[group.index()];
                    }
                }
                if stays.iter().all(|&stays| stays) {
                    continue;
                }
                let after = rectangle(&stays, &before).ok_or_else(|| RemoveError::Ragged(source.name.clone()))?;
                if after.contains(&0) {
                    return Err(RemoveError::Empty(source.name.clone()));
                }
                let places = stays.iter().enumerate().filter(|(_, stays)| **stays).map(|(place, _)| place).collect();
                parts.push(Part { axes, before, after, places });
            }
            if !parts.is_empty() {
                all.insert(value, parts);
            }
        }
        Ok(Self(all))
    }

    /// Every value that loses something, in the order of its handle.
    pub(super) fn values(&self) -> impl Iterator<Item = ValueId> + use<> {
        let mut values: Vec<ValueId> = self.0.keys().copied().collect();
        values.sort_unstable();
        values.into_iter()
    }

    /// Whether a value loses something.
    pub(super) fn has(&self, value: ValueId) -> bool {
        self.0.contains_key(&value)
    }

    fn part(&self, value: ValueId, axis: usize) -> Option<(&Part, usize)> {
        let parts = self.0.get(&value)?;
        parts.iter().find_map(|part| Some((part, part.axes.iter().position(|&own| own == axis)?)))
    }

    /// The new length of an axis, if it may have changed.
    pub(super) fn length(&self, value: ValueId, axis: usize) -> Option<usize> {
        self.part(value, axis).map(|(part, place)| part.after[place])
    }

    /// Positions along an axis that stay, for each row of the block it is in; `None` if all do.
    pub(super) fn rows(&self, value: ValueId, axis: usize) -> Option<Vec<Vec<usize>>> {
        let (part, level) = self.part(value, axis)?;
        let inner: usize = part.before[level + 1..].iter().product();
        let length = part.before[level];
        let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
        for &place in &part.places {
            let (row, position) = (place / inner / length, place / inner % length);
            match rows.last_mut() {
                Some((last, positions)) if *last == row => {
                    if positions.last() != Some(&position) {
                        positions.push(position);
                    }
                }
                _ => rows.push((row, vec![position])),
            }
        }
        Some(rows.into_iter().map(|(_, positions)| positions).collect())
    }

    /// How many positions before `position` stay, if that is the same in every row.
    pub(super) fn before(&self, value: ValueId, axis: usize, position: usize) -> Option<usize> {
        let Some(rows) = self.rows(value, axis) else { return Some(position) };
        let mut counts = rows.iter().map(|row| row.iter().filter(|&&own| own < position).count());
        let first = counts.next()?;
        counts.all(|count| count == first).then_some(first)
    }

    /// The data of a value without what goes.
    pub(super) fn narrow(&self, value: ValueId, data: &Tensor) -> Result<Tensor, RemoveError> {
        let mut data = data.clone();
        for part in self.0.get(&value).map_or(&[][..], Vec::as_slice) {
            data = gather(&data, part)?;
        }
        Ok(data)
    }
}

/// For each of `axes`, how far apart its positions lie in a cover over `own` axes (0 where the cover lacks it).
fn strides(axes: &[usize], _lengths: &[usize], own: &[usize], own_lengths: &[usize]) -> Vec<usize> {
    axes.iter()
        .map(|axis| {
            own.iter().position(|other| other == axis).map_or(0, |place| own_lengths[place + 1..].iter().product())
        })
        .collect()
}

/// Where a place of a block with these lengths lies under other strides.
fn locate(place: usize, lengths: &[usize], strides: &[usize]) -> usize {
    let (mut rest, mut found) = (place, 0);
    for (&length, &stride) in lengths.iter().zip(strides).rev() {
        found += rest % length * stride;
        rest /= length;
    }
    found
}

/// The lengths of what stays of a block, if every row that does not go as a whole keeps equally much. A row of which nothing
/// stays has gone.
fn rectangle(stays: &[bool], lengths: &[usize]) -> Option<Vec<usize>> {
    let Some((_, rest)) = lengths.split_first() else { return Some(Vec::new()) };
    if rest.is_empty() {
        return Some(vec![stays.iter().filter(|&&stays| stays).count()]);
    }
    let inner: usize = rest.iter().product();
    let mut common: Option<Vec<usize>> = None;
    let mut count = 0;
    for row in stays.chunks(inner.max(1)).filter(|row| row.iter().any(|&stays| stays)) {
        let own = rectangle(row, rest)?;
        count += 1;
        if *common.get_or_insert_with(|| own.clone()) != own {
            return None;
        }
    }
    let mut all = vec![count];
    all.extend(common.unwrap_or_else(|| vec![0; rest.len()]));
    Some(all)
}

fn gather(data: &Tensor, part: &Part) -> Result<Tensor, RemoveError> {
    let shape = data.shape();
    let mut new_shape = shape.to_vec();
    part.axes.iter().zip(&part.after).for_each(|(&axis, &length)| new_shape[axis] = length);
    let Some((size, patterns)) = data.to_patterns() else {
        return Err(RemoveError::Stale("a tensor of strings was coupled".into()));
    };
    let mut strides = vec![1usize; shape.len()];
    for axis in (0..shape.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1] * shape[axis + 1];
    }
    let block_strides: Vec<usize> = part.axes.iter().map(|&axis| strides[axis]).collect();
    let offsets: Vec<usize> = part.places.iter().map(|&place| locate(place, &part.before, &block_strides)).collect();
    // Where a new element lies: its place in the block gives the offset, its other axes their own strides.
    let mut block_index = vec![0usize; shape.len()];
    for (place, &axis) in part.axes.iter().enumerate() {
        block_index[axis] = part.after[place + 1..].iter().product();
    }
    let other: Vec<usize> =
        (0..shape.len()).map(|axis| if part.axes.contains(&axis) { 0 } else { strides[axis] }).collect();
    // Axes behind the last one of the block are copied as runs.
    let run_start = part.axes.iter().max().map_or(0, |&axis| axis + 1);
    let run: usize = new_shape[run_start..].iter().product();
    let count: usize = new_shape[..run_start].iter().product();
    let mut result = Vec::with_capacity(count * run * size);
    for index in 0..count {
        let (mut rest, mut block, mut offset) = (index, 0, 0);
        for axis in (0..run_start).rev() {
            let position = rest % new_shape[axis];
            rest /= new_shape[axis];
            block += position * block_index[axis];
            offset += position * other[axis];
        }
        let start = (offset + offsets[block]) * size;
        result.extend_from_slice(&patterns[start..start + run * size]);
    }
    Ok(Tensor::from_patterns(data.element_type(), new_shape, &result)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_may_keep_different_places() {
        let stays = [true, false, true, false, true, true].map(|stays| stays);
        assert_eq!(rectangle(&stays, &[2, 3]), Some(vec![2, 2]));
        assert_eq!(rectangle(&[true, false, false, false], &[2, 2]), Some(vec![1, 1]));
        assert_eq!(rectangle(&[true, false, true, true], &[2, 2]), None);
    }

    #[test]
    fn data_is_gathered_along_a_transposed_block() {
        // Heads lie on axis 1, their inner positions on axis 0.
        let data = Tensor::from_values(vec![3, 2], vec![0f32, 10., 1., 11., 2., 12.]).unwrap();
        let part = Part { axes: vec![1, 0], before: vec![2, 3], after: vec![2, 2], places: vec![0, 2, 4, 5] };
        let narrow = gather(&data, &part).unwrap();
        assert_eq!(narrow.shape(), [2, 2]);
        assert_eq!(narrow.values::<f32>().unwrap().as_ref(), &[0., 11., 2., 12.]);
    }
}
