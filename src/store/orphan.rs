//! Processes that a command or a killed run left behind.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_child_subreaper, waitpid};

/// Kills whatever still works in a folder of attempts, or was begun with its temporary folder in it: it would write into what
/// the next attempt reads.
pub fn end_orphans(folder: &Path) {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    for process in processes.filter(|process| belongs(*process, folder)).filter_map(Pid::from_raw) {
        let _ = kill_process(process, Signal::KILL);
    }
}

/// From now on, what a command leaves behind when it ends becomes a child of this process, wherever it went.
pub fn adopt_orphans() {
    // Where that cannot be, orphans are looked for when an attempt fails or a run begins.
    let _ = set_child_subreaper(Some(rustix::process::getpid()));
}

/// Ends the adopted children that were begun with this temporary folder, and theirs. `known` are those that are no orphans.
pub fn end_adopted(temporary: &Path, known: impl Fn(i32) -> bool) {
    // Who loses its parent shows up here only then, so that it takes a look for each generation.
    for _ in 0..64 {
        let left = children().into_iter().filter(|child| !known(*child) && belongs(*child, temporary));
        let left: Vec<Pid> = left.filter_map(Pid::from_raw).collect();
        if left.is_empty() {
            return;
        }
        for orphan in left {
            let _ = kill_process(orphan, Signal::KILL);
            let _ = waitpid(Some(orphan), WaitOptions::empty());
        }
    }
}

/// The children of the first thread of this process, by the system's own list: it is the one that orphans come to.
fn children() -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// The environment that a process was begun with; nothing of one that is gone.
fn environment(place: &Path) -> Vec<u8> {
    // One that becomes another program just now shows nothing for a moment, as do those that are over or the system's own: these
    // have no program.
    for _ in 0..16 {
        match fs::read(place.join("environ")) {
            Ok(environment) if environment.is_empty() && fs::read_link(place.join("exe")).is_ok() => {}
            read => return read.unwrap_or_default(),
        }
    }
    Vec::new()
}

/// Whether a process works in a folder, or has its temporary folder there.
fn belongs(process: i32, folder: &Path) -> bool {
    let place = format!("/proc/{process}");
    let place = Path::new(&place);
    if fs::read_link(place.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)) {
        return true;
    }
    let environment = environment(place);
    let temporary = environment.split(|&byte| byte == 0).find_map(|variable| variable.strip_prefix(b"TMPDIR="));
    temporary.is_some_and(|temporary| Path::new(std::ffi::OsStr::from_bytes(temporary)).starts_with(folder))
}
