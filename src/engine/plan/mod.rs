//! How everything stands before anything is done, and why.

pub mod explain;
pub mod inspecting;
pub mod planning;
pub mod resolve;
pub mod settle;

pub use explain::line;
pub use inspecting::{check_data, inspect, inspect_step};
pub use planning::{Plan, PlannedAction, PlannedStage, Standing, plan};
