//! The project's own checks, benchmarks and generators.

fn main() {}
