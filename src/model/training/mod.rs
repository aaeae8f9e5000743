//! How a model learns: lessons, steps, and what is kept of them.

pub mod checkpoint;
pub mod examples;
pub mod flight;
pub mod lane;
pub mod lessons;
pub mod objective;
pub mod optimizer;
pub mod schedule;
pub mod trained;
pub mod trainer;
pub mod tuning;
