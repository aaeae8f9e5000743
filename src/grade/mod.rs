//! From answers to a decision: graders give scores, statistics give intervals, gates give verdicts.

mod gate;
pub mod grader;
mod losses;
mod metrics;
pub mod openai;
mod slices;
pub mod statistics;

pub use gate::{Bound, Gate, GateResult, Open, Outcome, Verdict, chance};
pub use losses::{LOSS_GAP, loss_figures, loss_gap};
pub use metrics::{Metrics, Reply, Scores, Took, measure, names};
pub use slices::{OVERFIT_GAP, SLICE_GAP, Slice, overfit_gap, slice_gap, slices};
pub use statistics::count;
