//! Who makes results, and from which state of the repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::stage::Given;
use crate::store::Maker;

/// The state of the repository that the workspace is in, looked at once in a run.
#[derive(Debug)]
pub struct Origin {
    commit: Option<String>,
    /// Whether what the commit holds was changed.
    changed: bool,
    /// Files, and folders with `/` at the end, that lie in the workspace and that no commit holds.
    untracked: Vec<String>,
}

impl Origin {
    /// Looks at the repository of a workspace.
    pub fn of(root: &Path) -> Self {
        const ABOUT: &[&str] = &["status", "--porcelain=v2", "--branch", "-z", "--untracked-files=normal", "--ignored=traditional", "--", "."];
        // Where there is no repository, git need not be asked.
        let inside = root.ancestors().any(|folder| folder.join(".git").exists());
        let said = inside.then(|| git(root, ABOUT)).flatten().unwrap_or_default();
        let above = inside.then(|| git(root, &["rev-parse", "--show-prefix"])).flatten().unwrap_or_default();
        let above = above.trim_end_matches('\n');
        let mut origin = Self { commit: None, changed: false, untracked: Vec::new() };
        for line in said.split('\0').filter(|line| !line.is_empty()) {
            if let Some(about) = line.strip_prefix("# ") {
                origin.commit = about.strip_prefix("branch.oid ").filter(|oid| *oid != "(initial)").map(str::to_owned).or(origin.commit);
            } else if let Some(path) = line.strip_prefix("? ").or_else(|| line.strip_prefix("! ")) {
                origin.untracked.extend(path.strip_prefix(above).map(str::to_owned));
            } else {
                origin.changed = true;
            }
        }
        origin
    }

    /// This program, this machine, and whether the commit is all that the result was made from.
    pub fn maker(&self, given: &BTreeMap<String, Given>, replayed: bool) -> Maker {
        let unknown = |path: &String| self.untracked.iter().any(|other| other == path || other.ends_with('/') && path.starts_with(other.as_str()));
        let beside = given.values().any(|given| matches!(given, Given::Files(files) if files.iter().any(|(path, _)| unknown(path))));
        Maker {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: MACHINE.clone(),
            commit: self.commit.clone(),
            dirty: self.commit.is_some() && (self.changed || beside),
            replayed,
        }
    }
}

/// The system, and the kind of CPU: what is computed in single precision is the same to the byte only on one kind of it.
static MACHINE: LazyLock<String> = LazyLock::new(|| {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = about.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1.trim().to_owned()));
    let parts = [Some(format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)), model, vectors().map(str::to_owned)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
});

/// The widest vectors of the CPU that products of matrices are made with.
#[cfg(target_arch = "x86_64")]
fn vectors() -> Option<&'static str> {
    let kinds = [("AVX-512", is_x86_feature_detected!("avx512f")), ("AVX2", is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"))];
    kinds.into_iter().find_map(|(name, has)| has.then_some(name))
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> Option<&'static str> {
    None
}

/// What git says. A workspace without git, or a machine without it, has no commit.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    // It needs no keys of ours.
    let kept = ["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let output = Command::new("git").env_clear().envs(kept).arg("-C").arg(root).args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
