//! Keeps a command from writing in the workspace elsewhere than in its own folder.
//!
//! Linux can take rights from a thread for good (Landlock, from 6.2 on for all that writing is), and what the thread begins inherits
//! that. So a thread gives up its right to write in the workspace and then begins the command. Beyond the workspace nothing is
//! taken: tools keep caches there.

use std::io;
use std::path::{Path, PathBuf};

/// A fence around a workspace.
#[derive(Debug)]
pub struct Fence {
    /// What it stands around.
    pub workspace: PathBuf,
    /// The folders in it that may be written in.
    pub open: Vec<PathBuf>,
}

impl Fence {
    /// Puts this thread behind it for good, and what it begins from now on.
    ///
    /// # Errors
    /// When the system cannot do that.
    pub fn raise(&self) -> io::Result<()> {
        give_up(&self.workspace, &self.open)
    }
}

/// Takes from this thread the right to write in the workspace. Landlock only knows what is allowed, so that all beside the way from
/// the root to the workspace is named, and the open folders in it.
#[cfg(target_os = "linux")]
fn give_up(workspace: &Path, open: &[PathBuf]) -> io::Result<()> {
    use landlock::{ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr};
    let writing = AccessFs::from_write(ABI::V3);
    let workspace = workspace.canonicalize()?;
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(writing).map_err(io::Error::other)?;
    let mut rules = rules.create().map_err(io::Error::other)?;
    for folder in open {
        let gate = PathBeneath::new(PathFd::new(folder).map_err(io::Error::other)?, writing);
        rules = rules.add_rule(gate).map_err(io::Error::other)?;
    }
    for above in workspace.ancestors().skip(1) {
        // Where it may not be looked into, nothing beside the way can be named, and all of it stays closed.
        for entry in std::fs::read_dir(above).into_iter().flatten().flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else {
                continue;
            };
            // A link may lead into the workspace; what it leads to is named where it is.
            if kind.is_symlink() || workspace.starts_with(&path) {
                continue;
            }
            let rights = if kind.is_dir() { writing } else { writing & AccessFs::from_file(ABI::V3) };
            if let Ok(beside) = PathFd::new(&path) {
                rules = rules.add_rule(PathBeneath::new(beside, rights)).map_err(io::Error::other)?;
            }
        }
    }
    rules.restrict_self().map(drop).map_err(io::Error::other)
}

#[cfg(not(target_os = "linux"))]
fn give_up(_workspace: &Path, _open: &[PathBuf]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
