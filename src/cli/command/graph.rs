use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::engine::{self, PlannedStage, Recipe, Workspace};
use crate::graph::{Sketch, Tone, draw};
use crate::report::{sketches, tone};

use super::super::exit::Exit;
use super::super::next::{aside, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::result;
use super::super::target::Changes;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file
    pipeline: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// The form to print it in
    #[arg(long, value_enum, default_value_t = Form::Dot)]
    format: Form,
    /// Show how each stage stands
    #[arg(long)]
    status: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Dot,
    Mermaid,
    Json,
    Svg,
}

/// A stage of the graph, as it is printed.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub struct GraphStage {
    name: String,
    kind: String,
    needs: Vec<String>,
    /// `done`, `due`, `waiting` or `stopped`, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip)]
    sketch: Sketch,
}

pub fn graph(arguments: &Arguments) -> Result<Exit, Problem> {
    let recipe = arguments.changes.load(arguments.pipeline.as_ref())?;
    let plan = arguments.status.then(|| engine::plan(&recipe, &Workspace::look(&recipe.file.path), &[])).transpose()?;
    let stages = stages(&recipe, plan.as_ref().map(|plan| plan.stages.as_slice()));
    match arguments.format {
        Form::Dot => result(format_args!("{}", dot(&recipe.name, &stages))),
        Form::Mermaid => result(format_args!("{}", mermaid(&stages))),
        Form::Json => print_json(&stages),
        Form::Svg => {
            let title = format!("The stages of the pipeline {}, each to the right of what it needs", recipe.name);
            let sketches: Vec<Sketch> = stages.iter().map(|stage| stage.sketch.clone()).collect();
            result(format_args!("{}", draw(&title, &sketches)));
        }
    }
    let again = arguments.changes.again(arguments.pipeline.as_deref());
    aside([step(format!("report{again}"), "the same in a page, with all that is known of each stage")]);
    Ok(Exit::Done)
}

fn stages(recipe: &Recipe, planned: Option<&[PlannedStage]>) -> Vec<GraphStage> {
    let declared = recipe.stages.iter().zip(sketches(recipe, planned)).enumerate();
    declared
        .map(|(place, (stage, sketch))| {
            let state = planned.and_then(|planned| planned.get(place)).map(|stage| tone(stage).class());
            let needs = stage.needs.iter().map(|&need| recipe.stages[need].name.to_string()).collect();
            GraphStage { name: stage.name.to_string(), kind: stage.kind.clone(), needs, state, sketch }
        })
        .collect()
}

fn dot(name: &str, stages: &[GraphStage]) -> String {
    let mut out = format!("digraph {name:?} {{\n    rankdir=LR;\n    node [shape=box];\n");
    for stage in stages {
        let (fill, line) = stage.sketch.tone.colours();
        let coloured = stage.state.map_or_else(String::new, |_| format!(", style=filled, fillcolor=\"{fill}\", color=\"{line}\""));
        let _ = writeln!(out, "    {:?} [label=\"{}\\n{}\"{coloured}];", stage.name, stage.name, stage.sketch.note);
        for need in &stage.needs {
            let _ = writeln!(out, "    {need:?} -> {:?};", stage.name);
        }
    }
    out.push_str("}\n");
    out
}

fn mermaid(stages: &[GraphStage]) -> String {
    let mut out = String::from("graph LR\n");
    for (index, stage) in stages.iter().enumerate() {
        let state = stage.state.map_or_else(String::new, |state| format!(":::{state}"));
        let _ = writeln!(out, "    s{index}[\"{} ({})\"]{state}", stage.name, stage.sketch.note);
        for need in &stage.sketch.needs {
            let _ = writeln!(out, "    s{need} --> s{index}");
        }
    }
    let mut known: Vec<Tone> = Vec::new();
    for stage in stages.iter().filter(|stage| stage.state.is_some()) {
        let tone = stage.sketch.tone;
        if !known.contains(&tone) {
            let (fill, line) = tone.colours();
            let _ = writeln!(out, "    classDef {} fill:{fill},stroke:{line},color:#111827", tone.class());
            known.push(tone);
        }
    }
    out
}
