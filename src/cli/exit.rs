use std::process::ExitCode;

/// How the program ends, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is done.
    Done,
    /// A stage failed, or something around it.
    Failed,
    /// The pipeline file or the command line is wrong.
    Wrong,
    /// A gate said no.
    Gated,
    /// `--locked` found something stale.
    Stale,
    /// The budget does not allow it.
    OverBudget,
    /// The user stopped it.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Wrong => 2,
            Exit::Gated => 3,
            Exit::Stale => 4,
            Exit::OverBudget => 5,
            Exit::Interrupted => 130,
        })
    }
}
