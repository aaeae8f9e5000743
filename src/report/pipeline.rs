use serde::Serialize;

use crate::engine::{Account, Plan, Recipe, Standing, Workspace};
use crate::graph::draw;
use crate::ledger::LockFile;

use super::drawing::{sketches, tone};
use super::page::{ReportError, render};
use super::section::{Choice, Data, Made, Quality, Spent, Training, choice, data, made, quality, spent, training};

/// So many stages of a kind are shown in full; all are in the tables.
const SHOWN: usize = 24;
/// So many lines of a table about stages or actions are shown.
const LINES: usize = 600;
/// A graph with more stages would be a picture that nobody could read.
const DRAWN: usize = 200;

/// The page about a pipeline: its stages, their last results, and how they stand.
#[derive(Debug, Serialize)]
struct Page {
    title: String,
    pipeline: String,
    file: String,
    profile: Option<String>,
    set: Vec<String>,
    version: &'static str,
    /// What there is to say first.
    verdict: Verdict,
    drawing: Option<String>,
    stages: Vec<Stage>,
    stage_count: usize,
    data: Vec<Data>,
    training: Vec<Training>,
    quality: Vec<Quality>,
    choices: Vec<Choice>,
    spent: Vec<Spent>,
    total: Total,
    provenance: Vec<Made>,
    action_count: usize,
}

/// How the pipeline stands, in a word and a sentence.
#[derive(Debug, Serialize)]
struct Verdict {
    class: &'static str,
    text: String,
}

#[derive(Debug, Serialize)]
struct Stage {
    name: String,
    kind: String,
    class: &'static str,
    state: &'static str,
    made: Option<String>,
    why: Vec<String>,
}

#[derive(Debug, Default, Serialize)]
struct Total {
    seconds: f64,
    longest: f64,
}

/// The page about a pipeline.
///
/// # Errors
/// When what is kept of it cannot be read, or the page cannot be written.
pub fn of_pipeline(recipe: &Recipe, workspace: &Workspace, plan: &Plan) -> Result<String, ReportError> {
    let lock = LockFile::read(&recipe.lock_path())?;
    let store = &workspace.store;
    let accounts: Vec<Account> = plan.stages.iter().map(|stage| Account::of(stage, &lock, store)).collect();
    let stage = |(planned, account): (&crate::engine::PlannedStage, &Account)| {
        let tone = tone(planned);
        Stage {
            name: account.name.clone(),
            kind: account.kind.clone(),
            class: tone.class(),
            state: state(account),
            made: account.records().map(|record| record.finished).max().map(|at| at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
            why: if account.standing == Standing::Cached { Vec::new() } else { planned.reasons() },
        }
    };
    let spent: Vec<Spent> = accounts.iter().filter_map(spent).collect();
    let seconds = || accounts.iter().map(Account::seconds);
    let title = format!("The stages of the pipeline {}, each to the right of what it needs", recipe.name);
    let page = Page {
        title: format!("{}: report", recipe.name),
        pipeline: recipe.name.clone(),
        file: recipe.file.name.clone(),
        profile: recipe.overrides.profile.clone(),
        set: recipe.overrides.set.clone(),
        version: env!("CARGO_PKG_VERSION"),
        verdict: verdict(&accounts),
        drawing: (recipe.stages.len() <= DRAWN).then(|| draw(&title, &sketches(recipe, Some(&plan.stages)))),
        stages: plan.stages.iter().zip(&accounts).map(stage).take(LINES).collect(),
        stage_count: accounts.len(),
        data: accounts.iter().filter_map(|account| data(account, store)).take(SHOWN).collect(),
        training: accounts.iter().filter_map(|account| training(account, store)).take(SHOWN).collect(),
        quality: accounts.iter().filter_map(|account| quality(account, store)).take(SHOWN).collect(),
        choices: accounts.iter().filter_map(|account| choice(account, store)).take(SHOWN).collect(),
        total: Total { seconds: seconds().sum(), longest: seconds().fold(0.0, f64::max) },
        spent: spent.into_iter().take(LINES).collect(),
        provenance: accounts.iter().flat_map(made).take(LINES).collect(),
        action_count: accounts.iter().map(|account| account.records().count()).sum(),
    };
    render("pipeline.html", &page)
}

fn state(account: &Account) -> &'static str {
    match (account.standing, account.is_lost()) {
        (Standing::Cached, _) if account.gated => "a gate said no",
        (Standing::Cached, _) => "up to date",
        (Standing::Run, true) => "never done here",
        (Standing::Run, false) => "stale",
        (Standing::Unknown, true) => "waits for others",
        (Standing::Unknown, false) => "stale, perhaps",
    }
}

fn verdict(accounts: &[Account]) -> Verdict {
    let stopped: Vec<&str> = accounts.iter().filter(|account| account.gated).map(|account| account.name.as_str()).collect();
    let lost = accounts.iter().filter(|account| account.is_lost()).count();
    let stale = accounts.iter().filter(|account| account.standing != Standing::Cached && !account.is_lost()).count();
    let several = |count: usize| if count == 1 { "1 stage".to_owned() } else { format!("{count} stages") };
    if !stopped.is_empty() {
        Verdict { class: "stopped", text: format!("A gate said no: {}.", stopped.join(", ")) }
    } else if lost > 0 {
        Verdict { class: "waiting", text: format!("{} of {} have no result here yet.", several(lost), accounts.len()) }
    } else if stale > 0 {
        Verdict { class: "due", text: format!("{} would be made again: what stands here of them is their last result.", several(stale)) }
    } else {
        Verdict { class: "done", text: "All stages are up to date, and no gate said no.".into() }
    }
}
