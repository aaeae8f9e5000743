//! What changed since a stage's last success, for commands that can do with that.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde::Serialize;

use crate::config::{Block, Kind, Setting, Slot};
use crate::fingerprint::Digest;
use crate::store::{Artifact, Record};

use super::super::{Context, Given, StageError};
use super::process::Program;

pub static DELTAS: Setting = Setting::new(
    "deltas",
    "Tells the command what changed since its last success: RETUNE_DELTA names a JSON file, RETUNE_PREVIOUS a folder with its last outputs.",
)
.arguments(&[Slot::new("of", Kind::Choice(&["files", "rows"]), "`files` lists files; `rows` also the lines of each changed text file that a stage made.")]);

/// How closely a command wants to know what changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deltas {
    Files,
    Rows,
}

/// Whether and how closely a stage wants to know what changed.
pub fn wanted(block: &Block) -> Option<Deltas> {
    block.child_text(DELTAS.name).map(|of| if of == "rows" { Deltas::Rows } else { Deltas::Files })
}

/// What a command reads in the file that RETUNE_DELTA names.
#[derive(Debug, Default, Serialize)]
struct Delta {
    /// Whether all must be done anew: there is no last success that this one can build on.
    full: bool,
    /// Why, where it must.
    reason: Option<String>,
    added: Vec<String>,
    changed: Vec<String>,
    removed: Vec<String>,
    /// By changed file: its lines that are new, and those that are gone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    rows: BTreeMap<String, Rows>,
}

#[derive(Debug, Default, Serialize)]
struct Rows {
    added: Vec<String>,
    removed: Vec<String>,
}

/// Makes files a command's own that may be links to the stored ones: it may move them to its outputs and work on there.
fn own(place: &Path) -> std::io::Result<()> {
    for entry in walkdir::WalkDir::new(place) {
        let entry = entry?;
        let file = entry.path();
        let metadata = std::fs::metadata(file)?;
        let mut permissions = metadata.permissions();
        permissions.set_mode(permissions.mode() | 0o200);
        if metadata.is_file() && metadata.nlink() > 1 {
            let copy = file.with_extension("retune-copy");
            std::fs::copy(file, &copy)?;
            std::fs::set_permissions(&copy, permissions)?;
            std::fs::rename(&copy, file)?;
        } else {
            std::fs::set_permissions(file, permissions)?;
        }
    }
    Ok(())
}

/// Writes down what changed, and lays the last outputs beside it. The variables that name both come back.
pub fn lay(context: &Context<'_>, deltas: Deltas, outputs: &[String], program: &Program, directory: Option<&str>) -> Result<Vec<(String, String)>, StageError> {
    let folder = context.temporary.join("delta");
    let previous = folder.join("previous");
    super::layout::make_folder(&previous)?;
    let now = files(context)?;
    let delta = match built_on(context, outputs, &now, deltas, |path| program.is_of(path, directory)) {
        Ok((record, delta)) => {
            for (name, artifact) in &record.outcome.outputs {
                let place = previous.join(name);
                context.store.export(*artifact, &place)?;
                own(&place).map_err(|source| StageError::Io { doing: "copy", path: place.clone(), source })?;
            }
            delta
        }
        Err(reason) => Delta { full: true, reason: Some(reason), added: now.keys().cloned().collect(), ..Delta::default() },
    };
    if let Some(reason) = &delta.reason {
        context.watch.note(&format!("a full run: {reason}"));
    }
    let place = folder.join("delta.json");
    let bytes = serde_json::to_vec_pretty(&delta).unwrap_or_default();
    std::fs::write(&place, bytes).map_err(|source| StageError::Io { doing: "write", path: place.clone(), source })?;
    Ok(vec![("RETUNE_DELTA".into(), place.display().to_string()), ("RETUNE_PREVIOUS".into(), previous.display().to_string())])
}

/// The last success, and what changed since; or why there is nothing to build on.
fn built_on<'a>(
    context: &Context<'a>,
    outputs: &[String],
    now: &BTreeMap<String, (Digest, bool)>,
    deltas: Deltas,
    is_code: impl Fn(&str) -> bool,
) -> Result<(&'a Record, Delta), String> {
    let record = base(context, outputs)?;
    let delta = difference(context, &before(context, record)?, now, deltas)?;
    let changed = [&delta.added, &delta.changed, &delta.removed].into_iter().flatten();
    if let Some(code) = changed.into_iter().find(|path| is_code(path)) {
        return Err(format!("`{code}` is a part of the command, and changed"));
    }
    Ok((record, delta))
}

/// The last success, if what it made is the right thing to build on: same command, same settings, same environment, and all
/// of its outputs still here.
fn base<'a>(context: &Context<'a>, outputs: &[String]) -> Result<&'a Record, String> {
    let record = context.last.ok_or("there is no last success to build on, or all was asked for by `--force`")?;
    if !record.outcome.accepted.is_empty() {
        return Err("its last result was kept over an edit that it never saw".into());
    }
    let (old, new) = (&record.preimage, context.preimage);
    if (&old.kind, old.version, &old.settings, &old.context) != (&new.kind, new.version, &new.settings, &new.context) {
        return Err("its settings changed".into());
    }
    let whole = outputs.iter().all(|output| record.outcome.outputs.get(output).is_some_and(|artifact| context.store.has(*artifact)));
    if whole { Ok(record) } else { Err("its last outputs are not in this store".into()) }
}

/// The files that go in now, with the artifact behind each that a stage made.
fn files(context: &Context<'_>) -> Result<BTreeMap<String, (Digest, bool)>, StageError> {
    let mut files = BTreeMap::new();
    for given in context.inputs.values() {
        match given {
            Given::Files(seen) => files.extend(seen.iter().map(|(path, digest)| (path.clone(), (*digest, false)))),
            Given::Artifact { name, artifact } => spread(context, name, *artifact, &mut files)?,
            Given::Part(part) => part.iter().try_for_each(|(path, artifact)| spread(context, path, *artifact, &mut files))?,
        }
    }
    Ok(files)
}

fn spread(context: &Context<'_>, name: &str, artifact: Artifact, files: &mut BTreeMap<String, (Digest, bool)>) -> Result<(), StageError> {
    match artifact {
        Artifact::Tree { .. } => {
            let inside = context.store.tree(artifact)?.into_iter();
            files.extend(inside.map(|file| (format!("{name}/{}", file.path), (file.artifact().identity(), true))));
        }
        Artifact::File { .. } | Artifact::Program { .. } => files.extend([(name.to_owned(), (artifact.identity(), true))]),
    }
    Ok(())
}

/// The files that went into the last success.
fn before(context: &Context<'_>, record: &Record) -> Result<BTreeMap<String, (Digest, bool)>, String> {
    let gone = |what: &str| format!("what went into it then ({what}) is not in this store");
    let mut files = BTreeMap::new();
    for (name, content) in &record.preimage.inputs {
        if let Some(listing) = content.listing {
            let listing = context.store.listing(listing).map_err(|_| gone(name))?;
            files.extend(listing.into_iter().map(|(path, digest)| (path, (digest, false))));
        } else if let Some(tree) = context.store.find_tree(content.digest) {
            spread(context, name, tree, &mut files).map_err(|_| gone(name))?;
        } else if matches!(context.inputs.get(name), Some(Given::Artifact { artifact: Artifact::Tree { .. }, .. })) {
            return Err(gone(name));
        } else {
            files.insert(name.clone(), (content.digest, false));
        }
    }
    Ok(files)
}

fn difference(
    context: &Context<'_>,
    before: &BTreeMap<String, (Digest, bool)>,
    now: &BTreeMap<String, (Digest, bool)>,
    deltas: Deltas,
) -> Result<Delta, String> {
    let mut delta = Delta::default();
    delta.added.extend(now.keys().filter(|path| !before.contains_key(*path)).cloned());
    delta.removed.extend(before.keys().filter(|path| !now.contains_key(*path)).cloned());
    for (path, (new, made)) in now {
        let Some((old, _)) = before.get(path).filter(|(old, _)| old != new) else {
            continue;
        };
        delta.changed.push(path.clone());
        if deltas == Deltas::Rows && *made {
            let text = |digest: Digest| context.store.text(digest).map_err(|error| error.to_string());
            let old = text(*old)?.ok_or_else(|| format!("the rows of `{path}` as they were are not in this store"))?;
            if let Some(new) = text(*new)? {
                delta.rows.insert(path.clone(), rows(&old, &new));
            }
        }
    }
    Ok(delta)
}

/// Lines that only one of two texts has, each as often as it has it more often.
fn rows(old: &str, new: &str) -> Rows {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    // By line feeds alone: what else ends a line elsewhere is a part of it here.
    old.split_terminator('\n').for_each(|line| *counts.entry(line).or_default() -= 1);
    new.split_terminator('\n').for_each(|line| *counts.entry(line).or_default() += 1);
    let mut rows = Rows::default();
    for (line, count) in counts {
        let side = if count > 0 { &mut rows.added } else { &mut rows.removed };
        side.extend((0..count.abs()).map(|_| line.to_owned()));
    }
    rows
}
