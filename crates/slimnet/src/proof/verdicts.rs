//! What did not pay, in words.

use crate::report::number::difference;
use crate::report::proof::{BatchProof, NetworkProof, Timing};

/// A size or time that is no less than this part of what it was is no gain: the machine's mood is as large.
const NO_GAIN: f64 = 0.95;

/// Zeros are a promise from this share of the weights on, beyond those of the first network.
const WORTH_NAMING: f64 = 0.1;

/// How far outputs of two runtimes may lie apart, as a part of the largest value.
const TOLERANCE: f64 = 1e-4;

/// One sentence for each promise that a network, compared with the first, does not keep.
pub(super) fn verdicts(networks: &[NetworkProof]) -> Vec<String> {
    let Some((first, others)) = networks.split_first() else { return Vec::new() };
    others.iter().flat_map(|after| Comparison { before: first, after }.verdicts()).collect()
}

/// One sentence for each network that the runtimes do not agree on.
pub(super) fn disagreements(networks: &[NetworkProof]) -> Vec<String> {
    networks.iter().filter_map(unequal).collect()
}

/// Whether runtimes do not agree on what the network computes.
fn unequal(network: &NetworkProof) -> Option<String> {
    let found = network.difference_of_runtimes?;
    let relative = found.relative().unwrap_or(0.0);
    let name = &network.network;
    if found.not_comparable > 0 {
        return Some(format!("{name}: own or ort computes values that are not finite where the other does not"));
    }
    (relative > TOLERANCE).then(|| {
        let (found, allowed) = (difference(relative), difference(TOLERANCE));
        format!("{name}: own and ort differ by {found} of the largest value; {allowed} is rounding, in a quantized network a step")
    })
}

/// A network beside the one it was made from.
struct Comparison<'a> {
    before: &'a NetworkProof,
    after: &'a NetworkProof,
}

impl Comparison<'_> {
    fn verdicts(&self) -> Vec<String> {
        if !self.has_more_zeros() && !self.has_fewer_macs() && self.fewer_parameters().is_none() {
            return Vec::new();
        }
        let sentences = [self.file(), self.ort(), self.own(), self.sparse(), self.memory()].into_iter().flatten();
        sentences.map(|sentence| format!("{}: {sentence}", self.after.network)).collect()
    }

    fn has_more_zeros(&self) -> bool {
        self.after.zeros() >= self.before.zeros() + WORTH_NAMING
    }

    fn has_fewer_macs(&self) -> bool {
        self.after.macs < self.before.macs
    }

    /// The share of parameters that are gone.
    fn fewer_parameters(&self) -> Option<f64> {
        (self.after.parameters < self.before.parameters)
            .then(|| 1.0 - self.after.parameters as f64 / self.before.parameters as f64)
    }

    /// What was promised for the time.
    fn promise(&self) -> String {
        if !self.has_fewer_macs() {
            return String::new();
        }
        let share = 1.0 - self.after.macs as f64 / self.before.macs as f64;
        format!("{} fewer MACs, but ", percent(share))
    }

    fn file(&self) -> Option<String> {
        if (self.after.file_bytes as f64) < NO_GAIN * self.before.file_bytes as f64 {
            return None;
        }
        if self.has_more_zeros() {
            let zeros = percent(self.after.zeros());
            return Some(format!(
                "{zeros} of the weights are 0, but the file is not smaller: zeros take as many bytes"
            ));
        }
        let fewer = self.fewer_parameters().filter(|fewer| *fewer > 1.0 - NO_GAIN)?;
        Some(format!("{} fewer parameters, but the file is not smaller", percent(fewer)))
    }

    fn ort(&self) -> Option<String> {
        let places = self.not_faster(|batch| batch.ort)?;
        let why = if self.has_fewer_macs() { "" } else { ": zeros are multiplied there" };
        Some(format!("{}not clearly faster in ort {places}{why}", self.promise()))
    }

    fn own(&self) -> Option<String> {
        let places = self.not_faster(|batch| batch.own_sparse.or(batch.own_dense))?;
        let is_sparse = self.after.batches.iter().any(|batch| batch.own_sparse.is_some());
        let why = match (self.has_fewer_macs(), is_sparse) {
            (true, _) => "",
            (false, true) => ", although zeros are left out",
            (false, false) => ": no layer has zeros enough to leave them out",
        };
        Some(format!("{}not clearly faster in own {places}{why}", self.promise()))
    }

    /// Whether kernels that leave zeros out are slower than those that multiply them.
    fn sparse(&self) -> Option<String> {
        let slower = self.after.batches.iter().filter_map(|batch| {
            let part = batch.own_sparse?.milliseconds.median / batch.own_dense?.milliseconds.median.max(1e-6);
            (part > 1.0 / NO_GAIN).then_some((batch.batch, part))
        });
        let places = at(slower, "the time")?;
        Some(format!("leaving zeros out is slower in own than multiplying them {places}"))
    }

    fn memory(&self) -> Option<String> {
        let pairs = self.before.batches.iter().zip(&self.after.batches);
        let larger = pairs.filter_map(|(before, after)| {
            let part = after.memory_bytes? as f64 / before.memory_bytes?.max(1) as f64;
            (part > 1.0).then_some((after.batch, part))
        });
        Some(format!("takes more memory {}", at(larger, "as much")?))
    }

    /// The batches at which it is not faster.
    fn not_faster(&self, timing: impl Fn(&BatchProof) -> Option<Timing>) -> Option<String> {
        if !self.has_fewer_macs() && !self.has_more_zeros() {
            return None;
        }
        let parts = self.after.batches.iter().filter_map(|batch| Some((batch.batch, timing(batch)?.part_of_first?)));
        at(parts.filter(|(_, part)| *part >= NO_GAIN), "the time")
    }
}

/// `at batch 1 (1.02 × the time) and 64 (1.31 × the time)`; nothing if there is none.
fn at(parts: impl Iterator<Item = (usize, f64)>, unit: &str) -> Option<String> {
    let parts: Vec<_> = parts.map(|(batch, part)| format!("{batch} ({part:.2} × {unit})")).collect();
    (!parts.is_empty()).then(|| format!("at batch {}", parts.join(" and ")))
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Difference;
    use crate::report::bench::Spread;

    #[allow(clippy::unnecessary_wraps)] // as it is in reports
    fn timing(milliseconds: f64, part: f64) -> Option<Timing> {
        let milliseconds = Spread { median: milliseconds, percentile_10: milliseconds, percentile_90: milliseconds };
        Some(Timing { runs: 3, milliseconds, part_of_first: Some(part) })
    }

    fn network(name: &str) -> NetworkProof {
        let at = |batch, time| BatchProof {
            batch,
            memory_bytes: Some(1000),
            own_dense: timing(time, 1.0),
            own_sparse: None,
            ort: timing(time, 1.0),
        };
        NetworkProof {
            network: name.to_owned(),
            file_bytes: 1000,
            parameters: 100,
            nonzero_parameters: 100,
            macs: 1000,
            nodes_of_unknown_macs: 0,
            batches: vec![at(1, 1.0), at(64, 50.0)],
            difference_of_runtimes: None,
            validation: None,
            test: None,
        }
    }

    #[test]
    fn what_promised_nothing_is_not_scolded() {
        assert!(verdicts(&[]).is_empty());
        assert!(verdicts(&[network("before"), network("after")]).is_empty());
    }

    #[test]
    fn zeros_do_not_pay_by_themselves() {
        let mut after = network("after");
        after.nonzero_parameters = 10;
        let expected = [
            "after: 90.0 % of the weights are 0, but the file is not smaller: zeros take as many bytes",
            "after: not clearly faster in ort at batch 1 (1.00 × the time) and 64 (1.00 × the time): zeros are multiplied there",
            "after: not clearly faster in own at batch 1 (1.00 × the time) and 64 (1.00 × the time): no layer has zeros enough to \
             leave them out",
        ];
        assert_eq!(verdicts(&[network("before"), after.clone()]), expected);
        // Kernels that leave them out gain at batch 1 and lose at 64; the file is compressed.
        after.file_bytes = 200;
        after.batches[0].own_sparse = timing(0.5, 0.5);
        after.batches[1].own_sparse = timing(60.0, 1.2);
        after.batches[1].memory_bytes = Some(1500);
        let expected = [
            expected[1],
            "after: not clearly faster in own at batch 64 (1.20 × the time), although zeros are left out",
            "after: leaving zeros out is slower in own than multiplying them at batch 64 (1.20 × the time)",
            "after: takes more memory at batch 64 (1.50 × as much)",
        ];
        assert_eq!(verdicts(&[network("before"), after.clone()]), expected);
        // The network that it is compared with had as many zeros: they are no promise.
        assert!(verdicts(&[after.clone(), after]).is_empty());
    }

    #[test]
    fn fewer_macs_must_show_in_time() {
        let mut after = network("after");
        (after.parameters, after.nonzero_parameters, after.macs) = (60, 60, 680);
        after.batches[0].ort = timing(0.97, 0.97);
        after.batches[1].ort = timing(35.0, 0.7);
        (after.batches[0].own_dense, after.batches[1].own_dense) = (timing(0.7, 0.7), timing(35.0, 0.7));
        let expected = [
            "after: 40.0 % fewer parameters, but the file is not smaller",
            "after: 32.0 % fewer MACs, but not clearly faster in ort at batch 1 (0.97 × the time)",
        ];
        assert_eq!(verdicts(&[network("before"), after.clone()]), expected);
        // What was not measured is not judged, and a file that is smaller is praised by the table alone.
        after.file_bytes = 600;
        after.batches[0].ort = None;
        assert!(verdicts(&[network("before"), after]).is_empty());
    }

    #[test]
    fn runtimes_must_agree() {
        let mut before = network("before");
        let difference = Difference { largest_difference: 0.01, largest_value: 10.0, ..Difference::default() };
        before.difference_of_runtimes = Some(difference);
        let expected = "before: own and ort differ by 1.0e-3 of the largest value; 1.0e-4 is rounding, in a quantized \
                        network a step";
        assert_eq!(disagreements(&[before.clone()])[0].replace("0.001", "1.0e-3"), expected);
        before.difference_of_runtimes = Some(Difference { largest_difference: 1e-4, ..difference });
        assert!(disagreements(&[before.clone()]).is_empty());
        before.difference_of_runtimes = Some(Difference { not_comparable: 1, ..Difference::default() });
        assert!(disagreements(&[before])[0].contains("not finite"));
    }
}
