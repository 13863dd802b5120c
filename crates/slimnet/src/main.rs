//! The `slimnet` program.

fn main() {}
