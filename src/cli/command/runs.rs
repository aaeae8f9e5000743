use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::engine::Workspace;
use crate::ledger::{self, Event, RunSummary, StageStatus};

use super::super::exit::Exit;
use super::super::format;
use super::super::next::{next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::result;
use super::super::table::Table;

#[derive(Debug, Args)]
pub struct Arguments {
    /// How many, the latest first
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    last: usize,
    /// Only those with this tag
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize, schemars::JsonSchema)]
pub struct Line {
    run: String,
    name: Option<String>,
    tags: Vec<String>,
    pipeline: String,
    profile: Option<String>,
    status: String,
    seconds: Option<f64>,
    ran: Vec<String>,
    failed: Vec<String>,
}

pub fn runs(arguments: &Arguments) -> Result<Exit, Problem> {
    let workspace = Workspace::look(Path::new("retune.kdl"));
    let lines: Vec<Line> = ledger::runs(&workspace.store.root().join("runs"))
        .into_iter()
        .map(|run| line(&run))
        .filter(|line| arguments.tag.as_ref().is_none_or(|tag| line.tags.contains(tag)))
        .take(arguments.last)
        .collect();
    if arguments.json {
        print_json(&lines);
        return Ok(Exit::Done);
    }
    let further = match lines.as_slice() {
        [] => step("run", "makes the first; there is none yet, or none with this tag"),
        [_] => step("report", "a page with data, losses, mistakes and provenance"),
        [b, a, ..] => step(format!("diff {} {}", a.run, b.run), "what differs between the latest two"),
    };
    let mut table = Table::new(&["run", "name", "pipeline", "status", "time", "ran"]);
    for line in lines {
        let pipeline = line.profile.map_or(line.pipeline.clone(), |profile| format!("{} ({profile})", line.pipeline));
        let time = line.seconds.map_or_else(|| "-".to_owned(), format::seconds);
        let named: Vec<String> = line.name.iter().cloned().chain(line.tags.iter().map(|tag| format!("#{tag}"))).collect();
        let failed = line.failed.iter().map(|stage| format!("{stage} (failed)"));
        let ran: Vec<String> = line.ran.iter().cloned().chain(failed).collect();
        let ran = if ran.is_empty() { "nothing".to_owned() } else { ran.join(" ") };
        table.row([line.run, named.join(" "), pipeline, line.status, time, ran]);
    }
    result(format_args!("{}", table.render()));
    next([further]);
    Ok(Exit::Done)
}

fn line(run: &RunSummary) -> Line {
    let mut line = Line {
        run: run.id.to_string(),
        name: None,
        tags: Vec::new(),
        pipeline: "?".into(),
        profile: None,
        status: "unfinished".into(),
        seconds: None,
        ran: Vec::new(),
        failed: Vec::new(),
    };
    for event in &run.events {
        match event {
            Event::RunStarted { pipeline, profile, name, tags, .. } => {
                line.name.clone_from(name);
                line.tags.clone_from(tags);
                line.pipeline.clone_from(pipeline);
                line.profile.clone_from(profile);
            }
            Event::Accepted { stage, .. } => line.ran.push(format!("{stage} (kept)")),
            Event::StageDone { stage, status: StageStatus::Ran, .. } => line.ran.push(stage.clone()),
            Event::StageDone { stage, status: StageStatus::Failed, .. } => line.failed.push(stage.clone()),
            Event::RunDone { status, seconds, .. } => {
                line.status.clone_from(status);
                line.seconds = Some(*seconds);
            }
            _ => {}
        }
    }
    line
}
