//! In which steps a network shrinks.

use std::str::FromStr;

/// In which steps a network shrinks. Progress p goes from 0 (the original) to 1 (the target); k is what is kept at the target,
/// as a part of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Schedule {
    /// All at once.
    OneShot,
    /// The same part of what is left in each round: k^p (Han et al. 2015; Renda et al. 2020).
    #[default]
    Geometric,
    /// Much at first, little at the end: k + (1 − k)(1 − p)³ (Zhu and Gupta 2017).
    Cubic,
}

impl Schedule {
    /// What is kept at a progress.
    pub fn kept(self, progress: f64, target: f64) -> f64 {
        match self {
            _ if progress <= 0.0 => 1.0,
            _ if progress >= 1.0 => target,
            // Towards nothing at all a geometric series never comes.
            Self::OneShot | Self::Geometric => target.max(1e-6).powf(progress),
            Self::Cubic => target + (1.0 - target) * (1.0 - progress).powi(3),
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneShot => "one-shot",
            Self::Geometric => "geometric",
            Self::Cubic => "cubic",
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::OneShot, Self::Geometric, Self::Cubic]
            .into_iter()
            .find(|schedule| schedule.name() == text)
            .ok_or_else(|| format!("expected one-shot, geometric or cubic, found {text:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_begin_with_all_and_end_at_the_target() {
        for schedule in [Schedule::OneShot, Schedule::Geometric, Schedule::Cubic] {
            assert_eq!(schedule.kept(0.0, 0.1), 1.0);
            assert_eq!(schedule.kept(1.0, 0.1), 0.1);
            let kept: Vec<_> = (0..=10).map(|tenth| schedule.kept(f64::from(tenth) / 10.0, 0.1)).collect();
            assert!(kept.windows(2).all(|pair| pair[1] < pair[0]), "{schedule:?}: {kept:?}");
        }
        assert!((Schedule::Geometric.kept(0.5, 0.25) - 0.5).abs() < 1e-12);
        assert!((Schedule::Cubic.kept(0.5, 0.2) - 0.3).abs() < 1e-12);
        assert_eq!("cubic".parse(), Ok(Schedule::Cubic));
        assert!("square".parse::<Schedule>().is_err());
    }
}
