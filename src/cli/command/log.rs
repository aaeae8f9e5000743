use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::config::in_shell;
use crate::engine::Workspace;
use crate::ledger::{Event, RunId, RunSummary, runs};

use super::super::completing::words;
use super::super::exit::Exit;
use super::super::next::{aside, step};
use super::super::problem::Problem;
use super::super::speak::{complain, say};
use super::super::target::{Changes, Target};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The stage, and the pipeline's file where there are several
    #[arg(required = true, value_names = ["STAGE", "PIPELINE"], num_args = 1..=2, add = ArgValueCompleter::new(words))]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// Go on until the run that is going on is over
    #[arg(long, short)]
    follow: bool,
}

pub fn log(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = arguments.changes.load(target.pipeline.as_ref())?;
    let stage = &recipe.stages[recipe.named(target.stage()?)?];
    let workspace = Workspace::look(&recipe.file.path);
    let name = stage.name.as_str();
    let file = workspace.name_of(&recipe.file.path);
    let changes = &arguments.changes;
    let mut reader = Reader { folder: workspace.store.root().join("runs"), file, changes, stage: name, run: None, events: 0, bytes: 0, has_spoken: false };
    loop {
        // What is written between the look at the run and the reading is read: the look comes first.
        let going_on = arguments.follow && workspace.is_busy();
        reader.more();
        if !going_on {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    if reader.run.is_none() {
        let with = if changes.profile.is_some() || !changes.set.is_empty() { ", with this profile and these values," } else { "" };
        complain!("no run of {}{with} began `{name}` in this workspace", reader.file.display());
        return Ok(Exit::Failed);
    }
    if !reader.has_spoken {
        complain!("`{name}` said nothing in that run");
    }
    aside([step(format!("why {}{}", in_shell(name), changes.again(target.pipeline.as_deref())), "whether it would run again, and why")]);
    Ok(Exit::Done)
}

/// What has been printed of the log of a stage.
struct Reader<'a> {
    folder: PathBuf,
    /// What the pipeline's file is called in the workspace.
    file: PathBuf,
    changes: &'a Changes,
    stage: &'a str,
    /// The run that is read.
    run: Option<RunId>,
    events: usize,
    bytes: usize,
    /// Whether anything was printed.
    has_spoken: bool,
}

impl Reader<'_> {
    /// Whether a run was one of the pipeline that is meant, as it is meant: others may have stages of the same names.
    fn is_of(&self, run: &RunSummary) -> bool {
        let Some(Event::RunStarted { file, profile, set, .. }) = run.events.first() else {
            return false;
        };
        Path::new(file) == self.file && *profile == self.changes.profile && *set == self.changes.set
    }

    /// Prints what is new in the latest run that began the stage, or tried to.
    fn more(&mut self) {
        let stage = self.stage;
        let started = |event: &Event| matches!(event, Event::ActionStarted { stage: of, .. } | Event::ActionFailed { stage: of, .. } if of == stage);
        let Some(run) = runs(&self.folder).into_iter().find(|run| self.is_of(run) && run.events.iter().any(started)) else {
            return;
        };
        if self.run.as_ref() != Some(&run.id) {
            (self.run, self.events, self.bytes) = (Some(run.id.clone()), 0, 0);
        }
        for event in &run.events[self.events..] {
            match event {
                Event::Note { stage: of, message } if of == stage => say!("{message}"),
                // What the command said comes below, whole.
                Event::ActionFailed { stage: of, message, .. } if of == stage => say!("{}", message.split("\nit said:").next().unwrap_or_default()),
                _ => continue,
            }
            self.has_spoken = true;
        }
        self.events = run.events.len();
        let place = self.folder.join(run.id.to_string()).join("logs").join(format!("{stage}.log"));
        let printed = std::fs::read(place).unwrap_or_default();
        // A reader that closes early (`head`) is no error.
        let _ = std::io::stdout().write_all(printed.get(self.bytes..).unwrap_or_default());
        let _ = std::io::stdout().flush();
        self.bytes = printed.len();
        self.has_spoken |= self.bytes > 0;
    }
}
