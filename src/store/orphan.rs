//! Processes that a command or a killed run left behind.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpgrp, kill_process, set_child_subreaper, waitpid};

/// How long it is waited for a process that is just becoming another program to show what it was begun with.
const PATIENCE: Duration = Duration::from_millis(200);

/// Kills whatever still works in a folder of attempts, or was begun with its temporary folder in it: it would write into what
/// the next attempt reads.
pub fn end_orphans(folder: &Path) {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    for process in belonging(processes.collect(), folder) {
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
    let (mut generations, until) = (0, Instant::now() + PATIENCE);
    while generations < 64 {
        let adopted: Vec<i32> = children().into_iter().filter(|child| !known(*child)).collect();
        // What was killed with its group is over already, and only stands in the system's list.
        adopted.iter().filter(|child| is_over(**child)).filter_map(|child| Pid::from_raw(*child)).for_each(|child| {
            let _ = waitpid(Some(child), WaitOptions::NOHANG);
        });
        let left = belonging(adopted.clone(), temporary);
        // Asked last: whoever did not show anything of itself because it was ending is ending now, or over.
        let is_one_ending = adopted.iter().any(|child| is_ending(*child) || is_over(*child));
        if left.is_empty() && (!is_one_ending || Instant::now() > until) {
            return;
        }
        if left.is_empty() {
            // It was killed with its group, and stands in the system's list in a moment.
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        generations += 1;
        for orphan in left {
            let _ = kill_process(orphan, Signal::KILL);
            let _ = waitpid(Some(orphan), WaitOptions::empty());
        }
    }
}

/// Whether a process of another group than ours has ended and nobody has asked how.
fn is_over(process: i32) -> bool {
    state_in_another_group(process).as_deref() == Some("Z")
}

/// Whether a process of another group than ours has let go of its program and has not ended yet.
fn is_ending(process: i32) -> bool {
    let state = state_in_another_group(process);
    state.is_some_and(|state| state != "Z") && fs::read_link(format!("/proc/{process}/exe")).is_err()
}

/// The state of a process that is there, in another group than ours.
fn state_in_another_group(process: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let (state, group) = (fields.next()?, fields.nth(1)?.parse::<i32>().ok()?);
    (group != getpgrp().as_raw_pid()).then(|| state.to_owned())
}

/// The children of the first thread of this process, by the system's own list: it is the one that orphans come to.
fn children() -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Those of some processes that work in a folder, or have their temporary folder there.
fn belonging(mut processes: Vec<i32>, folder: &Path) -> Vec<Pid> {
    let (mut found, until) = (Vec::new(), Instant::now() + PATIENCE);
    loop {
        let mut unclear = Vec::new();
        for process in processes {
            match belongs(process, folder) {
                Some(true) => found.extend(Pid::from_raw(process)),
                Some(false) => {}
                None => unclear.push(process),
            }
        }
        if unclear.is_empty() || Instant::now() > until {
            return found;
        }
        processes = unclear;
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Whether a process belongs to a folder. One that is just becoming another program does not show it.
fn belongs(process: i32, folder: &Path) -> Option<bool> {
    let place = format!("/proc/{process}");
    let place = Path::new(&place);
    if fs::read_link(place.join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder)) {
        return Some(true);
    }
    let environment = fs::read(place.join("environ")).unwrap_or_default();
    // Those that are over or the system's own have no program.
    if environment.is_empty() {
        return if fs::read_link(place.join("exe")).is_ok() { None } else { Some(false) };
    }
    let temporary = environment.split(|&byte| byte == 0).find_map(|variable| variable.strip_prefix(b"TMPDIR="));
    Some(temporary.is_some_and(|temporary| Path::new(std::ffi::OsStr::from_bytes(temporary)).starts_with(folder)))
}
