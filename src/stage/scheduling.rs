//! Settings that every stage may have: when it is done and with what, never what comes out. None of them is in a fingerprint.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{BUDGET, Block, Budget, ConfigError, Fallback, Kind, MATRIX, Setting, Slot, StageDecl};

static TIMEOUT: Setting = Setting::new("timeout", "Ends an attempt that takes longer, with all that it started.").without_effect().arguments(&[Slot::new(
    "time",
    Kind::Duration,
    "The longest that an attempt may take.",
)]);
static RETRY: Setting = Setting::new("retry", "Tries again what failed for a reason that may pass.")
    .without_effect()
    .arguments(&[Slot::new("times", Kind::Integer(1, 100), "How often after the first attempt.")])
    .properties(&[Slot::new("delay", Kind::Duration, "The wait before the second attempt; it doubles with each.").or(Fallback::Integer(1000))]);
static RESOURCES: Setting = Setting::new("resources", "What the stage needs of the machine while it runs.").without_effect().properties(&[
    Slot::new("cpu", Kind::Integer(1, 4096), "Cores; `--jobs` is how many there are to give.").or(Fallback::Integer(1)),
    Slot::new("memory", Kind::Size, "Memory.").or(Fallback::Integer(0)),
    Slot::new("gpu", Kind::Integer(0, 1024), "GPUs. A command sees only those that it was given, by CUDA_VISIBLE_DEVICES.").or(Fallback::Integer(0)),
]);
static FROZEN: Setting = Setting::new("frozen", "Keeps the last result whatever changes, once there is one.").without_effect();
static ALWAYS: Setting = Setting::new("always", "Runs every time. What comes after it runs only if its result changed.").without_effect();

/// The settings that every stage may have.
pub static SETTINGS: &[&Setting] = &[&TIMEOUT, &RETRY, &RESOURCES, &FROZEN, &ALWAYS, &BUDGET, &MATRIX];

/// The settings of a kind, and those that every stage may have.
pub fn with(own: &[&'static Setting]) -> Vec<&'static Setting> {
    own.iter().chain(SETTINGS).copied().collect()
}

/// When a stage whose result is there is done again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rerun {
    /// When its fingerprint changed.
    #[default]
    Changed,
    /// Every time.
    Always,
    /// Never.
    Never,
}

/// What a stage needs of the machine while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Cores.
    pub cpus: usize,
    /// Bytes of memory; 0 where nothing is said.
    pub memory: u64,
    /// GPUs.
    pub gpus: usize,
}

impl Default for Resources {
    fn default() -> Self {
        Self { cpus: 1, memory: 0, gpus: 0 }
    }
}

/// When a stage is done, how often, and with what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scheduling {
    /// When it is done again.
    pub rerun: Rerun,
    /// The longest that an attempt may take.
    pub timeout: Option<Duration>,
    /// How often it is tried again.
    pub retries: u32,
    /// The wait before the second attempt.
    pub delay: Duration,
    /// What it needs.
    pub resources: Resources,
    /// What it may spend, together with what its instances do where it has any.
    pub budget: Budget,
}

/// Reads the scheduling of a declared stage.
///
/// # Errors
/// When it is to be done always and never.
pub fn scheduling(stage: &StageDecl) -> Result<Scheduling, ConfigError> {
    let block = &stage.block;
    let rerun = match (block.child(FROZEN.name), block.child(ALWAYS.name)) {
        (Some(_), Some(always)) => {
            return Err(ConfigError::Contradiction {
                problem: format!("`{}` is to run always, and never again", stage.name),
                label: "contradicts `frozen`".into(),
                at: always.name_span.into(),
                help: "keep one of the two".into(),
            });
        }
        (Some(_), None) => Rerun::Never,
        (None, Some(_)) => Rerun::Always,
        (None, None) => Rerun::Changed,
    };
    let retry = block.child(RETRY.name);
    Ok(Scheduling {
        rerun,
        timeout: block.child(TIMEOUT.name).map(|timeout| timeout.duration("time")),
        retries: retry.map_or(0, |retry| u32::try_from(retry.integer("times")).unwrap_or_default()),
        delay: retry.map_or(Duration::ZERO, |retry| retry.duration("delay")),
        resources: block.child(RESOURCES.name).map(resources).unwrap_or_default(),
        budget: block.child(BUDGET.name).map(Budget::of).transpose()?.unwrap_or_default(),
    })
}

fn resources(block: &Block) -> Resources {
    Resources { cpus: block.count("cpu"), memory: block.integer("memory").unsigned_abs(), gpus: block.count("gpu") }
}
