//! Processes that a killed run left behind.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Kills whatever still works in a folder of attempts whose owner is dead: it would write into what the next attempt reads.
pub fn end_orphans(folder: &Path) {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let there = processes.filter(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)));
    for process in there.filter_map(|process| Pid::from_raw(process.file_name().to_str()?.parse().ok()?)) {
        let _ = kill_process(process, Signal::KILL);
    }
}
