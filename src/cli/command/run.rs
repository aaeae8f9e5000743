use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::config::in_shell;
use crate::engine::{self, Finished, Interrupt, Recipe, RunOptions, RunStatus, StageNode, StageSummary, Start, Workspace};
use crate::ledger::StageStatus;
use crate::provider::Tape;
use crate::stage::StageError;

use super::super::completing::{stages, words};
use super::super::exit::Exit;
use super::super::format;
use super::super::next::{Step, next, step};
use super::super::print_json;
use super::super::problem::{Problem, print_stage};
use super::super::progress::{Loudness, Screen};
use super::super::speak::{complain, say};
use super::super::table::Table;
use super::super::target::{Changes, Target};

/// A pipeline of more stages shows only those that ran, failed or were skipped.
const LISTED: usize = 50;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file, and stages if not all are wanted; STAGE+ also means all that needs it
    #[arg(value_name = "PIPELINE|STAGE", add = ArgValueCompleter::new(words))]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// How many actions go on at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Go on with what does not need a failed stage
    #[arg(long)]
    keep_going: bool,
    /// Do this stage although its result is there
    #[arg(long, value_name = "STAGE", add = ArgValueCompleter::new(stages))]
    force: Vec<String>,
    /// Fail if anything would be made again
    #[arg(long)]
    locked: bool,
    /// A name for this run, for `runs` and `diff`
    #[arg(long, value_name = "NAME", value_parser = label)]
    name: Option<String>,
    /// A tag for this run
    #[arg(long, value_name = "TAG", value_parser = label)]
    tag: Vec<String>,
    /// Append every event to this file as it happens, as JSON lines
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Keep all exchanges with providers in this folder, without secrets
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Answer requests from this folder: no network, no key
    #[arg(long, value_name = "DIR", conflicts_with = "record")]
    replay: Option<PathBuf>,
    /// Say nothing but what goes wrong
    #[arg(short, long)]
    quiet: bool,
    /// Say all reasons, and what need not be done too
    #[arg(short, long, conflicts_with = "quiet")]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    const fn loudness(&self) -> Loudness {
        match (self.quiet, self.verbose) {
            (true, _) => Loudness::Quiet,
            (false, true) => Loudness::Verbose,
            (false, false) => Loudness::Usual,
        }
    }
}

/// A name or tag of a run as it may be: one word that is not taken for anything else.
fn label(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("it must be one word".into());
    }
    if text == "last" || text.starts_with("last~") {
        return Err("`last` always means the latest run".into());
    }
    if text.len() > 15 && text.as_bytes()[..8].iter().all(u8::is_ascii_digit) && text.as_bytes()[8] == b'-' {
        return Err("it looks like the id of a run".into());
    }
    Ok(text.to_owned())
}

pub fn run(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = Arc::new(arguments.changes.load_aloud(target.pipeline.as_ref())?);
    let workspace = Arc::new(Workspace::open(&recipe.file.path)?);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let again = arguments.changes.again(target.pipeline.as_deref());
    let asked = target.stages.iter().map(|stage| format!(" {}", in_shell(stage))).collect::<String>();
    let options = RunOptions {
        stages: target.stages,
        jobs: arguments.jobs.map_or(cores, usize::from),
        keep_going: arguments.keep_going,
        force: arguments.force.clone(),
        locked: arguments.locked,
        name: arguments.name.clone(),
        tags: arguments.tag.clone(),
        events: arguments.events.clone(),
        tape: tape(arguments)?,
        program: std::env::current_exe().ok(),
        brief: !arguments.json && recipe.stages.len() > LISTED,
    };
    let start = Start::new(Arc::clone(&recipe), Arc::clone(&workspace), options)?;
    let screen = Arc::new(Screen::new(arguments.loudness()));
    let finished = if start.is_done() { start.finish(screen)? } else { go(start, screen, &workspace)? };
    finished.troubles.iter().for_each(|trouble| complain!("warning: {trouble}"));
    for (stage, error) in &finished.errors {
        print_stage(stage, error);
    }
    if arguments.json {
        print_json(&finished.summary)
    } else if !arguments.quiet || finished.summary.status != RunStatus::Ok {
        print(&finished, &recipe, &again, &asked)
    }
    Ok(match finished.summary.status {
        RunStatus::Ok => Exit::Done,
        RunStatus::Failed if finished.errors.iter().any(|(_, error)| error.is_over_budget()) => Exit::OverBudget,
        RunStatus::Failed if finished.errors.iter().any(|(_, error)| error.is_held() || (arguments.locked && error.is_damage())) => Exit::Stale,
        RunStatus::Failed => Exit::Failed,
        RunStatus::Gated => Exit::Gated,
        RunStatus::Interrupted => Exit::Interrupted,
    })
}

/// The folder that exchanges are kept in or come from.
fn tape(arguments: &Arguments) -> Result<Option<Tape>, engine::EngineError> {
    let tape = match (&arguments.record, &arguments.replay) {
        (Some(folder), _) => Some(Tape::record_to(folder)),
        (None, Some(folder)) => Some(Tape::replay_from(folder)),
        (None, None) => None,
    };
    tape.transpose().map_err(|error| StageError::from(error).into())
}

fn go(start: Start, screen: Arc<Screen>, workspace: &Workspace) -> Result<Finished, engine::EngineError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| engine::EngineError::Workspace { path: workspace.root.clone(), reason: format!("no threads can be had: {error}") })?;
    let finished = runtime.block_on(async {
        let interrupt = Interrupt::default();
        tokio::spawn(listen(interrupt.clone()));
        start.run(screen, interrupt).await
    })?;
    // A thread that waits for something outside must not hold the program up when all is said.
    runtime.shutdown_background();
    Ok(finished)
}

/// The first Ctrl-C lets what runs here come to its end, the second ends it, the third ends the program there and then. Who
/// asks to terminate does not want to wait: what runs here is ended at once.
async fn listen(interrupt: Interrupt) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup())) else {
        return;
    };
    let mut times = 0;
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => times += 1,
            _ = terminate.recv() => times = times.max(1) + 1,
            _ = hangup.recv() => times = times.max(1) + 1,
        }
        match times {
            1 => {
                complain!("stopping: nothing new begins, remote jobs are let go of, what runs here comes to its end (Ctrl-C again ends it now)");
                interrupt.again();
            }
            2 => {
                complain!("ending what runs here; what is finished is kept (a third time leaves at once)");
                interrupt.kill();
            }
            // Nothing is lost: outputs enter the store whole or not at all.
            _ => std::process::exit(130),
        }
    }
}

/// `again` are the words by which another command means the same pipeline, `asked` those that named stages.
fn print(finished: &Finished, recipe: &Recipe, again: &str, asked: &str) {
    let summary = &finished.summary;
    let mut table = Table::new(&["stage", "kind", "status", "time", "result"]);
    for stage in &summary.stages {
        table.row([stage.name.clone(), stage.kind.clone(), stage.status.to_string(), format::seconds(stage.seconds), result(stage)]);
    }
    if !summary.stages.is_empty() {
        say!("{}", table.render());
    }
    let ran = summary.stages.iter().filter(|stage| stage.status == StageStatus::Ran).count();
    match summary.status {
        RunStatus::Ok if ran == 0 && finished.asked == 1 => say!("nothing to do: the stage is up to date ({})", format::seconds(summary.seconds)),
        RunStatus::Ok if ran == 0 => say!("nothing to do: all {} stages are up to date ({})", finished.asked, format::seconds(summary.seconds)),
        RunStatus::Ok => say!("done in {}: {ran} of {} stages ran", format::seconds(summary.seconds), finished.asked),
        RunStatus::Failed => say!("failed after {}; what was finished is kept", format::seconds(summary.seconds)),
        RunStatus::Gated => say!("a gate said no after {}", format::seconds(summary.seconds)),
        RunStatus::Interrupted => say!("stopped after {}; what was finished is kept", format::seconds(summary.seconds)),
    }
    next((summary.status == RunStatus::Interrupted).then(|| step(format!("run{asked}{again}"), "goes on where it was stopped")));
    next(steps(&summary.stages, summary.status, recipe, again));
}

/// What there is to say about a stage in its row of the table.
fn result(stage: &StageSummary) -> String {
    let figures = format::metrics(&stage.kind, &stage.metrics);
    let said = match stage.status {
        StageStatus::Failed | StageStatus::Skipped => stage.notes.last().and_then(|note| note.lines().next()).map(str::to_owned),
        StageStatus::Gated => Some(stage.notes.iter().filter(|note| note.starts_with("gate ")).cloned().collect::<Vec<_>>().join("; ")),
        _ if matches!(stage.kind.as_str(), "deploy" | "select") => stage.notes.last().cloned(),
        _ => None,
    };
    match (figures.is_empty(), said) {
        (false, Some(said)) => format!("{figures}; {said}"),
        (true, Some(said)) => said,
        (_, None) => figures,
    }
}

fn steps(stages: &[StageSummary], status: RunStatus, recipe: &Recipe, again: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    if let Some(judge) = stages.iter().find(|stage| stage.kind == "evaluate" && matches!(stage.status, StageStatus::Ran | StageStatus::Gated)) {
        steps.push(step(format!("show {}{again}", in_shell(&judge.name)), "its gates, with the figures that decided"));
        steps.push(step(format!("report{again}"), "a page with data, losses, mistakes and provenance"));
    }
    if let Some(deployed) = stages.iter().find(|stage| stage.kind == "deploy" && stage.status == StageStatus::Ran) {
        let model = made_for(&deployed.name, recipe).map(|model| {
            let name = in_shell(model.name.as_str());
            step(format!("get {name}{again} --to DIR"), format!("the tuned model as files; `{}` is deployed", deployed.name))
        });
        steps.extend(model);
        steps.push(step("deployments", "what each alias stands for; `retune rollback ALIAS` goes back"));
    }
    if let Some(failed) = stages.iter().find(|stage| stage.kind == "exec" && stage.status == StageStatus::Failed) {
        steps.push(step(format!("log {}{again}", in_shell(&failed.name)), "all that it said"));
    }
    if status == RunStatus::Failed {
        steps.push(step(format!("plan{again}"), "what is left to do"));
    }
    if steps.is_empty() && status != RunStatus::Interrupted {
        steps.push(step(format!("metrics{again}"), "the figures of all stages"));
    }
    steps
}

/// The stage whose model a deploy stage takes.
fn made_for<'a>(deployed: &str, recipe: &'a Recipe) -> Option<&'a StageNode> {
    let deploy = recipe.stages.iter().find(|stage| stage.name.as_str() == deployed)?;
    let needed = |kind: &str| deploy.needs.iter().map(|&need| &recipe.stages[need]).find(|stage| stage.kind == kind);
    needed("select").or_else(|| needed("train"))
}
