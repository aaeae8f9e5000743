use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::store::StoreError;

/// What can go wrong with history and lock files.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum LedgerError {
    /// The operating system refused to read or write.
    #[error("cannot {doing} {}: {source}", path.display())]
    #[diagnostic(code(ledger::io), help("mend that and run again; what was finished is kept"))]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },

    /// A file of ours that somebody has changed into something else, or a merge conflict.
    #[error("{} is not what retune writes: {problem}", path.display())]
    #[diagnostic(
        code(ledger::unreadable_file),
        help("resolve a merge conflict if there is one, take it from git again, or delete it: the next run writes it anew")
    )]
    Unreadable { path: PathBuf, problem: String },

    /// A file that events must not be appended to.
    #[error("{} holds something else than events", path.display())]
    #[diagnostic(code(ledger::no_events), help("`--events` appends to a file; name a new one, or one that an earlier run wrote"))]
    NoEvents { path: PathBuf },

    /// An alias that nothing was ever deployed to.
    #[error("nothing was ever deployed as `{alias}`")]
    #[diagnostic(code(ledger::unknown_alias))]
    UnknownAlias {
        alias: String,
        #[help]
        help: String,
    },

    /// There is no version to go back to.
    #[error("`{alias}` has no version before {current} to go back to")]
    #[diagnostic(code(ledger::no_earlier_version), help("deploy another version first; `retune deployments` lists what there is"))]
    NoEarlierVersion { alias: String, current: u32 },

    /// The store failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}

impl LedgerError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}
