//! The kinds of stages. A kind is one file (or folder) here and one line in [`KINDS`]: its table of
//! settings, the actions that it compiles to with what their keys cover, and the work that they do.

mod action;
mod checkpoints;
mod collect;
mod copied;
mod deploy;
mod error;
mod evaluate;
mod exec;
mod look;
mod made;
mod prepare;
mod providers;
mod retiring;
mod scheduling;
mod select;
mod spent;
mod train;

use crate::config::{ConfigError, Language, Setting, StageDecl};

pub use action::{Action, Compiler, Context, Effect, Estimate, FileSource, Given, Input, Refresh, Source, Work};
pub use copied::LARGE;
pub use deploy::{Beside, Decision, Tallies, inform, live_graders};
pub use error::StageError;
pub use evaluate::{ANSWERS, Mistakes, answers_of};
pub use exec::{Guard, guard, has_program};
pub use look::{DataAsked, DataCheck, Look, RowAsked, StepAsked};
pub use prepare::{KEPT, ROWS_TEMPLATES};
pub use retiring::retiring;
pub use scheduling::{Rerun, Resources, Scheduling, scheduling};
pub use select::{CHOICE, Ranked};
pub use spent::{SPENT, TOKENS_IN, TOKENS_OUT, USD, USD_PAID};
pub use train::FLIGHT_OUTPUT;

/// A kind of stage.
#[derive(Clone, Copy, Debug)]
pub struct StageKind {
    /// Its settings.
    pub setting: &'static Setting,
    /// Compiles a declared stage to actions.
    pub compile: fn(&StageDecl, &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError>,
    /// Whether its result is for people or the world, and not for other stages alone.
    pub is_end: bool,
}

/// All kinds of stages.
pub const KINDS: &[StageKind] = &[collect::KIND, prepare::KIND, train::KIND, select::KIND, evaluate::KIND, deploy::KIND, exec::KIND];

static SETTINGS: [&Setting; KINDS.len()] = {
    let mut settings = [KINDS[0].setting; KINDS.len()];
    let mut index = 0;
    while index < KINDS.len() {
        settings[index] = KINDS[index].setting;
        index += 1;
    }
    settings
};

/// The language of pipeline files, with all stage kinds and built-in providers.
pub static LANGUAGE: Language = Language { stages: &SETTINGS, providers: crate::provider::BUILT_IN, provider: &crate::provider::SETTING };

pub use train::{card as model_card, load as load_model, takes};

/// Compiles a declared stage to its actions.
///
/// # Errors
/// When its settings make no sense together.
pub fn compile(stage: &StageDecl, compiler: &mut Compiler<'_>) -> Result<Vec<Action>, ConfigError> {
    let kind = KINDS.iter().find(|kind| kind.setting.name == stage.kind);
    kind.map_or_else(|| Ok(Vec::new()), |kind| (kind.compile)(stage, compiler))
}
