use clap::Args;
use clap_complete::ArgValueCompleter;

use crate::config::{Budget, in_shell, stem};
use crate::engine::{self, Plan, PlannedAction, PlannedStage, Standing, Workspace};

use crate::provider::{AS_OF, dollars};

use super::super::completing::words;
use super::super::exit::Exit;
use super::super::format;
use super::super::next::{next, step};
use super::super::print_json;
use super::super::problem::Problem;
use super::super::speak::{result, say};
use super::super::table::Table;
use super::super::target::{Changes, Target};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline's file, and stages if not all are wanted; STAGE+ also means all that needs it
    #[arg(value_name = "PIPELINE|STAGE", add = ArgValueCompleter::new(words))]
    words: Vec<String>,
    #[command(flatten)]
    changes: Changes,
    /// Show the actions that each stage compiles to
    #[arg(long)]
    actions: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn plan(arguments: &Arguments) -> Result<Exit, Problem> {
    let target = Target::of(&arguments.words)?;
    let recipe = arguments.changes.load_aloud(target.pipeline.as_ref())?;
    let plan = engine::plan(&recipe, &Workspace::look(&recipe.file.path), &target.stages)?;
    if arguments.json {
        print_json(&plan.summary());
        return Ok(Exit::Done);
    }
    if arguments.actions {
        result(format_args!("{}", actions(&plan)))
    } else {
        result(format_args!("{}", stages(&plan)))
    }
    for stage in &plan.stages {
        stage.notes().iter().for_each(|note| say!("\n  {}: {note}", stage.name));
    }
    let unpriced = plan.stages.iter().any(|stage| stage.actions.iter().any(|action| action.estimate.is_unpriced));
    budget("the budget", recipe.budget, plan.stages.iter().collect(), unpriced);
    let mut told: Vec<&str> = Vec::new();
    for declared in recipe.stages.iter().filter(|stage| !stage.scheduling.budget.is_open()) {
        let name = declared.name.stem();
        if told.contains(&name) {
            continue;
        }
        told.push(name);
        let of: Vec<&PlannedStage> = plan.stages.iter().filter(|stage| stem(&stage.name) == name).collect();
        if !of.is_empty() {
            let unpriced = of.iter().any(|stage| stage.actions.iter().any(|action| action.estimate.is_unpriced));
            budget(&format!("the budget of `{name}`"), declared.scheduling.budget, of, unpriced);
        }
    }
    say!("\n{}", verdict(&plan));
    let again = arguments.changes.again(target.pipeline.as_deref());
    next([if plan.stages.iter().all(|stage| stage.standing() == Standing::Cached) {
        step(format!("metrics{again}"), "the figures of all stages")
    } else {
        step(format!("run{}{again}", target.stages.iter().map(|stage| format!(" {}", in_shell(stage))).collect::<String>()), "does it")
    }]);
    Ok(Exit::Done)
}

/// Says where a budget will not do for what would be done.
fn budget(whose: &str, budget: Budget, stages: Vec<&PlannedStage>, is_unpriced: bool) {
    let total = |figure: fn(&PlannedStage) -> Option<f64>| stages.iter().filter_map(|stage| figure(stage)).sum::<f64>();
    let (usd, tokens) = (total(PlannedStage::usd), total(PlannedStage::tokens));
    let over = budget.usd.filter(|budget| usd > *budget).map(dollars);
    let over = over.or(budget.tokens.filter(|budget| tokens > *budget).map(|tokens| format!("{} tokens", format::count(tokens))));
    if let Some(over) = over {
        say!("\n  {whose} of {over} will not do: a run stops with exit code 5 before it is spent");
    } else if budget.usd.is_some() && is_unpriced {
        say!("\n  {whose} is set, and what nobody told the price of is over any: a run stops with exit code 5 before it is spent");
    }
}

/// The stages of a plan as a table.
pub fn stages(plan: &Plan) -> String {
    let mut table = Table::new(&["stage", "kind", "action", "takes", "why"]);
    for stage in &plan.stages {
        let reasons = stage.reasons();
        let first = reasons.first().cloned().unwrap_or_default();
        table.row([stage.name.clone(), stage.kind.clone(), stage.standing().word().to_owned(), takes(stage), first]);
        for reason in reasons.into_iter().skip(1) {
            table.row([String::new(), String::new(), String::new(), String::new(), reason]);
        }
    }
    table.render()
}

/// What a stage will take, as far as that is known.
fn takes(stage: &PlannedStage) -> String {
    let seconds = stage.seconds().map(|seconds| format!("~{}", format::seconds(seconds)));
    let tokens = stage.tokens().map(|tokens| format!("{} tokens", format::count(tokens)));
    let usd = stage.usd().map(dollars);
    let parts: Vec<String> = [seconds, tokens, usd].into_iter().flatten().collect();
    if parts.is_empty() { "-".into() } else { parts.join(", ") }
}

fn actions(plan: &Plan) -> String {
    let mut table = Table::new(&["stage", "action", "does", "fingerprint", "why"]);
    for stage in &plan.stages {
        for PlannedAction { name, standing, key, reasons, .. } in &stage.actions {
            let key = key.map_or_else(|| "-".to_owned(), |key| key.0.short());
            table.row([stage.name.clone(), name.clone(), standing.word().to_owned(), key, reasons.join("; ")]);
        }
    }
    table.render()
}

fn verdict(plan: &Plan) -> String {
    let counted = |standing| plan.stages.iter().filter(|stage| stage.standing() == standing).count();
    let (run, unknown) = (counted(Standing::Run), counted(Standing::Unknown));
    if run + unknown == 0 {
        return "nothing would run: all results are there".into();
    }
    let unknown = if unknown == 0 { String::new() } else { format!(", and for {unknown} it shows once their inputs are made") };
    let total = |figure: fn(&PlannedStage) -> Option<f64>| plan.stages.iter().filter_map(figure).reduce(|sum, part| sum + part);
    let seconds = total(PlannedStage::seconds).map_or(String::new(), |seconds| format!("; by past runs about {} of work", format::seconds(seconds)));
    let usd = total(PlannedStage::usd).map_or(String::new(), |usd| format!(", about {} (prices of {AS_OF}, or those of prices.kdl)", dollars(usd)));
    format!("{run} of {} stages would run{unknown}{seconds}{usd}", plan.stages.len())
}
