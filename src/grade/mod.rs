//! From answers to a decision: graders give scores, statistics give intervals, gates give verdicts.

mod gate;
pub mod grader;
mod metrics;
pub mod statistics;

pub use gate::{Gate, GateResult, Verdict};
pub use metrics::{Metrics, Scores, measure};
