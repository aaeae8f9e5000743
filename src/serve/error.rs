use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use miette::Diagnostic;
use thiserror::Error;

use crate::store::StoreError;

/// Why there is no gateway.
#[derive(Debug, Error, Diagnostic)]
pub enum ServeError {
    /// It would be open to the network.
    #[error("whoever reaches {address} could use the models, since there are no keys")]
    #[diagnostic(code(serve::open), help("make one with `retune serve --new-key NAME`, or listen on 127.0.0.1"))]
    Open {
        /// Where it was to listen.
        address: SocketAddr,
    },
    /// The address cannot be had.
    #[error("it cannot listen on {address}: {source}")]
    #[diagnostic(code(serve::no_place), help("somebody else may have it: `--listen 127.0.0.1:0` takes any free port"))]
    NoPlace {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The file of keys is not as it is written here.
    #[error("{} holds a line that is no key", path.display())]
    #[diagnostic(code(serve::bad_keys), help("a line is a hash and a name, and `retune serve --new-key NAME` writes it"))]
    BadKeys {
        /// The file.
        path: PathBuf,
    },
    /// A key cannot be called so.
    #[error("`{name}` cannot be the name of a key")]
    #[diagnostic(code(serve::bad_name), help("use letters, digits, `-`, `_` and `.`, at most 100 of them"))]
    BadName {
        /// The name.
        name: String,
    },
    /// There is a key of this name.
    #[error("there is a key `{name}` already")]
    #[diagnostic(code(serve::key_taken), help("take another name, or `retune serve --drop-key {name}` first"))]
    KeyTaken {
        /// Its name.
        name: String,
    },
    /// There is no key of this name.
    #[error("there is no key `{name}`")]
    #[diagnostic(code(serve::no_such_key), help("`retune serve --list-keys` has those that there are"))]
    NoSuchKey {
        /// The name.
        name: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    #[diagnostic(code(serve::io), help("look at the path and its permissions"))]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There can be no thread.
    #[error("no thread can be had: {source}")]
    #[diagnostic(code(serve::thread), help("the system has none left for this user: `ulimit -u`"))]
    Thread {
        /// What the system says.
        source: io::Error,
    },
    /// The store cannot be written.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Store(#[from] StoreError),
}
