//! Random operators of every family, with random attributes and shapes, against the reference evaluator.
//!
//! Of each case: the kernel takes what inference takes, gives what the reference evaluator gives (what it refuses, the
//! kernel refuses too), never panics, and has the same bits on one, two and three threads; its gradient agrees with the
//! derivative of the reference evaluator along random directions. `RANDOM_CASES` multiplies the number of cases, and
//! `RANDOM_SEED` changes the seed; with `RANDOM_KNOWN` forms are tried of which it is known that they fail.
#![allow(clippy::unnecessary_wraps)] // inputs are optional

mod check;
mod layers;
mod movement;
mod own;
mod window;
