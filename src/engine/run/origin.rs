//! Who makes results, and from which state of the repository.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::store::Maker;

/// Looks at this program, this machine, and the repository that the workspace is in.
pub fn maker(root: &Path) -> Maker {
    // Where there is no repository, git need not be asked.
    let asked =
        root.ancestors().any(|folder| folder.join(".git").exists()).then(|| git(root, &["status", "--porcelain=v2", "--branch", "--untracked-files=no"]));
    let (about, changes): (Vec<String>, Vec<String>) =
        asked.flatten().iter().flat_map(|said| said.lines()).map(str::to_owned).partition(|line| line.starts_with('#'));
    let commit = about.iter().find_map(|line| line.strip_prefix("# branch.oid ")).filter(|oid| *oid != "(initial)").map(str::to_owned);
    let dirty = commit.is_some() && !changes.is_empty();
    Maker { version: env!("CARGO_PKG_VERSION").to_owned(), machine: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH), commit, dirty }
}

/// What git says. A workspace without git, or a machine without it, has no commit.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    // It needs no keys of ours.
    let kept = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let output = Command::new("git").env_clear().envs(kept).arg("-C").arg(root).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
