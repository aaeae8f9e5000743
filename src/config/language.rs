//! The nodes at the top of a pipeline file: those of this folder, and with them the stage kinds and `provider`.

use super::budget::BUDGET;
use super::include::INCLUDE;
use super::table::{Fallback, Kind, Setting, Slot};

/// What the language has beyond this folder's own nodes: the stage kinds and the built-in providers.
#[derive(Clone, Copy, Debug)]
pub struct Language {
    /// The tables of the stage kinds.
    pub stages: &'static [&'static Setting],
    /// The names of the providers that need no declaration.
    pub providers: &'static [&'static str],
    /// The table of a `provider` declaration.
    pub provider: &'static Setting,
}

pub static PIPELINE: Setting = Setting::new("pipeline", "Names the pipeline.")
    .once()
    .arguments(&[Slot::new("name", Kind::Text, "The pipeline's name.")])
    .properties(&[Slot::new("description", Kind::Text, "What it is for.").or(Fallback::Absent)]);

pub static PARAMS: Setting = Setting::new("params", "Values with a name, which a profile or `--set` can change; `(param)\"name\"` takes one.")
    .many()
    .without_effect()
    .open_children(&PARAM);
static PARAM: Setting =
    Setting::new("NAME", "A parameter.").many().arguments(&[Slot::new("value", Kind::Any, "Its value, which also says of which type it is.")]);

pub static PROFILE: Setting = Setting::new("profile", "Changes parameters, providers, the budget and settings of stages where `--profile` names it.")
    .many()
    .without_effect()
    .arguments(&[Slot::new("name", Kind::Text, "The profile's name.")])
    .children(|| vec![&PARAMS, &BUDGET]);

pub static DEFAULTS: Setting = Setting::new("defaults", "Settings for all stages of a kind, where a stage does not say otherwise.").many().without_effect();

impl Language {
    /// The table of a stage kind.
    #[must_use]
    pub fn stage(&self, kind: &str) -> Option<&'static Setting> {
        self.stages.iter().copied().find(|stage| stage.name == kind)
    }

    /// All nodes that may stand at the top of a file.
    #[must_use]
    pub fn nodes(&self) -> Vec<&'static Setting> {
        let own = [&PIPELINE, &PARAMS, &PROFILE, &DEFAULTS, &INCLUDE, &BUDGET, self.provider];
        own.into_iter().chain(self.stages.iter().copied()).collect()
    }

    /// What may stand inside a top-level node: for `profile` and `defaults` the stage kinds too.
    #[must_use]
    pub fn inside(&self, node: &'static Setting) -> Vec<&'static Setting> {
        let mut inside = (node.children)();
        if node.name == PROFILE.name {
            inside.push(self.provider);
        }
        if node.name == PROFILE.name || node.name == DEFAULTS.name {
            inside.extend(self.stages);
        }
        inside
    }
}
