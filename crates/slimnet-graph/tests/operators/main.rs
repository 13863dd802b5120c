//! What holds for every operator, tried on a sample node of each.

mod hostile;
mod samples;
mod table;
