//! From answers to a decision: graders give scores, statistics give intervals, gates give verdicts.

mod gate;
pub mod grader;
mod metrics;
mod slices;
pub mod statistics;

pub use gate::{Bound, Gate, GateResult, Open, Outcome, Verdict};
pub use metrics::{Metrics, Scores, measure, names};
pub use slices::{OVERFIT_GAP, SLICE_GAP, Slice, overfit_gap, slice_gap, slices};
pub use statistics::count;
