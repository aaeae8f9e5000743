use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::engine::Recipe;

use super::super::exit::Exit;
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
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Dot,
    Mermaid,
    Json,
}

#[derive(Serialize)]
struct Stage {
    name: String,
    kind: String,
    needs: Vec<String>,
}

pub fn graph(arguments: &Arguments) -> Result<Exit, Problem> {
    let recipe = arguments.changes.load(arguments.pipeline.as_ref())?;
    let stages = stages(&recipe);
    match arguments.format {
        Form::Dot => result(format_args!("{}", dot(&recipe.name, &stages))),
        Form::Mermaid => result(format_args!("{}", mermaid(&stages))),
        Form::Json => print_json(&stages),
    }
    Ok(Exit::Done)
}

fn stages(recipe: &Recipe) -> Vec<Stage> {
    let declared = recipe.stages.iter();
    declared
        .map(|stage| {
            let needs = stage.needs.iter().map(|&need| recipe.stages[need].name.to_string()).collect();
            Stage { name: stage.name.to_string(), kind: stage.kind.clone(), needs }
        })
        .collect()
}

fn dot(name: &str, stages: &[Stage]) -> String {
    let mut out = format!("digraph {name:?} {{\n    rankdir=LR;\n    node [shape=box];\n");
    for stage in stages {
        let _ = writeln!(out, "    {:?} [label=\"{}\\n{}\"];", stage.name, stage.name, stage.kind);
        for need in &stage.needs {
            let _ = writeln!(out, "    {need:?} -> {:?};", stage.name);
        }
    }
    out.push_str("}\n");
    out
}

fn mermaid(stages: &[Stage]) -> String {
    let place = |name: &str| stages.iter().position(|stage| stage.name == name).unwrap_or_default();
    let mut out = String::from("graph LR\n");
    for (index, stage) in stages.iter().enumerate() {
        let _ = writeln!(out, "    s{index}[\"{} ({})\"]", stage.name, stage.kind);
        for need in &stage.needs {
            let _ = writeln!(out, "    s{} --> s{index}", place(need));
        }
    }
    out
}
