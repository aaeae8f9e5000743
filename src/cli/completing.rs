//! What a shell offers while a command is written: stages, runs, aliases and profiles of what is here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;

use clap_complete::CompletionCandidate;

use crate::config::Overrides;
use crate::engine::{Recipe, Workspace, discover};
use crate::ledger;

/// The stages of the pipeline that is meant where none is named, and the names that mean all instances of one.
pub fn stages(begun: &OsStr) -> Vec<CompletionCandidate> {
    let Some(recipe) = recipe() else {
        return Vec::new();
    };
    let stems: BTreeSet<String> = recipe.stages.iter().map(|stage| stage.name.stem().to_owned()).collect();
    let names: BTreeSet<String> = recipe.stages.iter().map(|stage| stage.name.to_string()).collect();
    offered(begun, stems.into_iter().chain(names).collect::<BTreeSet<_>>())
}

/// Stages and pipelines: both may stand where a command takes words.
pub fn words(begun: &OsStr) -> Vec<CompletionCandidate> {
    let mut all = stages(begun);
    all.extend(offered(begun, pipelines()));
    all
}

/// Runs by their names and ids, the latest first.
pub fn runs(begun: &OsStr) -> Vec<CompletionCandidate> {
    let workspace = Workspace::look(&discover(None).unwrap_or_else(|_| "retune.kdl".into()));
    let runs = ledger::runs(&workspace.store.root().join("runs"));
    let names = runs.iter().flat_map(|run| run.name().map(str::to_owned).into_iter().chain([run.id.to_string()]));
    offered(begun, ["last".to_owned()].into_iter().chain(names.take(40)))
}

fn recipe() -> Option<Recipe> {
    Recipe::load(&discover(None).ok()?, &Overrides::default()).ok()
}

/// The pipelines of this folder and of `pipelines/`.
fn pipelines() -> BTreeSet<String> {
    let listed = |folder: &str| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_pipeline = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".kdl") && !name.ends_with(".lock.kdl")
    };
    let named = |path: std::path::PathBuf| path.strip_prefix(".").unwrap_or(&path).display().to_string();
    listed(".").chain(listed("pipelines")).filter(|path| is_pipeline(path)).map(named).collect()
}

fn offered(begun: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    names.into_iter().filter(|name| name.starts_with(&*begun)).map(CompletionCandidate::new).collect()
}
