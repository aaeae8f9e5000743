use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::engine::{self, Workspace, compare};
use crate::report::{of_pipeline, of_sweep, of_two};
use crate::store::write_atomically;

use super::super::completing::{runs, stages};
use super::super::exit::Exit;
use super::super::format;
use super::super::problem::Problem;
use super::super::speak::{complain, say};
use super::super::target::{Changes, Target};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Two runs to compare, and the pipeline's file where there are several; without runs, the page is about the pipeline
    #[arg(value_names = ["A", "B", "PIPELINE"], num_args = 0..=3, add = ArgValueCompleter::new(runs))]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// Write it about the instances of this stage, side by side
    #[arg(long, value_name = "STAGE", add = ArgValueCompleter::new(stages))]
    matrix: Option<String>,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
}

pub fn report(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let workspace = Workspace::look(&recipe.file.path);
    let page = match (target.stages.as_slice(), &arguments.matrix) {
        ([], None) => of_pipeline(&recipe, &workspace, &engine::plan(&recipe, &workspace, &[])?)?,
        ([], Some(stage)) => {
            let instances = recipe.all_named(stage)?;
            of_sweep(&recipe, &workspace, &engine::plan(&recipe, &workspace, &[])?, &instances)?
        }
        ([a, b], None) => of_two(&compare::compare(&workspace.store, a, b)?)?,
        ([_, _], Some(_)) => {
            complain!("--matrix is about one stage as it is now: leave the two runs out");
            return Ok(Exit::Wrong);
        }
        _ => {
            complain!("name two runs to compare, or none for the page about the pipeline: `retune runs` lists them");
            return Ok(Exit::Wrong);
        }
    };
    write(&arguments.out, &page)?;
    say!("{} ({}) is written: open it in a browser", arguments.out.display(), format::bytes(page.len() as u64));
    Ok(Exit::Done)
}

fn write(place: &Path, page: &str) -> Result<(), Problem> {
    Ok(write_atomically(place, page.as_bytes())?)
}
