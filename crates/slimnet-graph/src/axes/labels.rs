//! Labels of positions, united where positions must go together.

use std::collections::HashMap;
use std::sync::Arc;

/// A label of positions. Positions with labels of one class are removed together.
pub(super) type Label = u32;

/// Handle of a [`super::Reason`] in the pass.
pub(super) type ReasonId = u32;

/// Labels and their rows.
type KnownRows = (Arc<[Label]>, Arc<[Label]>);

/// Union-find over labels, with the reasons for which classes are frozen, and rows.
#[derive(Debug, Default)]
pub(super) struct Labels {
    parent: Vec<Label>,
    frozen: Vec<Option<ReasonId>>,
    /// A row's label and its members: the row is removed if and only if all its members are.
    rows: Vec<(Label, Vec<Label>)>,
    /// Rows that were made, by the labels (their place in memory, which the entry keeps alive) and the row's length.
    known_rows: HashMap<(usize, usize), KnownRows>,
    /// While set, nothing is united or frozen: what the pass would be without a rule.
    pub(super) muted: bool,
}

impl Labels {
    /// A new label.
    pub(super) fn fresh(&mut self) -> Label {
        let label = self.parent.len() as Label;
        self.parent.push(label);
        self.frozen.push(None);
        label
    }

    /// New labels for `count` positions.
    pub(super) fn fresh_axis(&mut self, count: usize) -> Arc<[Label]> {
        (0..count).map(|_| self.fresh()).collect()
    }

    /// The class's own label.
    pub(super) fn find(&mut self, label: Label) -> Label {
        let mut label = label as usize;
        while self.parent[label] as usize != label {
            self.parent[label] = self.parent[self.parent[label] as usize];
            label = self.parent[label] as usize;
        }
        label as Label
    }

    /// Makes two labels one class.
    pub(super) fn unite(&mut self, a: Label, b: Label) {
        if self.muted {
            return;
        }
        let (a, b) = (self.find(a), self.find(b));
        let (root, child) = (a.min(b) as usize, a.max(b) as usize);
        self.parent[child] = root as Label;
        self.frozen[root] = self.frozen[root].or(self.frozen[child]);
    }

    /// Makes labels at equal places one class.
    pub(super) fn unite_all(&mut self, a: &[Label], b: &[Label]) {
        for (&a, &b) in a.iter().zip(b) {
            self.unite(a, b);
        }
    }

    /// Forbids the removal of a class; the first reason stays.
    pub(super) fn freeze(&mut self, label: Label, reason: ReasonId) {
        if self.muted {
            return;
        }
        let root = self.find(label) as usize;
        self.frozen[root].get_or_insert(reason);
    }

    /// Forbids the removal of all these.
    pub(super) fn freeze_all(&mut self, labels: &[Label], reason: ReasonId) {
        for &label in labels {
            self.freeze(label, reason);
        }
    }

    /// Why a class must stay.
    pub(super) fn frozen(&mut self, label: Label) -> Option<ReasonId> {
        let root = self.find(label) as usize;
        self.frozen[root]
    }

    /// One label for each row of `inner` consecutive labels, removed if and only if the whole row is.
    pub(super) fn rows(&mut self, labels: &Arc<[Label]>, inner: usize) -> Arc<[Label]> {
        if inner <= 1 {
            return labels.clone();
        }
        let key = (Arc::as_ptr(labels).cast::<Label>() as usize, inner);
        if let Some((_, rows)) = self.known_rows.get(&key) {
            return rows.clone();
        }
        let rows: Arc<[Label]> = labels.chunks(inner).map(|row| self.row(row)).collect();
        self.known_rows.insert(key, (labels.clone(), rows.clone()));
        rows
    }

    /// Labels of rows that lie side by side, in the order in which they were made.
    pub(super) fn row_axes(&self) -> Vec<Arc<[Label]>> {
        let mut all: Vec<_> = self.known_rows.values().map(|(_, rows)| rows.clone()).collect();
        all.sort_unstable();
        all
    }

    fn row(&mut self, members: &[Label]) -> Label {
        let mut members: Vec<_> = members.iter().map(|&label| self.find(label)).collect();
        members.sort_unstable();
        members.dedup();
        if let [one] = members[..] {
            return one;
        }
        let row = self.fresh();
        self.rows.push((row, members));
        row
    }

    /// The rows in terms of classes: those of equal members united, those with a frozen member frozen. A row whose members
    /// became one class is that class.
    pub(super) fn settle_rows(&mut self) -> Vec<(Label, Vec<Label>)> {
        self.muted = false;
        let mut rows = std::mem::take(&mut self.rows);
        let mut before = usize::MAX;
        while rows.len() < before {
            before = rows.len();
            let mut known: HashMap<Vec<Label>, Label> = HashMap::new();
            for (row, mut members) in std::mem::take(&mut rows) {
                for member in &mut members {
                    *member = self.find(*member);
                }
                members.sort_unstable();
                members.dedup();
                if let [one] = members[..] {
                    self.unite(row, one);
                } else if let Some(&equal) = known.get(&members) {
                    self.unite(row, equal);
                } else {
                    known.insert(members.clone(), row);
                    rows.push((row, members));
                }
            }
        }
        for (row, members) in &mut rows {
            *row = self.find(*row);
            for member in members {
                *member = self.find(*member);
            }
        }
        // A row that contains itself (its label was united with a member) is an ordinary class: all go together.
        let (looped, rows): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(row, members)| members.contains(row));
        for (row, members) in looped {
            for member in members {
                self.unite(row, member);
            }
        }
        let mut changed = true;
        while changed {
            changed = false;
            for (row, members) in &rows {
                let reason = members.iter().find_map(|&member| self.frozen(member));
                if let (None, Some(reason)) = (self.frozen(*row), reason) {
                    self.freeze(*row, reason);
                    changed = true;
                }
            }
        }
        rows.into_iter()
            .map(|(row, members)| (self.find(row), members.into_iter().map(|member| self.find(member)).collect()))
            .collect()
    }
}
