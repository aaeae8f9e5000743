use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::super::{Context, StageError};

/// How long a command may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Runs a command in a folder, with its output in the log, in a process group of its own that ends with this program.
pub async fn run(command: &str, folder: &Path, environment: &BTreeMap<String, String>, context: &Context<'_>) -> Result<(), StageError> {
    let failed = |doing: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| StageError::Io { doing, path, source }
    };
    if let Some(parent) = context.log.parent() {
        std::fs::create_dir_all(parent).map_err(failed("create", parent))?;
    }
    let log = File::create(context.log).map_err(failed("create", context.log))?;
    let errors = log.try_clone().map_err(failed("open", context.log))?;
    let mut process = Command::new("/bin/sh");
    process.arg("-c").arg(command).current_dir(folder).stdin(Stdio::null()).stdout(log).stderr(errors).kill_on_drop(true).process_group(0);
    process.env_clear().envs(minimum()).envs(environment);
    let mut child = process.spawn().map_err(failed("start sh in", folder))?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let attempts = context.folder.parent().unwrap_or(context.folder);
    group.inspect(|&group| context.guard.began(attempts, group));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.map_err(failed("wait for sh in", folder))?,
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                if context.watch.stopped() {
                    end(&mut child).await;
                    group.inspect(|&group| context.guard.ended(group));
                    return Err(StageError::Stopped);
                }
            }
        }
    };
    // What the command left running in the background must not write any more.
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
        context.guard.ended(group);
    }
    if status.success() { Ok(()) } else { Err(StageError::CommandFailed { how: how_it_ended(status), tail: tail(context.log) }) }
}

/// The environment that every command has, besides what its stage declares. `PATH` and `HOME` are this
/// machine's, so that tools are found; by contract they do not change results.
fn minimum() -> Vec<(&'static str, String)> {
    let own = ["PATH", "HOME", "USER", "TMPDIR"].into_iter().filter_map(|name| Some((name, std::env::var(name).ok()?)));
    own.chain([("LC_ALL", "C.UTF-8".to_owned()), ("TZ", "UTC".to_owned())]).collect()
}

/// Asks the whole process group to end, and makes it end where it does not.
async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
        return;
    };
    let _ = kill_process_group(group, Signal::TERM);
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = kill_process_group(group, Signal::KILL);
        let _ = child.wait().await;
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// The last lines of the log.
fn tail(log: &Path) -> String {
    const LINES: usize = 15;
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
