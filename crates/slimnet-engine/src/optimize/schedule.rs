//! How the rate changes over a run.

use std::fmt;
use std::str::FromStr;

/// How the rate changes over a run: a factor on it as a function of the part of the run that is done.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Half a cosine, from 1 to 0 (Loshchilov and Hutter 2017).
    #[default]
    Cosine,
    /// A straight line, from 1 to 0.
    Linear,
    /// Multiplied by `factor` at each of these parts of the run.
    Step {
        /// Parts of the run, from 0 to 1, rising.
        at: Vec<f64>,
        /// What it is multiplied by.
        factor: f64,
    },
    /// Falls evenly, to `end` at the end.
    Exponential {
        /// The factor at the end.
        end: f64,
    },
}

impl Schedule {
    /// The factor at step `step` of `total`, after a rise from 0 over the first `warm_up` steps.
    pub fn factor(&self, step: u64, total: u64, warm_up: u64) -> f64 {
        if step < warm_up {
            return (step + 1) as f64 / warm_up as f64;
        }
        let part = (step - warm_up) as f64 / total.saturating_sub(warm_up).max(1) as f64;
        match self {
            Self::Constant => 1.0,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * part).cos()),
            Self::Linear => 1.0 - part,
            Self::Step { at, factor } => factor.powi(at.iter().filter(|&&at| part >= at).count() as i32),
            Self::Exponential { end } => end.powf(part),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => write!(formatter, "constant"),
            Self::Cosine => write!(formatter, "cosine"),
            Self::Linear => write!(formatter, "linear"),
            Self::Step { at, factor } => {
                let at: Vec<_> = at.iter().map(ToString::to_string).collect();
                write!(formatter, "step:{}:{factor}", at.join(","))
            }
            Self::Exponential { end } => write!(formatter, "exponential:{end}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected constant, cosine, linear, step:0.5,0.75:0.1 (parts of the run, factor) or exponential:0.01 (factor at the end), found {text:?}"
            )
        };
        let number = |text: &str, low: f64, high: f64| {
            text.parse::<f64>().ok().filter(|number| (low..=high).contains(number)).ok_or_else(wrong)
        };
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["constant"] => Ok(Self::Constant),
            ["cosine"] => Ok(Self::Cosine),
            ["linear"] => Ok(Self::Linear),
            ["step", at, factor] => {
                let at = at.split(',').map(|at| number(at, 0.0, 1.0)).collect::<Result<Vec<_>, _>>()?;
                if at.is_sorted() { Ok(Self::Step { at, factor: number(factor, 0.0, 1.0)? }) } else { Err(wrong()) }
            }
            ["exponential", end] => number(end, f64::MIN_POSITIVE, 1.0).map(|end| Self::Exponential { end }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_read_back_and_do_what_they_say() {
        for (text, points) in [
            ("constant", [1.0, 1.0, 1.0]),
            ("cosine", [1.0, 0.5, 0.0]),
            ("linear", [1.0, 0.5, 0.0]),
            ("step:0.5,0.75:0.1", [1.0, 0.1, 0.01]),
            ("exponential:0.01", [1.0, 0.1, 0.01]),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.to_string(), text);
            for (step, expected) in [0, 50, 100].into_iter().zip(points) {
                assert!((schedule.factor(step, 100, 0) - expected).abs() < 1e-9, "{text} {step}");
            }
            assert_eq!(schedule.factor(0, 110, 10), 0.1);
            assert!((schedule.factor(10, 110, 10) - 1.0).abs() < 1e-9);
        }
        for wrong in ["", "cos", "step:0.7,0.5:0.1", "step:2:0.1", "exponential:0", "step:0.5"] {
            assert!(wrong.parse::<Schedule>().is_err(), "{wrong}");
        }
    }
}
