//! Places outside of the workspace that rows come from. A source is one file here and one line in [`SOURCES`].

mod bucket;
mod command;
mod database;
mod http;
mod hub;
mod postgres;
mod stored;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use miette::Diagnostic;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{Block, ConfigError};

use super::super::{Compiler, Context, Input, StageError};

/// Makes a source of what is declared of it.
pub type Prepare = fn(&Block, &Compiler<'_>) -> Result<Box<dyn Source>, ConfigError>;

/// A kind of places.
#[derive(Clone, Copy, Debug)]
pub struct SourceKind {
    /// What its addresses begin with, up to the colon.
    pub schemes: &'static [&'static str],
    /// The settings of a `source` that it reads, beside those that all have.
    pub reads: &'static [&'static str],
    /// Makes it ready.
    pub prepare: Prepare,
}

/// All kinds.
pub static SOURCES: &[SourceKind] = &[http::KIND, bucket::KIND, database::KIND, postgres::KIND, hub::KIND, stored::KIND, command::KIND];

/// A place outside of the workspace.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    /// Brings all of it into the folder, as files.
    async fn fetch(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError>;

    /// Files of the workspace that it is made of, where it is.
    fn inputs(&self) -> Vec<Input> {
        Vec::new()
    }
}

/// What a source fetches with.
#[derive(Debug)]
pub struct Fetching<'a> {
    /// Where its files go.
    pub folder: &'a Path,
    /// What is kept there is found by the next attempt, should this one fail.
    pub kept: &'a Path,
    /// What was said of it when it was last fetched.
    pub last: Option<&'a About>,
    /// The most that it may be, in bytes.
    pub largest: u64,
    /// All the rest.
    pub context: &'a Context<'a>,
}

/// What came of it.
#[derive(Debug)]
pub enum Fetched {
    /// It is what it was.
    Same,
    /// It is in the folder.
    New(About),
}

/// What a source says of its content, so that it need not be fetched again while that holds: by file, or for all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Where it was found, such as a revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When it was changed, as the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified: Option<String>,
    /// The entity tag of each file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

/// What can be wrong with a source.
#[derive(Debug, Error, Diagnostic)]
pub enum SourceError {
    /// It does not answer.
    #[error("cannot reach {address}: {reason}")]
    #[diagnostic(
        code(source::unreachable),
        help(
            "check the address and the network; with `refresh \"always\"` or `refresh \"every\" \"1d\"` a source that was fetched before is used as it was then"
        )
    )]
    Unreachable { address: String, reason: String },

    /// It says no.
    #[error("{address} was refused: {problem}")]
    #[diagnostic(code(source::refused), help("check the address, what is asked for there, and the right to read it"))]
    Refused { address: String, problem: String },

    /// It is more than it may be.
    #[error("{address} is larger than {most} bytes")]
    #[diagnostic(code(source::too_large), help("raise `largest=` of the source if so much is meant"))]
    TooLarge { address: String, most: u64 },
}

impl SourceError {
    /// It says no.
    pub fn refused(address: &str, problem: &str) -> Self {
        Self::Refused { address: address.to_owned(), problem: problem.to_owned() }
    }

    /// It does not answer.
    pub fn unreachable(address: &str, reason: &dyn std::fmt::Display) -> Self {
        Self::Unreachable { address: address.to_owned(), reason: reason.to_string() }
    }
}

/// The kind of an address, if it is one of those.
pub fn kind(scheme: &str) -> Option<&'static SourceKind> {
    SOURCES.iter().find(|kind| kind.schemes.contains(&scheme))
}

/// A path below the folder, whose folders are made. Names that lead out of it are refused.
fn below(fetching: &Fetching<'_>, address: &str, path: &str) -> Result<PathBuf, StageError> {
    let odd = path.is_empty() || path.split('/').any(|part| part.is_empty() || part == "." || part == ".." || part.contains('\0'));
    if odd {
        return Err(SourceError::refused(address, &format!("a file there has the name {path:?}, which can be none here")).into());
    }
    let place = fetching.folder.join(path);
    let parent = place.parent().unwrap_or(fetching.folder);
    std::fs::create_dir_all(parent).map_err(|source| StageError::Io { doing: "create", path: parent.to_owned(), source })?;
    Ok(place)
}

/// Settings that an address of this kind needs.
fn needed<'a>(source: &'a Block, child: &str, help: &str) -> Result<&'a str, ConfigError> {
    source.child_text(child).ok_or_else(|| ConfigError::MissingNode {
        node: "source".into(),
        child: child.into(),
        at: source.name_span.into(),
        help: help.into(),
    })
}
