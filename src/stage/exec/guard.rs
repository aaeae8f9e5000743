//! Who ends the commands of a run when the run itself was killed.
//!
//! A process that gets SIGKILL can end nothing any more, and the commands that it began would go on, writing and
//! using a GPU that the next attempt needs. So a small second process listens at a pipe. It is told of every process
//! group that begins and ends; when the pipe closes without a farewell, it kills what is left.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::store::{adopt_orphans, end_adopted, end_orphans};

use super::super::{Context, StageError};
use super::fence::Fence;
use super::parent::Running;
use super::process::Sandbox;
use super::spawn::Birth;

/// The command of the program that [`guard`] is behind.
pub const COMMAND: &str = "guard";

/// The line with which a run says that all is well.
const FAREWELL: &str = "bye";

/// A guard over the commands of one run, begun with the first of them.
#[derive(Debug, Default)]
pub struct Guard {
    /// The program that has the command; without it there is no guard.
    program: Option<PathBuf>,
    process: Mutex<Option<(std::process::Child, ChildStdin)>>,
    /// The commands that go on, by their process groups.
    running: Mutex<BTreeSet<i32>>,
}

impl Guard {
    /// A guard that is this program with the command `guard`.
    #[must_use]
    pub fn new(program: Option<PathBuf>) -> Self {
        Self { program, process: Mutex::default(), running: Mutex::default() }
    }

    /// Begins a command of an attempt, under the guard's eyes.
    ///
    /// # Errors
    /// When it cannot be begun, or there can be no fence where one is wanted.
    pub fn start(&self, command: Birth, sandbox: Sandbox, checkpoints: Option<&Path>, context: &Context<'_>) -> Result<io::Result<Running>, StageError> {
        self.ready(context.session);
        let fence = (sandbox == Sandbox::Strict).then(|| {
            let open = [context.folder, context.temporary].into_iter().chain(checkpoints);
            Fence { workspace: context.workspace.to_owned(), open: open.map(Path::to_owned).collect() }
        });
        Running::begin(command, fence).map_err(|error| StageError::NoFence { problem: error.to_string() })
    }

    /// Takes its place, if it has not yet, over all that works in the folder of the attempts of this run. A command that begins
    /// after that is ended even if nobody comes to tell of it.
    fn ready(&self, attempts: &Path) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        if process.is_none() {
            adopt_orphans();
            *process = self.program.as_ref().and_then(|program| start(program, attempts));
        }
    }

    /// Tells of a process group that began.
    pub fn began(&self, group: Pid) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(group.as_raw_nonzero().get());
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        tell(process.as_mut(), &format!("+{}", group.as_raw_nonzero()));
    }

    /// Tells that all of a process group is over.
    pub fn ended(&self, group: Pid) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&group.as_raw_nonzero().get());
        tell(self.process.lock().unwrap_or_else(PoisonError::into_inner).as_mut(), &format!("-{}", group.as_raw_nonzero()));
    }
}

impl Guard {
    /// Ends what a command left behind that went to a session of its own: `temporary` is the folder that it was begun with.
    pub fn end_left(&self, temporary: &Path) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        end_adopted(temporary, |child| running.contains(&child));
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some((mut child, mut pipe)) = self.process.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = writeln!(pipe, "{FAREWELL}");
            drop(pipe);
            let _ = child.wait();
        }
    }
}

/// Begins a guard in a process group of its own, where no Ctrl-C reaches it. Without one, commands still end with every
/// orderly end of the run.
fn start(program: &Path, attempts: &Path) -> Option<(std::process::Child, ChildStdin)> {
    let mut command = Command::new(program);
    command.arg(COMMAND).arg(attempts).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    // It needs none of the environment, and one that is empty would look as if it were just becoming another program.
    command.env_clear().env("LC_ALL", "C.UTF-8");
    let mut child = command.spawn().ok()?;
    let pipe = child.stdin.take()?;
    Some((child, pipe))
}

fn tell(process: Option<&mut (std::process::Child, ChildStdin)>, line: &str) {
    if let Some((_, pipe)) = process {
        // In one piece, so that it wakes up once. A guard that somebody killed is no reason to fail.
        let _ = pipe.write_all(format!("{line}\n").as_bytes());
    }
}

/// The guard itself: listens until the run says farewell, or kills what the run left.
pub fn guard(lines: impl BufRead, attempts: &Path) {
    // Who kills all that is called as the program is must not end its guard with it.
    let _ = rustix::thread::set_name(c"stage-guard");
    let mut groups: BTreeSet<i32> = BTreeSet::new();
    for line in lines.lines().map_while(Result::ok) {
        if line == FAREWELL {
            return;
        }
        match line.split_at_checked(1) {
            Some(("+", group)) => groups.extend(group.parse::<i32>().ok()),
            Some(("-", group)) => {
                let _ = group.parse().map(|group: i32| groups.remove(&group));
            }
            _ => {}
        }
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    // A command that began in the last moment, or left its group, works in the folder still.
    end_orphans(attempts);
}
