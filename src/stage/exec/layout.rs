//! The folder that a command works in: what lies in it before, and what may lie in it after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::graph::folders_above;
use crate::store::{Artifact, Lock, displaced, move_to};

use super::super::copied::copy_of;
use super::super::{Context, Given, StageError};

/// Puts the inputs into the folder, each at its own path.
pub fn lay_out(context: &Context<'_>) -> Result<(), StageError> {
    lay(context, context.inputs.values(), context.folder)
}

/// Puts some of the inputs into a folder, each at its own path.
pub fn lay<'a>(context: &Context<'_>, inputs: impl Iterator<Item = &'a Given>, folder: &Path) -> Result<(), StageError> {
    let mut made = BTreeSet::new();
    for given in inputs {
        match given {
            Given::Artifact { name, artifact } => link(context, *artifact, &folder.join(name))?,
            Given::Part(files) => {
                for (path, artifact) in files {
                    let target = folder.join(path);
                    // Two inputs may mean one file.
                    if !target.exists() {
                        link(context, *artifact, &target)?;
                    }
                }
            }
            Given::Files(files) => {
                for (path, digest) in files {
                    let target = folder.join(path);
                    // Two inputs may mean one file.
                    if target.exists() {
                        continue;
                    }
                    if let Some(parent) = target.parent().filter(|parent| *parent != folder && !made.contains(*parent)) {
                        make_folder(parent)?;
                        made.insert(parent.to_owned());
                    }
                    copy_of(context.workspace, path, *digest, &target)?;
                }
            }
        }
    }
    Ok(())
}

/// Links an artifact into the folder, at a path that may lie deep in it.
fn link(context: &Context<'_>, artifact: Artifact, target: &Path) -> Result<(), StageError> {
    if let Some(parent) = target.parent().filter(|parent| *parent != context.folder) {
        make_folder(parent)?;
    }
    Ok(context.store.link(artifact, target)?)
}

/// What was laid out: for each file below the folder its size, and when its content was last written.
pub type Laid = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// Looks at all that lies in the folder before the command begins.
pub fn laid(context: &Context<'_>) -> Laid {
    files(context.folder)
}

/// Looks at all that lies in a folder.
pub fn files(folder: &Path) -> Laid {
    let entries = walkdir::WalkDir::new(folder).min_depth(1).into_iter().flatten().filter(|entry| !entry.file_type().is_dir());
    entries.filter_map(|entry| Some((entry.path().strip_prefix(folder).ok()?.to_owned(), written(entry.path())))).collect()
}

/// Looks at what stages made where it lies in the workspace, for a command that works there. Files that no stage makes are
/// looked after by [`Context::moved`].
pub fn lying(context: &Context<'_>) -> Laid {
    let mut laid = Laid::new();
    for given in context.inputs.values() {
        let files = match given {
            Given::Part(files) => files.iter().map(|(path, _)| PathBuf::from(path)).collect(),
            Given::Artifact { name, .. } => below(context.workspace, name),
            Given::Files(_) => Vec::new(),
        };
        laid.extend(files.into_iter().map(|path| (path.clone(), written(&context.workspace.join(&path)))));
    }
    laid
}

fn below(root: &Path, name: &str) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(root.join(name)).follow_links(true).into_iter().flatten();
    let files = entries.filter(|entry| !entry.file_type().is_dir());
    files.filter_map(|entry| entry.path().strip_prefix(root).ok().map(Path::to_owned)).collect()
}

/// The first file that is not as it was.
pub fn moved(before: &Laid, after: &Laid) -> Option<String> {
    let mut paths = before.keys().chain(after.keys());
    paths.find(|path| before.get(*path) != after.get(*path)).map(|path| path.display().to_string())
}

fn written(path: &Path) -> (u64, Option<SystemTime>) {
    std::fs::symlink_metadata(path).map_or((0, None), |file| (file.len(), file.modified().ok()))
}

/// Makes sure that the command did not write into what stages made: that is links to the objects of the store.
pub fn untouched(context: &Context<'_>, laid: &Laid) -> Result<(), StageError> {
    for (name, artifact) in made(context) {
        let own = laid.range(PathBuf::from(name)..).take_while(|(path, _)| path.starts_with(name));
        let changed = own.filter(|(path, before)| written(&context.folder.join(path)) != **before).count() > 0;
        if changed && context.store.verify_all(artifact).is_err() {
            // Whichever of its files is wrong has been set aside, and is made anew.
            return Err(StageError::InputWritten { path: name.to_owned() });
        }
    }
    Ok(())
}

/// The files of the workspace of which the command changed its copy.
pub fn edited(context: &Context<'_>, laid: &Laid) -> Vec<String> {
    let files = context.inputs.values().filter_map(|given| match given {
        Given::Files(files) => Some(files),
        Given::Artifact { .. } | Given::Part(_) => None,
    });
    let changed = |path: &&String| laid.get(Path::new(path.as_str())).is_some_and(|before| written(&context.folder.join(path)) != *before);
    files.flatten().map(|(path, _)| path).filter(changed).take(5).cloned().collect()
}

/// Makes sure that nothing is left in the folder but inputs and what is `own`: whatever else was written would be lost
/// without a word. Hidden files and the bytecode that Python leaves behind are nobody's results.
pub fn nothing_else(context: &Context<'_>, laid: &Laid, own: &[PathBuf]) -> Result<(), StageError> {
    let known = |path: &Path| laid.contains_key(path) || own.iter().any(|own| own == path);
    let passed_over = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.starts_with('.') || name == "__pycache__");
    let mut odd = Vec::new();
    let mut entries = walkdir::WalkDir::new(context.folder).min_depth(1).into_iter();
    while let Some(entry) = entries.next() {
        let Ok(entry) = entry else {
            continue;
        };
        let path = entry.path().strip_prefix(context.folder).unwrap_or(entry.path());
        let is_folder = entry.file_type().is_dir();
        if passed_over(entry.file_name()) || known(path) {
            if is_folder {
                entries.skip_current_dir();
            }
        } else if !is_folder {
            odd.push(path.display().to_string());
        }
    }
    odd.sort();
    if odd.is_empty() { Ok(()) } else { Err(StageError::UndeclaredOutput { paths: odd }) }
}

/// Waits for the right to write the outputs in the workspace: other runs may be about to do the same.
pub async fn alone(context: &Context<'_>, outputs: &[String]) -> Result<Vec<Lock>, StageError> {
    // In one order, so that no two wait for each other.
    let mut names: Vec<String> = outputs.iter().map(|output| format!("output {output}")).collect();
    names.sort_unstable();
    names.dedup();
    let mut locks = Vec::with_capacity(names.len());
    for name in names {
        loop {
            if let Some(lock) = Lock::try_alone(context.store, &name)? {
                locks.push(lock);
                context.watch.begins();
                break;
            }
            if context.watch.let_go() {
                return Err(StageError::Stopped);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(locks)
}

/// Makes sure that what stages made lies in the workspace as they made it, for a command that reads it there.
pub fn as_made(context: &Context<'_>) -> Result<(), StageError> {
    match made(context).find(|(name, artifact)| !context.store.is_at(*artifact, &context.workspace.join(name))) {
        Some((name, _)) => Err(StageError::InputChanged { path: name.to_owned() }),
        None => Ok(()),
    }
}

/// What stages made of the inputs, each by its path.
fn made<'a>(context: &Context<'a>) -> impl Iterator<Item = (&'a str, Artifact)> {
    context.inputs.values().flat_map(|given| match given {
        Given::Artifact { name, artifact } => vec![(name.as_str(), *artifact)],
        Given::Part(files) => files.iter().map(|(path, artifact)| (path.as_str(), *artifact)).collect(),
        Given::Files(_) => Vec::new(),
    })
}

/// What lies at the outputs of a command that works in the workspace, out of its way while it goes on.
#[derive(Debug, Default)]
pub struct Cleared {
    moved: Vec<Moved>,
    outputs: Vec<PathBuf>,
}

#[derive(Debug)]
struct Moved {
    /// Where it belongs.
    place: PathBuf,
    /// Where it is meanwhile.
    aside: PathBuf,
    /// Where it is said to be kept, where the store does not have it.
    kept_as: Option<String>,
}

impl Cleared {
    /// Makes the paths of the outputs free.
    pub fn clear(context: &Context<'_>, outputs: &[String]) -> Result<Self, StageError> {
        let mut cleared = Self { moved: Vec::new(), outputs: outputs.iter().map(|output| context.workspace.join(output)).collect() };
        let above = outputs.iter().flat_map(|output| folders_above(output)).map(|above| (above, context.workspace.join(above)));
        let in_the_way = above.filter(|(_, place)| place.symlink_metadata().is_ok() && !place.is_dir());
        let own = outputs.iter().map(|output| (output.as_str(), context.workspace.join(output)));
        for (path, place) in in_the_way.chain(own).collect::<Vec<_>>() {
            if let Err(error) = cleared.move_away(context, path, &place) {
                cleared.end(context, false);
                return Err(error);
            }
        }
        Ok(cleared)
    }

    fn move_away(&mut self, context: &Context<'_>, path: &str, place: &Path) -> Result<(), StageError> {
        if std::fs::symlink_metadata(place).is_err() {
            return Ok(());
        }
        if !context.store.knows(place) {
            let (aside, kept_as) = displaced(context.store, path, context.token);
            move_to(place, &aside).map_err(|source| StageError::Io { doing: "move aside", path: place.to_owned(), source })?;
            context.watch.note(&format!("what {path} held is kept as {kept_as} while the command runs"));
            self.moved.push(Moved { place: place.to_owned(), aside, kept_as: Some(kept_as) });
            return Ok(());
        }
        let aside = context.folder.join(format!("before-{}", self.moved.len()));
        if move_to(place, &aside).is_ok() {
            self.moved.push(Moved { place: place.to_owned(), aside, kept_as: None });
            return Ok(());
        }
        remove(place).map_err(|source| StageError::Io { doing: "replace", path: place.to_owned(), source })
    }

    /// The command is over. Where it failed, all is as it was before: what it left half done is nobody's result.
    pub fn end(self, context: &Context<'_>, went_well: bool) {
        if !went_well {
            for output in &self.outputs {
                let _ = remove(output);
            }
        }
        for Moved { place, aside, kept_as } in self.moved {
            match (went_well, kept_as) {
                // That it comes back is a convenience: the next run puts it back from the store in any case.
                (false, _) => {
                    // Where a folder had to be made in the place of a file.
                    let _ = std::fs::remove_dir(&place);
                    let _ = move_to(&aside, &place);
                    // Nothing of the user's is there any more.
                    let _ = aside.parent().map(std::fs::remove_dir);
                }
                (true, None) => drop(remove(&aside)),
                (true, Some(kept_as)) => {
                    let path = place.strip_prefix(context.workspace).unwrap_or(&place).display().to_string();
                    context.watch.note(&format!("{path} held something that the store does not have; it is kept as {kept_as}"));
                }
            }
        }
    }
}

fn remove(place: &Path) -> std::io::Result<()> {
    if place.is_dir() && !place.is_symlink() { std::fs::remove_dir_all(place) } else { std::fs::remove_file(place) }
}

pub fn make_folder(path: &Path) -> Result<(), StageError> {
    std::fs::create_dir_all(path).map_err(|source| StageError::Io { doing: "create", path: path.to_owned(), source })
}
