//! The command line: the only place that prints. A command is one file in `command/` and one line here.

mod command;
mod completing;
mod counted;
mod exit;
mod findings;
mod importer;
mod next;
mod problem;
mod progress;
mod schemas;
mod speak;
mod table;
mod target;
mod template;
mod wait;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::CompleteEnv;

use crate::report::format;

use command::{
    accept, cache, cancel, check, completions, deployments, diff, doctor, fmt, get, graph, guard, import, init, inspect, jobs, log, man, metrics, plan, report,
    rollback, run, runs, schema, serve, show, status, why,
};
use speak::say;

pub use command::schema::generated;

/// Retunes a language model when its data or its config changes, and does nothing when neither did.
#[derive(Debug, Parser)]
#[command(
    name = "retune",
    version,
    max_term_width = 100,
    after_help = "Without PIPELINE, retune.kdl is taken, else the only file in pipelines/, else the only one here."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a pipeline and sample data that run as they are
    Init(init::Arguments),
    /// Make a pipeline of a config of another tool
    Import(import::Arguments),
    /// Parse and validate the pipeline, and print all that is wrong with it
    Check(check::Arguments),
    /// Lay out the pipeline file, comments kept
    Fmt(fmt::Arguments),
    /// Tell which stages would run, and why; change nothing
    Plan(plan::Arguments),
    /// Run what must run
    Run(run::Arguments),
    /// Keep a stage's last result over a change that cannot change it
    Accept(accept::Arguments),
    /// Tell what is stale
    Status(status::Arguments),
    /// Tell what changed for one stage, down to the field or the file
    Why(why::Arguments),
    /// Show what becomes of one row in a prepare stage: after each operator, as an example, and as tokens
    Inspect(inspect::Arguments),
    /// Show the outputs, metrics and provenance of one stage
    Show(show::Arguments),
    /// Print what the command of a stage printed when it last ran
    Log(log::Arguments),
    /// Write the outputs of a stage as files
    Get(get::Arguments),
    /// Print the graph of stages
    Graph(graph::Arguments),
    /// List the figures of all stages
    Metrics(metrics::Arguments),
    /// Write a page about the pipeline, two runs, or the instances of a stage
    Report(report::Arguments),
    /// List past runs
    Runs(runs::Arguments),
    /// Compare two runs: config, rows, metrics, answers, time and money
    Diff(diff::Arguments),
    /// List remote jobs; let one rest, or go on
    Jobs(jobs::Arguments),
    /// Cancel a remote job
    Cancel(cancel::Arguments),
    /// Check the environment, or which deployed models retire
    Doctor(doctor::Arguments),
    /// Look at the store, check it, let go of what nobody needs
    Cache(cache::Arguments),
    /// List aliases and their versions
    Deployments(deployments::Arguments),
    /// Let an alias stand for the version before
    Rollback(rollback::Arguments),
    /// Answer by OpenAI's protocol for the aliases and the local model
    Serve(serve::Arguments),
    /// Print the schema of the language, or of a JSON that is printed or stored
    Schema(schema::Arguments),
    /// Print what makes a shell complete commands, stages and runs
    Completions(completions::Arguments),
    /// Print the manual page, or write those of all commands
    Man(man::Arguments),
    /// Kill the commands of a run that was killed
    #[command(hide = true)]
    Guard(guard::Arguments),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Keys stand in the environment of this process, where commands that it runs could look them up. That it cannot be is no error.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    CompleteEnv::with_factory(Arguments::command).var(completions::ASKED).complete();
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Init(arguments) => init::init(&arguments),
        Command::Import(arguments) => import::import(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Fmt(arguments) => fmt::fmt(&arguments),
        Command::Plan(arguments) => plan::plan(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Accept(arguments) => accept::accept(&arguments),
        Command::Status(arguments) => status::status(&arguments),
        Command::Why(arguments) => why::why(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Show(arguments) => show::show(&arguments),
        Command::Log(arguments) => log::log(&arguments),
        Command::Get(arguments) => get::get(&arguments),
        Command::Graph(arguments) => graph::graph(&arguments),
        Command::Metrics(arguments) => metrics::metrics(&arguments),
        Command::Report(arguments) => report::report(&arguments),
        Command::Runs(arguments) => runs::runs(&arguments),
        Command::Diff(arguments) => diff::diff(&arguments),
        Command::Jobs(arguments) => jobs::jobs(&arguments),
        Command::Cancel(arguments) => cancel::cancel(&arguments),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Cache(arguments) => cache::cache(&arguments),
        Command::Deployments(arguments) => deployments::deployments(&arguments),
        Command::Rollback(arguments) => rollback::rollback(&arguments),
        Command::Serve(arguments) => serve::serve(&arguments),
        Command::Schema(arguments) => schema::schema(&arguments),
        Command::Completions(arguments) => Ok(completions::completions(&arguments)),
        Command::Man(arguments) => man::man(&arguments, Arguments::command()),
        Command::Guard(arguments) => Ok(guard::guard(&arguments)),
    };
    let exit = done.unwrap_or_else(|problem| {
        problem.print();
        problem.exit()
    });
    exit.into()
}

/// Prints a result as JSON.
fn print_json<T: serde::Serialize>(value: &T) {
    say!("{}", serde_json::to_string_pretty(value).unwrap_or_default());
}
