//! Keeps a command from writing in the workspace elsewhere than in its own folder.
//!
//! Linux can take rights from a thread for good (Landlock, from 6.2 on for all that writing is), and what the thread begins inherits that. So one thread
//! gives up its right to write in the workspace and then begins the commands. Beyond the workspace nothing is taken: tools keep
//! caches there.

use std::io;
use std::path::Path;
use std::sync::mpsc;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The thread behind which commands begin.
#[derive(Debug)]
pub struct Fence {
    orders: mpsc::Sender<Order>,
}

struct Order {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

impl Fence {
    /// A fence around a workspace with gates to the folders in it that commands may write in.
    ///
    /// # Errors
    /// When the system cannot do that.
    pub fn around(workspace: &Path, open: &[&Path]) -> io::Result<Self> {
        let (orders, taken) = mpsc::channel::<Order>();
        let (stands, answer) = mpsc::channel();
        let workspace = workspace.to_owned();
        let open: Vec<_> = open.iter().map(|&folder| folder.to_owned()).collect();
        std::thread::Builder::new().name("fence".into()).spawn(move || {
            let given_up = give_up(&workspace, &open);
            let is_up = given_up.is_ok();
            if stands.send(given_up).is_err() || !is_up {
                return;
            }
            for Order { mut command, runtime, answer } in taken {
                let _inside = runtime.enter();
                // Who does not wait for it any more has dropped the child, which ends it.
                let _ = answer.send(command.spawn());
            }
        })?;
        answer.recv().map_err(io::Error::other)??;
        Ok(Self { orders })
    }

    /// Begins a command behind the fence.
    ///
    /// # Errors
    /// When it cannot be begun.
    pub async fn begin(&self, command: Command) -> io::Result<Child> {
        let (answer, child) = oneshot::channel();
        let gone = || io::Error::other("the thread that begins commands has ended");
        self.orders.send(Order { command, runtime: Handle::current(), answer }).map_err(|_| gone())?;
        child.await.map_err(|_| gone())?
    }
}

/// Takes from this thread the right to write in the workspace. Landlock only knows what is allowed, so that all beside the way from
/// the root to the workspace is named, and the open folders in it.
#[cfg(target_os = "linux")]
fn give_up(workspace: &Path, open: &[std::path::PathBuf]) -> io::Result<()> {
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
fn give_up(_workspace: &Path, _open: &[std::path::PathBuf]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
