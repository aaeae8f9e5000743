//! What a stage keeps of an attempt, so that the next attempt of the same fingerprint need not begin from nothing.

use std::path::{Path, PathBuf};

use crate::config::{Block, Fallback, Kind, Setting, Slot};

use super::{Context, StageError};

/// The setting of a stage whose program writes them.
pub static CHECKPOINTS: Setting =
    Setting::new("checkpoints", "A folder whose content the next attempt gets when this one fails or is killed. It is gone once the stage is done.")
        .without_effect()
        .arguments(&[Slot::new("folder", Kind::Folder, "Where the command finds it and writes it; RETUNE_CHECKPOINTS names it too.")]);

/// The setting of a stage that is trained here.
pub static EVERY: Setting =
    Setting::new("checkpoints", "Keeps the state of the training, so that a killed one goes on from there: the model is the same to the byte.")
        .without_effect()
        .arguments(&[Slot::new("folder", Kind::Folder, "The name of the folder, in the state of the workspace.")])
        .properties(&[Slot::new("every", Kind::Integer(1, 1_000_000), "Steps from one to the next.").or(Fallback::Integer(50))]);

/// The folder that a stage names for its checkpoints.
pub fn folder(block: &Block) -> Option<String> {
    block.child_text(CHECKPOINTS.name).map(str::to_owned)
}

/// The checkpoints of one attempt. They lie beside the store under the action's key, in a folder that no other attempt ever
/// writes to: what an attempt finds is moved away from the one before it, which loses its way to it by that.
#[derive(Debug)]
pub struct Checkpoints {
    place: PathBuf,
    /// Where it appears while the attempt goes on.
    link: Option<PathBuf>,
    resumed: Option<String>,
}

impl Checkpoints {
    /// Takes what earlier attempts at the same key left. `inside` is a folder in it that counts.
    pub fn take(context: &Context<'_>, inside: &str) -> Result<Self, StageError> {
        let folder = context.store.checkpoints(context.key);
        std::fs::create_dir_all(&folder).map_err(failed("create", &folder))?;
        let place = folder.join(context.token);
        let earlier = latest(&folder);
        match &earlier {
            Some(earlier) => std::fs::rename(earlier, &place).map_err(failed("take over", earlier))?,
            None => std::fs::create_dir(&place).map_err(failed("create", &place))?,
        }
        let place = if inside.is_empty() { place } else { place.join(inside) };
        std::fs::create_dir_all(&place).map_err(failed("create", &place))?;
        let resumed = furthest(&place);
        if let Some(resumed) = &resumed {
            context.watch.note(&format!("resumes from {resumed}"));
        }
        Ok(Self { place, link: None, resumed })
    }

    /// Lets the folder appear at `link`.
    pub fn appear(&mut self, link: &Path) -> Result<(), StageError> {
        // One that a killed attempt left; any other link is somebody's own.
        let own = std::fs::read_link(link).is_ok_and(|to| self.place.parent().and_then(Path::parent).is_some_and(|all| to.starts_with(all)));
        if own {
            std::fs::remove_file(link).map_err(failed("replace", link))?;
        }
        if std::fs::symlink_metadata(link).is_ok() {
            return Err(StageError::InTheWay { path: link.to_owned() });
        }
        link.parent().map_or(Ok(()), |parent| std::fs::create_dir_all(parent).map_err(failed("create", parent)))?;
        std::os::unix::fs::symlink(&self.place, link).map_err(failed("create", link))?;
        self.link = Some(link.to_owned());
        Ok(())
    }

    /// The folder.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// The variable that names the folder.
    pub fn variable(&self) -> (String, String) {
        ("RETUNE_CHECKPOINTS".to_owned(), self.place.display().to_string())
    }

    /// What the attempt began from, in words.
    pub fn resumed(&self) -> Option<String> {
        self.resumed.clone()
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Some(link) = self.link.take().filter(|link| link.is_symlink()) {
            let _ = std::fs::remove_file(link);
        }
    }
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StageError {
    let path = path.to_owned();
    move |source| StageError::Io { doing, path, source }
}

/// The folder that was written to last and has anything in it.
fn latest(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let used = entries.filter(|path| std::fs::read_dir(path).is_ok_and(|mut inside| inside.next().is_some()));
    used.max_by_key(|path| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok())
}

/// What is furthest among checkpoints: the entry with the highest number at its end, in words.
fn furthest(place: &Path) -> Option<String> {
    let names: Vec<String> = std::fs::read_dir(place).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let number = |name: &String| {
        let stem = name.split('.').next().unwrap_or_default();
        let digits = stem.len() - stem.bytes().rev().take_while(u8::is_ascii_digit).count();
        stem[digits..].parse::<u64>().ok()
    };
    let step = names.iter().filter_map(number).max();
    match step {
        Some(step) => Some(format!("step {step}")),
        None => names.first().map(|_| format!("a checkpoint of {} file{}", names.len(), if names.len() == 1 { "" } else { "s" })),
    }
}
