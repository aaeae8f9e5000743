//! From a pipeline to its results: what would be done and why (`plan`), doing it (`run`), and looking back at it (`past`).

mod error;
mod notice;
mod past;
mod plan;
mod recipe;
mod run;
mod summary;
mod workspace;

pub use error::EngineError;
pub use notice::{Notice, Observer};
pub use past::{Account, JobChange, KnownJob, Outlook, SHOWN, change_job, collect_garbage, compare, jobs, lifecycle, statement, told_of_job};
pub use plan::{Plan, PlannedAction, PlannedStage, Standing, check_data, inspect, inspect_step, line, plan};
pub use recipe::{ActionNode, NodeInput, ProviderState, Recipe, StageNode, built_in};
pub use run::{AcceptedAction, Finished, Interrupt, Machine, RunOptions, Start, accept};
pub use summary::{PlanSummary, PlannedActionSummary, PlannedStageSummary, RunStatus, RunSummary, StageSummary};
pub use workspace::{Workspace, discover};
