//! The JSON Schemas of what commands print and what the store keeps, made from the types.

use std::collections::BTreeMap;

use schemars::{JsonSchema, generate::SchemaSettings};

use crate::config::{ConfigError, nearest};
use crate::engine::compare::Comparison;
use crate::engine::{EngineError, KnownJob, Outlook, PlanSummary, RunSummary};
use crate::grade::{Scores, Verdict};
use crate::ledger::{Event, JobStep};
use crate::model::Step;
use crate::provider::{ModelCard, Profile};
use crate::stage::{Look, Mistakes, Ranked};
use crate::store::{Record, Swept, Usage, Verified};

use super::command::{check_data, doctor, graph, metrics, runs, show, why};
use super::findings::Checked;
use super::problem::Problem;

/// Each by its name: that of the command whose `--json` prints it, or of what is stored.
pub fn all() -> Vec<(&'static str, String)> {
    vec![
        ("cache-du", of::<Usage>()),
        ("cache-gc", of::<Swept>()),
        ("cache-verify", of::<Verified>()),
        ("check", of::<Checked>()),
        ("check-data", of::<Vec<check_data::StageCheck>>()),
        ("diff", of::<Comparison>()),
        ("doctor", of::<Vec<doctor::Finding>>()),
        ("doctor-lifecycle", of::<Vec<Outlook>>()),
        ("graph", of::<Vec<graph::GraphStage>>()),
        ("inspect", of::<Vec<Look>>()),
        ("jobs", of::<Vec<KnownJob>>()),
        ("metrics", of::<Vec<metrics::StageMetrics>>()),
        ("plan", of::<PlanSummary>()),
        ("run", of::<RunSummary>()),
        ("runs", of::<Vec<runs::Line>>()),
        ("show", of::<show::Shown>()),
        ("why", of::<why::Answer>()),
        ("stored-choice", of::<Vec<Ranked>>()),
        ("stored-event", of::<Event>()),
        ("stored-flight", of::<Step>()),
        ("stored-job-step", of::<JobStep>()),
        ("stored-metrics", of::<BTreeMap<String, f64>>()),
        ("stored-mistakes", of::<Mistakes<'static>>()),
        ("stored-model", of::<ModelCard>()),
        ("stored-provider", of::<Profile>()),
        ("stored-record", of::<Record>()),
        ("stored-score", of::<Scores>()),
        ("stored-verdict", of::<Verdict>()),
    ]
}

fn of<T: JsonSchema>() -> String {
    // What is printed, where fields may be left out, is told apart from what is read.
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    format!("{}\n", serde_json::to_string_pretty(&schema).unwrap_or_default())
}

/// The error about a schema that there is not.
pub fn unknown(name: &str, known: &[(&'static str, String)]) -> Problem {
    let help = match nearest(name, known.iter().map(|(known, _)| *known)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`retune schema --list` tells all of them".into(),
    };
    EngineError::Usage(ConfigError::UnknownChoice { name: "schema".into(), found: format!("{name:?}"), at: (0, 0).into(), help }).into()
}
