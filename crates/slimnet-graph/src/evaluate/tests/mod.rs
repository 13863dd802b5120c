//! Known values of operators, by family.
