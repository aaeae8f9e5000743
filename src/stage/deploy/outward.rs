//! Bringing others to what an alias stands for: messages, deployments elsewhere, copies of the model. Each is safe to do twice, and
//! what was not done is done by the next run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use miette::Diagnostic as _;
use ring::hmac;
use serde_json::{Value, json};

use crate::fingerprint::Digest;
use crate::ledger::{Alias, LedgerError, Outward, Served, Version, Way};
use crate::model::{ExportFormat, ModelError, fetch};
use crate::provider::{Secret, Silent, web};
use crate::store::{Lock, Store, StoreError};

use super::super::{StageError, train};

/// How often a message is sent, or a deployment asked for, before it is left to the next run.
const ATTEMPTS: u32 = 3;
/// How long whoever is told may say nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long Azure may take.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// The version of Azure's management API that is spoken.
const AZURE: &str = "2024-10-01";

/// Brings all of an alias's targets outside to the version that it stands for. What each of those said that could not be.
///
/// # Errors
/// When the alias cannot be read or written.
pub async fn inform(store: &Store, workspace: &Path, name: &str) -> Result<Vec<String>, LedgerError> {
    let _alone = alone(store, name).await?;
    let (mut problems, mut failed): (Vec<String>, Vec<Way>) = (Vec::new(), Vec::new());
    loop {
        // It may stand for another version by now.
        let alias = Alias::read(workspace, name)?;
        let is_open = |outward: &&Outward| outward.told.unwrap_or_default() != alias.current && !failed.contains(&outward.way);
        let Some(Outward { way, .. }) = alias.outward.iter().find(is_open).cloned() else {
            return Ok(problems);
        };
        let done = match (&way, alias.now()) {
            (Way::Webhook { url, secret }, version) => send(url, secret, &alias, version).await,
            (Way::Azure { url, token, sku, capacity }, Some(version)) => deploy(url, token, sku, *capacity, version).await,
            (Way::Export { path, format }, Some(version)) => copy(store, workspace, path, format, version).await,
            (Way::Azure { .. } | Way::Export { .. }, None) => Err("it stands for nothing now, and what was there before was left".into()),
        };
        if let Err(problem) = done {
            problems.push(format!("{}: {problem}", way.told()));
            failed.push(way);
            continue;
        }
        Alias::change(store, workspace, name, |known| {
            known.outward.iter_mut().filter(|known| known.way == way).for_each(|known| known.told = Some(alias.current));
            Ok(())
        })?;
    }
}

/// The right to tell: one after the other, so that the last one told is the one that holds.
async fn alone(store: &Store, name: &str) -> Result<Lock, StoreError> {
    loop {
        match Lock::try_alone(store, &format!("inform/{name}"))? {
            Some(alone) => return Ok(alone),
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The same, as a stage has it.
pub async fn inform_all(store: &Store, workspace: &Path, name: &str) -> Result<(), StageError> {
    let problems = inform(store, workspace, name).await?;
    if problems.is_empty() { Ok(()) } else { Err(StageError::NotTold { alias: name.to_owned(), problems: problems.join("\n") }) }
}

fn revealed(variable: &str) -> Result<String, String> {
    Secret::variable(variable).reveal("a target").map_err(|_| format!("the environment variable {variable} is not set, or cannot be a secret"))
}

/// Sends a message as the "Standard Webhooks" specification has it: id, time and body are signed with HMAC-SHA256.
async fn send(url: &str, secret: &str, alias: &Alias, version: Option<&Version>) -> Result<(), String> {
    let revealed = revealed(secret)?;
    let key = STANDARD.decode(revealed.strip_prefix("whsec_").unwrap_or(&revealed));
    let key = key.map_err(|_| format!("the secret in {secret} is not base64: make one with `openssl rand -base64 32`"))?;
    // The same change has the same id, however often it is told.
    let went_back = alias.versions.iter().filter(|version| version.rolled_back.is_some()).count();
    let of = version.map(|version| format!("{}\0{}", version.artifact, version.deployed)).unwrap_or_default();
    let change = format!("{}\0{}\0{}\0{went_back}\0{of}", alias.name, alias.current, alias.versions.len());
    let id = format!("msg_{}", &Digest::of(change.as_bytes()).to_string()[..32]);
    let served = version.and_then(|version| version.served.as_ref());
    let body = json!({
        "type": "alias.changed",
        "timestamp": Timestamp::now(),
        "data": {
            "alias": alias.name, "version": version.map(|_| alias.current), "model": version.map(|version| &version.model),
            "provider": served.map(|served| &served.provider), "base": served.map(|served| &served.base), "name": served.map(|served| &served.name),
            "artifact": version.map(|version| version.artifact.to_string()), "fingerprint": version.map(|version| version.fingerprint.to_string()),
            "deployed": version.map(|version| version.deployed), "metrics": version.map(|version| &version.metrics),
        },
    })
    .to_string();
    let (client, time) = (web(PATIENCE).map_err(|error| error.to_string())?, Timestamp::now().as_second());
    let signed = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), format!("{id}.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(signed));
    let request = || {
        let headers = [("content-type", "application/json"), ("webhook-id", &id), ("webhook-signature", &signature)];
        let request = headers.iter().fold(client.post(url), |request, (name, value)| request.header(*name, *value));
        request.header("webhook-timestamp", time).body(body.clone())
    };
    attempt(request).await.map(drop)
}

/// Sends a request until it is taken. What was answered.
async fn attempt(request: impl Fn() -> reqwest::RequestBuilder) -> Result<String, String> {
    let mut wait = Duration::from_millis(200);
    for last in (0..ATTEMPTS).map(|at| at + 1 == ATTEMPTS) {
        let problem = match request().send().await {
            Ok(reply) if reply.status().is_success() => return reply.text().await.map_err(|error| error.without_url().to_string()),
            Ok(reply) => {
                let status = reply.status();
                let text: String = reply.text().await.unwrap_or_default().chars().take(300).collect();
                // Whoever refuses will again.
                if status.is_client_error() && status.as_u16() != 429 && status.as_u16() != 408 {
                    return Err(format!("it answers {status}: {text}"));
                }
                format!("it answers {status}: {text}")
            }
            Err(error) => format!("it cannot be reached: {}", error.without_url()),
        };
        if last {
            return Err(problem);
        }
        tokio::time::sleep(wait).await;
        wait *= 4;
    }
    Err("it was never tried".into())
}

/// Lets a deployment at Azure stand for a model, and waits until it does.
async fn deploy(url: &str, token: &str, sku: &str, capacity: u32, version: &Version) -> Result<(), String> {
    let (token, client) = (revealed(token)?, web(PATIENCE).map_err(|error| error.to_string())?);
    let is_there = |served: &&Served| !served.name.is_empty() && served.at.as_ref().is_some_and(|at| at.api == "azure");
    let served = version.served.as_ref().filter(is_there).ok_or("the model is not one that was tuned at Azure")?;
    let body = json!({
        "sku": { "name": sku, "capacity": capacity },
        "properties": { "model": { "format": "OpenAI", "name": served.name, "version": "1" } },
    });
    let send = |request: reqwest::RequestBuilder| request.query(&[("api-version", AZURE)]).bearer_auth(&token);
    let clean = |problem: String| problem.replace(&token, "[secret]");
    let mut said = attempt(|| send(client.put(url)).json(&body)).await.map_err(clean)?;
    let (mut waited, mut wait) = (Duration::ZERO, Duration::from_millis(500));
    loop {
        let reply: Value = serde_json::from_str(&said).map_err(|_| "what it answers is no JSON".to_owned())?;
        match reply["properties"]["provisioningState"].as_str() {
            Some("Succeeded") if reply["properties"]["model"]["name"] == *served.name => return Ok(()),
            Some("Succeeded") => return Err("it stands for another model".into()),
            Some(state @ ("Failed" | "Canceled" | "Disabled")) => return Err(format!("it ended as `{state}`: {}", clean(reply["error"].to_string()))),
            _ if waited >= LONGEST => return Err("it is not ready after half an hour".into()),
            _ => {}
        }
        tokio::time::sleep(wait).await;
        waited += wait;
        wait = (wait * 2).min(Duration::from_secs(15));
        said = attempt(|| send(client.get(url))).await.map_err(clean)?;
    }
}

/// Writes a copy of a model, and puts it in the place of the one before when all of it is there and is what it should be.
async fn copy(store: &Store, workspace: &Path, path: &str, format: &str, version: &Version) -> Result<(), String> {
    let place = workspace.join(path);
    let [new, old] = ["new", "old"].map(|what| beside(&place, what));
    written(store, workspace, &new, format, version).await?;
    let said = |error: std::io::Error| error.to_string();
    if new.is_dir() && place.exists() {
        clear(&old);
        std::fs::rename(&place, &old).map_err(said)?;
    }
    std::fs::rename(&new, &place).map_err(said)?;
    clear(&old);
    Ok(())
}

/// Makes sure that copies can be written and are what they should be, before anybody hears of their model.
///
/// # Errors
/// When one cannot, or is not.
pub async fn rehearse(store: &Store, workspace: &Path, name: &str, ways: &[Way], version: &Version) -> Result<(), StageError> {
    let _alone = alone(store, name).await?;
    for way in ways {
        let Way::Export { path, format } = way else { continue };
        let new = beside(&workspace.join(path), "new");
        let done = written(store, workspace, &new, format, version).await;
        clear(&new);
        done.map_err(|problem| StageError::NoCopy { path: path.clone(), problem })?;
    }
    Ok(())
}

/// Where a copy is while it is not in its place yet.
fn beside(place: &Path, what: &str) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.retune-{what}"))
}

/// Takes away what an earlier attempt left, whichever kind it was of.
fn clear(left: &Path) {
    let _ = std::fs::remove_dir_all(left).or_else(|_| std::fs::remove_file(left));
}

/// Writes a copy beside its place, and opens it again: it has to be the model. Nothing is left of one that is not.
async fn written(store: &Store, workspace: &Path, new: &Path, format: &str, version: &Version) -> Result<(), String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let helped = |error: ModelError| error.help().map_or_else(|| error.to_string(), |help| format!("{error} ({help})"));
    let artifact = store.find_tree(version.artifact).ok_or_else(|| format!("the files of this model ({}) are not in the store", version.artifact.short()))?;
    let model = train::load(store, artifact).map_err(|error| said(&error))?;
    let is_ours = model.card.provider == "local";
    let format = ExportFormat::of(format).ok_or("the form is not known")?;
    let files: BTreeMap<String, Vec<u8>> = if is_ours {
        fetch(&model.card.base, workspace, &Silent).await.map_err(helped)?;
        format.files(&model, workspace).map_err(helped)?
    } else if format == ExportFormat::Peft && model.files.contains_key("adapter_config.json") {
        model.files.clone()
    } else {
        return Err(format!(
            "of a model of `{}` there is {} to be copied",
            model.card.provider,
            if model.files.is_empty() { "nothing" } else { "no such form" }
        ));
    };
    clear(new);
    let put = |place: &Path, bytes: &[u8]| {
        let mut file = File::create(place)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let write = || -> std::io::Result<()> {
        new.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        if let Some(only) = files.get("") {
            return put(new, only);
        }
        std::fs::create_dir(new)?;
        files.iter().try_for_each(|(name, bytes)| put(&new.join(name), bytes))
    };
    let done = write().map_err(|error| said(&error));
    let done = done.and_then(|()| if is_ours { format.prove(new, &model, workspace).map_err(helped) } else { Ok(()) });
    done.inspect_err(|_| clear(new))
}
