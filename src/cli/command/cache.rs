use std::path::Path;

use clap::{Args, Subcommand};

use crate::engine::{self, Workspace};
use crate::store::Part;

use super::super::exit::Exit;
use super::super::format;
use super::super::next::{next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::{result, say};
use super::super::table::Table;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Tell what the store holds
    Du {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Let go of what no lock file, alias or recent run needs
    Gc {
        /// The latest runs whose results stay
        #[arg(long, value_name = "N", default_value_t = 10)]
        keep_runs: usize,
        /// Only tell what would go
        #[arg(long)]
        dry_run: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read every object and set those aside that are not what their names say
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub fn cache(arguments: &Arguments) -> Result<Exit, Problem> {
    let here = Path::new("retune.kdl");
    match arguments.what {
        What::Du { json } => du(&Workspace::look(here), json),
        What::Gc { keep_runs, dry_run, json } => {
            let swept = engine::collect_garbage(&Workspace::open(here)?, keep_runs, dry_run)?;
            if json {
                print_json(&swept);
                return Ok(Exit::Done);
            }
            let bytes = swept.records.bytes + swept.objects.bytes + swept.rest.bytes;
            let further = if dry_run { step(format!("cache gc --keep-runs {keep_runs}"), "lets go of it") } else { step("cache du", "what is left") };
            let word = if dry_run { "would be let go of" } else { "let go of" };
            say!("{} results, {} objects and {} other files {word}: {}", swept.records.files, swept.objects.files, swept.rest.files, format::bytes(bytes));
            next([further]);
            Ok(Exit::Done)
        }
        What::Verify { json } => verify(&Workspace::look(here), json),
    }
}

fn du(workspace: &Workspace, json: bool) -> Result<Exit, Problem> {
    let usage = workspace.store.usage();
    if json {
        print_json(&usage);
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["part", "files", "size", "what it is"]);
    let mut row = |name: &str, part: Part, what: &str| table.row([name.to_owned(), format::whole(part.files), format::bytes(part.bytes), what.to_owned()]);
    row("objects", usage.objects, "content, by digest");
    row("records", usage.records, "what each action made");
    row("runs", usage.runs, "events and logs of runs, journals of remote jobs");
    row("checkpoints", usage.checkpoints, "of stages that are not done");
    row("answers", usage.answers, "what models answered, by question");
    row("models", usage.models, "of the hub; what is deleted is downloaded again");
    row("displaced", usage.displaced, "yours: what lay where an output had to go; delete .retune/displaced once you need none of it");
    row("attempts", usage.attempts, "under way, or left by a kill");
    row("tables", usage.tables, "may be deleted at any time");
    result(format_args!("{}", table.render()));
    next([step("cache gc --dry-run", "what could go")]);
    Ok(Exit::Done)
}

fn verify(workspace: &Workspace, json: bool) -> Result<Exit, Problem> {
    let verified = workspace.store.verify_objects()?;
    let exit = if verified.corrupt.is_empty() && verified.missing.is_empty() { Exit::Done } else { Exit::Failed };
    if json {
        print_json(&verified);
        return Ok(exit);
    }
    for digest in &verified.corrupt {
        say!("{digest} was corrupt and is set aside");
    }
    for digest in &verified.missing {
        say!("{digest} belongs to a result and is missing");
    }
    match (verified.corrupt.len(), verified.missing.len()) {
        (0, 0) => {
            say!("{}, all as their names say", counted(verified.objects));
            next([step("cache du", "how much room they take")]);
        }
        (corrupt, missing) => {
            say!("{}: {corrupt} corrupt, {missing} missing", counted(verified.objects));
            next([step("run", "puts back or makes anew what it needs of them")]);
        }
    }
    Ok(exit)
}

fn counted(objects: u64) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{} objects", format::whole(objects)) }
}
