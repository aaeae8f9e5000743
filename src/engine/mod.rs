//! From a pipeline to its results: what would be done and why (plan), and doing it (run).

mod accept;
pub mod compare;
mod error;
mod explain;
mod interrupt;
mod memory;
mod notice;
mod origin;
mod plan;
mod pool;
mod provenance;
mod recipe;
mod resolve;
mod run;
mod scheduler;
mod settle;
mod summary;
mod upkeep;
mod worker;
mod workspace;

pub use accept::{AcceptedAction, accept};
pub use error::EngineError;
pub use explain::line;
pub use interrupt::Interrupt;
pub use notice::{Notice, Observer};
pub use plan::{Plan, PlannedAction, PlannedStage, Standing, plan};
pub use pool::Machine;
pub use provenance::statement;
pub use recipe::{ActionNode, NodeInput, Recipe, StageNode};
pub use run::{Finished, RunOptions, Start};
pub use summary::{PlanSummary, PlannedActionSummary, PlannedStageSummary, RunStatus, RunSummary, StageSummary};
pub use upkeep::collect_garbage;
pub use workspace::{Workspace, discover};
