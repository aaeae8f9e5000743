use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::config::in_shell;
use crate::engine::{self, Workspace};

use super::super::completing::words;
use super::super::counted::CountedBy;
use super::super::exit::Exit;
use super::super::next::{aside, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::{complain, say};
use super::super::target::{Changes, Target};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The stage, and the pipeline's file where there are several
    #[arg(required = true, value_names = ["STAGE", "PIPELINE"], num_args = 1..=2, add = ArgValueCompleter::new(words))]
    words: Vec<String>,
    /// The row, counted from 1 in the order in which rows were collected
    #[arg(long, default_value_t = 1, value_name = "N", conflicts_with = "step")]
    row: usize,
    /// A step of a training on this machine, counted from 1: its loss, and the rows that made it up
    #[arg(long, value_name = "N")]
    step: Option<usize>,
    /// Whose tokens are shown: `builtin:tiny`, a model of OpenAI such as `gpt-4.1`, or the path of a `tokenizer.json`
    #[arg(long, value_name = "NAME", default_value = "builtin:tiny")]
    model: CountedBy,
    #[command(flatten)]
    changes: Changes,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn inspect(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let stage = recipe.named(target.stage()?)?;
    let workspace = Workspace::look(&recipe.file.path);
    let model = (arguments.model.name.as_str(), &arguments.model.counter);
    let looks = match arguments.step {
        Some(step) => engine::inspect_step(&recipe, &workspace, stage, step)?,
        None => engine::inspect(&recipe, &workspace, stage, arguments.row, model)?,
    };
    let Some(looks) = looks else {
        let wanted = if arguments.step.is_some() { "is no training on this machine: name one that is" } else { "works on no rows: name a prepare stage" };
        complain!("`{}` {wanted}", recipe.stages[stage].name);
        return Ok(Exit::Wrong);
    };
    if arguments.json {
        print_json(&looks);
        return Ok(Exit::Done);
    }
    for look in looks {
        say!("{}", look.step);
        look.text.lines().for_each(|line| say!("    {line}"));
    }
    let words = format!("{}{}", in_shell(recipe.stages[stage].name.as_str()), arguments.changes.again(target.pipeline.as_deref()));
    aside([match arguments.step {
        Some(shown) => step(format!("inspect {words} --step {}", shown + 1), "the step after it"),
        None => step(format!("inspect {words} --row {}", arguments.row + 1), "the next row"),
    }]);
    Ok(Exit::Done)
}
