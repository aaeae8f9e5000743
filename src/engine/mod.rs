//! From a pipeline to its results: what would be done and why (plan), and doing it (run).

mod error;
mod explain;
mod memory;
mod notice;
mod plan;
mod recipe;
mod resolve;
mod run;
mod scheduler;
mod settle;
mod summary;
mod worker;
mod workspace;

pub use error::EngineError;
pub use notice::{Notice, Observer};
pub use plan::{Plan, PlannedAction, PlannedStage, Standing, plan};
pub use recipe::{ActionNode, NodeInput, Recipe, StageNode};
pub use run::{Finished, RunOptions, Start};
pub use summary::{PlanSummary, PlannedActionSummary, PlannedStageSummary, RunStatus, RunSummary, StageSummary};
pub use workspace::{Workspace, discover};
