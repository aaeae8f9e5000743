use std::path::{Path, PathBuf};

use miette::Diagnostic;
use thiserror::Error;

use crate::fingerprint::Digest;

/// What can go wrong with the store.
#[derive(Debug, Error, Diagnostic)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum StoreError {
    /// The operating system refused to read or write.
    #[error("cannot {doing} {}: {source}", path.display())]
    #[diagnostic(code(store::io), help("{}", advice(source)))]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },

    /// An object is not what its name says.
    #[error("the stored object {digest} is corrupt: its content hashes to {found}")]
    #[diagnostic(code(store::corrupt), help("it has been set aside; run again and it will be made anew"))]
    Corrupt { digest: Digest, found: Digest },

    /// An object that a record needs is not there.
    #[error("the stored object {digest} is missing")]
    #[diagnostic(code(store::missing), help("run again and it will be made anew"))]
    Missing { digest: Digest },

    /// A file that is neither a regular file nor a folder.
    #[error("{} is neither a file nor a folder", path.display())]
    #[diagnostic(code(store::odd_file), help("only regular files and folders can be kept; take sockets and pipes out of the outputs"))]
    OddFile { path: PathBuf },

    /// Links in a circle.
    #[error("{} is a link to a folder that it lies in", path.display())]
    #[diagnostic(code(store::circle), help("what a link leads to is kept in its place, and this has no end; take it out"))]
    Circle { path: PathBuf },

    /// A link that leads nowhere.
    #[error("{} is a link to something that is not there", path.display())]
    #[diagnostic(code(store::dangling), help("what a link leads to is kept in its place; mend the link, or take it out"))]
    Dangling { path: PathBuf },

    /// A name that no manifest can hold.
    #[error("the name of {} is not UTF-8", path.display())]
    #[diagnostic(code(store::odd_name), help("give the file a name in UTF-8: on another machine it would be another name"))]
    OddName { path: PathBuf },

    /// A file changed while it was being read.
    #[error("{} changed while it was being read", path.display())]
    #[diagnostic(code(store::moving_file), help("wait until whatever writes it is done, then run again"))]
    MovingFile { path: PathBuf },
}

impl StoreError {
    /// The error as it is told to who knows the folder only by what lies in it.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Self {
        if let Self::Io { path, .. }
        | Self::OddFile { path }
        | Self::Circle { path }
        | Self::Dangling { path }
        | Self::OddName { path }
        | Self::MovingFile { path } = &mut self
            && let Ok(inside) = path.strip_prefix(folder)
        {
            *path = inside.to_owned();
        }
        self
    }

    /// Wraps an operating system error with what was being done.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

fn advice(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space and run again; what was finished is kept",
        ErrorKind::PermissionDenied => "give yourself the right to read and write there, and run again",
        ErrorKind::ReadOnlyFilesystem => "the place is read-only; use a workspace that can be written",
        ErrorKind::NotFound => "check that the path exists and that nothing else is deleting it",
        _ => "mend that and run again; what was finished is kept",
    }
}
