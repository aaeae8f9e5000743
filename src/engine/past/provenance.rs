//! Where a result comes from, as an in-toto statement with a SLSA v1 provenance predicate.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fingerprint::{Leaf, Tree};
use crate::store::Record;

/// The statement about all that a record tells of: what was made, from what, by whom. `maker` is the record that the result was
/// made under, where it was kept over changes since: it names what the result really comes from.
#[must_use]
pub fn statement(stage: &str, record: &Record, maker: Option<&Record>) -> Value {
    let subject: Vec<Value> = record
        .outcome
        .outputs
        .iter()
        .map(|(name, artifact)| json!({ "name": format!("{stage}/{name}"), "digest": { "blake3": artifact.digest().to_string() } }))
        .collect();
    let preimage = &maker.unwrap_or(record).preimage;
    let mut materials: Vec<Value> = preimage
        .inputs
        .iter()
        .map(|(name, content)| json!({ "name": name, "digest": { "blake3": content.digest.to_string() }, "annotations": { "origin": content.origin } }))
        .collect();
    if let Some(commit) = &record.maker.commit {
        materials.push(json!({ "name": "the workspace", "digest": { "gitCommit": commit }, "annotations": { "dirty": record.maker.dirty } }));
    }
    let began = record.finished.checked_sub(SignedDuration::try_from_secs_f64(record.seconds).unwrap_or_default()).unwrap_or(record.finished);
    let second = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut metadata = json!({
        "invocationId": record.run,
        "startedOn": second(began),
        "finishedOn": second(record.finished),
        "attempts": record.attempts,
    });
    if let Some(resumed) = &record.outcome.resumed {
        metadata["resumed"] = json!(format!("resumed from {resumed}"));
    }
    let accepted = &record.outcome.accepted;
    if !accepted.is_empty() {
        let kept = accepted.iter().map(|kept| json!({ "heldFor": kept.from.to_string(), "reason": kept.reason, "on": second(kept.at) }));
        metadata["acceptedFor"] = json!(record.key.to_string());
        metadata["accepted"] = kept.collect();
        if maker.is_none() {
            metadata["note"] = json!("the account of how it was made is not in this store any more; settings and materials are those that it was accepted for");
        }
    }
    let mut annotations = json!({ "machine": record.maker.machine });
    if record.maker.replayed {
        annotations["replayed"] = json!("the replies of providers came from a recording");
    }
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "urn:retune:action:v1",
                "externalParameters": { "settings": plain(&preimage.settings), "context": plain(&Tree::Map(preimage.context.clone())) },
                "internalParameters": { "kind": preimage.kind, "version": preimage.version, "fingerprint": maker.unwrap_or(record).key.to_string() },
                "resolvedDependencies": materials,
            },
            "runDetails": {
                "builder": { "id": "urn:retune", "version": { "retune": record.maker.version }, "annotations": annotations },
                "metadata": metadata,
            },
        },
    })
}

/// A tree as the JSON that a person would write for it.
fn plain(tree: &Tree) -> Value {
    match tree {
        Tree::Map(parts) => parts.iter().map(|(name, part)| (name.clone(), plain(part))).collect(),
        Tree::List(parts) => parts.iter().map(plain).collect(),
        Tree::Leaf { value, .. } => match value {
            Leaf::Text(text) => json!(text),
            Leaf::Integer(number) => json!(number),
            Leaf::Number(number) => json!(number),
            Leaf::Flag(flag) => json!(flag),
            Leaf::Content(digest) => json!(digest.to_string()),
        },
    }
}
