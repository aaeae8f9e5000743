use serde::Serialize;

use crate::engine::Account;
use crate::store::Record;

/// Where the result of an action comes from.
#[derive(Debug, Serialize)]
pub struct Made {
    stage: String,
    action: String,
    fingerprint: String,
    at: String,
    run: String,
    version: String,
    machine: String,
    commit: Option<String>,
    dirty: bool,
    replayed: bool,
    model: Option<String>,
    /// Why it was kept over changes.
    accepted: Vec<String>,
    inputs: Vec<Part>,
    outputs: Vec<Part>,
}

/// Something that went in or came out.
#[derive(Debug, Serialize)]
struct Part {
    name: String,
    digest: String,
}

/// Of all actions of a stage that have a result.
pub fn made(account: &Account) -> impl Iterator<Item = Made> {
    account.actions.iter().filter_map(|(action, record)| Some(of(&account.name, action, record.as_ref()?)))
}

fn of(stage: &str, action: &str, record: &Record) -> Made {
    let inputs = record.preimage.inputs.iter().map(|(name, content)| Part { name: name.clone(), digest: content.digest.short() });
    let outputs = record.outcome.outputs.iter().map(|(name, artifact)| Part { name: name.clone(), digest: artifact.digest().short() });
    Made {
        stage: stage.to_owned(),
        action: action.to_owned(),
        fingerprint: record.key.0.short(),
        at: record.finished.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        run: record.run.clone(),
        version: record.maker.version.clone(),
        machine: record.maker.machine.clone(),
        commit: record.maker.commit.as_ref().map(|commit| commit.chars().take(12).collect()),
        dirty: record.maker.dirty,
        replayed: record.maker.replayed,
        model: record.outcome.model.clone(),
        accepted: record.outcome.accepted.iter().map(|accepted| accepted.reason.clone()).collect(),
        inputs: inputs.collect(),
        outputs: outputs.collect(),
    }
}
