//! How well the tests test: fuzz targets, branch coverage and mutants. See `docs/quality.md`.

pub(crate) mod coverage;
pub(crate) mod fuzz;
pub(crate) mod mutants;
