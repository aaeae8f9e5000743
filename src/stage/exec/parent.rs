//! The thread that a command is a child of.
//!
//! Linux sends the parent-death signal when the *thread* that began a process ends, not its program. The runtime's threads come and
//! go, so each command has a thread of its own that begins it and waits for it. It also keeps the number of a command that is over
//! from being used again as long as somebody may still send signals to its group.

use std::convert::Infallible;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, kill_process_group, waitid, waitpid};
use tokio::sync::oneshot;

use super::fence::Fence;
use super::spawn::Birth;

/// What a thread needs that begins one command, in bytes: naming what is around a workspace takes most of it.
const STACK: usize = 512 << 10;

/// A command that goes on. When this is dropped, so is the command.
#[derive(Debug)]
pub struct Running {
    group: Pid,
    end: oneshot::Receiver<io::Result<ExitStatus>>,
    over: bool,
    /// Until this is dropped the number of the command is its own.
    _number: Sender<Infallible>,
}

impl Running {
    /// Begins a command, behind a fence if there is one. The outer error is that there can be no fence, the inner one that the command
    /// cannot be begun.
    ///
    /// # Errors
    /// When the system cannot do that.
    pub fn begin(birth: Birth, fence: Option<Fence>) -> io::Result<io::Result<Self>> {
        let (tell, told) = channel();
        let (ended, end) = oneshot::channel();
        let (number, held) = channel::<Infallible>();
        let parent = move || {
            let begun = fence.map_or(Ok(()), |fence| fence.raise()).map(|()| birth.begin());
            drop(birth);
            let process = begun.as_ref().ok().and_then(|begun| begun.as_ref().ok().copied());
            let _ = tell.send(begun);
            if let Some(process) = process {
                let _ = ended.send(wait(process));
                // Nothing is ever sent: it waits for the other side to be dropped.
                let _ = held.recv();
                let _ = retry_on_intr(|| waitpid(Some(process), WaitOptions::empty()));
            }
        };
        if let Err(error) = thread::Builder::new().name("parent".into()).stack_size(STACK).spawn(parent) {
            return Ok(Err(error));
        }
        let begun = told.recv().unwrap_or_else(|_| Ok(Err(io::Error::other("the thread that begins the command panicked"))))?;
        Ok(begun.map(|group| Self { group, end, over: false, _number: number }))
    }

    /// The process group that it is the first of.
    pub fn group(&self) -> Pid {
        self.group
    }

    /// Waits until it is over. What it left in its group may go on.
    ///
    /// # Errors
    /// When the system does not say how it ended.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        let end = (&mut self.end).await.unwrap_or_else(|_| Err(io::Error::other("the thread that waits for the command panicked")));
        self.over = end.is_ok();
        end
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            let _ = kill_process_group(self.group, Signal::KILL);
        }
    }
}

/// How a process ended, which stays in the system's list.
fn wait(process: Pid) -> io::Result<ExitStatus> {
    loop {
        match waitid(WaitId::Pid(process), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Ok(Some(status)) => return Ok(how(&status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// As `wait(2)` writes it: the exit code in the second byte, or the signal in the first.
fn how(status: &WaitIdStatus) -> ExitStatus {
    let code = status.exit_status().map(|code| code << 8);
    ExitStatus::from_raw(code.or_else(|| status.terminating_signal()).unwrap_or_default())
}
