//! The environment that every command has, besides what its stage declares.

use std::path::Path;
use std::sync::LazyLock;

use crate::fingerprint::Tree;

/// Where programs are looked for that a system has for all its users: on Linux, on a Mac with Homebrew, on NixOS.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin:/run/current-system/sw/bin";

/// What is the same everywhere.
const FIXED: [(&str, &str); 4] = [("LC_ALL", "C.UTF-8"), ("PATH", PATH), ("TZ", "UTC"), ("USER", "retune")];

/// What is the temporary folder of the attempt, which is empty in the beginning: `HOME` too, since the files of a home folder are
/// declared by nobody.
const OWN: [&str; 2] = ["HOME", "TMPDIR"];

/// The variables with their values.
pub fn minimum(temporary: &Path) -> impl Iterator<Item = (&'static str, String)> {
    let own = temporary.display().to_string();
    FIXED.into_iter().map(|(name, value)| (name, value.to_owned())).chain(OWN.map(|name| (name, own.clone())))
}

/// Whether a command finds a program: in the `PATH` of this process where it sees that, else where systems keep those for all users.
pub fn has_program(name: &str, sees_path: bool) -> bool {
    let own = std::env::var("PATH").ok().filter(|_| sees_path);
    std::env::split_paths(own.as_deref().unwrap_or(PATH)).any(|folder| folder.join(name).is_file())
}

/// The same as a part of a key, without the names of this machine.
static OF_KEY: LazyLock<String> = LazyLock::new(|| {
    let fixed = FIXED.map(|(name, value)| format!("{name}={value}"));
    fixed.into_iter().chain(OWN.map(|name| format!("{name}=(a folder of its own)"))).collect::<Vec<_>>().join(" ")
});

/// The part of a key that stands for it.
pub fn of_key() -> Tree {
    Tree::text(OF_KEY.as_str())
}
