//! `include`: the nodes of another file, as if they stood here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kdl::KdlNode;

use super::error::{ConfigError, IncludeError, PipelineErrors};
use super::file::{PipelineFile, Span};
use super::parse;
use super::table::{Kind, Setting, Slot};

pub static INCLUDE: Setting = Setting::new("include", "Takes in what another file declares, as if it stood here.").many().arguments(&[Slot::new(
    "path",
    Kind::Text,
    "The file, relative to the one that includes it.",
)]);

/// The nodes of the files that could be read, and what is wrong with the others.
pub type Unread = (Vec<KdlNode>, Vec<ConfigError>);

/// More files than this are no pipeline.
const MOST: usize = 1000;

/// The text of a pipeline with that of all files that it includes, and its nodes, those of a file in the place of the node that
/// includes it.
pub fn follow(file: PipelineFile) -> (PipelineFile, Result<Vec<KdlNode>, Unread>) {
    let nodes = match parse::nodes(&file.text, 0) {
        Ok(nodes) => nodes,
        Err(errors) => return (file, Err((Vec::new(), errors))),
    };
    if !nodes.iter().any(|node| node.name().value() == INCLUDE.name) {
        return (file, Ok(nodes));
    }
    let known = BTreeMap::from([(identity(&file.path), 0)]);
    let mut follower = Follower { file, known, first: vec![Span::default()], open: vec![0], errors: Vec::new(), taken: Vec::new() };
    follower.take(nodes);
    let nodes = if follower.errors.is_empty() { Ok(follower.taken) } else { Err((follower.taken, follower.errors)) };
    (follower.file, nodes)
}

/// The text of a pipeline with that of all files that it includes.
///
/// # Errors
/// When one of them cannot be had, or is no KDL.
pub fn with_includes(file: PipelineFile) -> Result<PipelineFile, PipelineErrors> {
    let (file, nodes) = follow(file);
    match nodes {
        Ok(_) => Ok(file),
        Err((_, errors)) => Err(PipelineErrors::new(&file, &errors)),
    }
}

struct Follower {
    file: PipelineFile,
    /// The files by what they are, whatever they are called.
    known: BTreeMap<PathBuf, usize>,
    /// Where each was first included.
    first: Vec<Span>,
    /// The files that are being followed, each included by the one before.
    open: Vec<usize>,
    errors: Vec<ConfigError>,
    taken: Vec<KdlNode>,
}

impl Follower {
    fn take(&mut self, nodes: Vec<KdlNode>) {
        for node in nodes {
            if node.name().value() != INCLUDE.name {
                self.taken.push(node);
                continue;
            }
            // The node stays, for what else may be wrong with it to be found.
            let path = node.entries().iter().find(|entry| entry.name().is_none());
            let path = path.and_then(|entry| Some((entry.value().as_string()?.to_owned(), Span::from(entry.span()))));
            self.taken.push(node);
            if let Some((path, at)) = path
                && let Err(error) = self.include(&path, at)
            {
                self.errors.push(error);
            }
        }
    }

    fn include(&mut self, written: &str, at: Span) -> Result<(), ConfigError> {
        let part = self.file.part(at);
        let path = part.path.parent().unwrap_or(Path::new("")).join(written);
        let name = path.display().to_string();
        if let Some(&known) = self.known.get(&identity(&path)) {
            return Err(match self.open.iter().position(|&open| open == known) {
                Some(from) => {
                    let round = self.open[from..].iter().chain([&known]).map(|&part| self.file.parts[part].name.clone());
                    IncludeError::Cycle { path: round.collect::<Vec<_>>().join(" -> "), at: at.into() }.into()
                }
                None => IncludeError::Twice { path: name, first: self.first[known].into(), at: at.into() }.into(),
            });
        }
        if std::fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Err(IncludeError::Unreadable { path: name, reason: "it is no file".into(), at: at.into() }.into());
        }
        if self.file.parts.len() >= MOST {
            return Err(IncludeError::TooMany { limit: MOST, at: at.into() }.into());
        }
        let reason = |error: ConfigError| IncludeError::Unreadable { path: name.clone(), reason: error.to_string(), at: at.into() };
        self.file = self.file.with(std::iter::once((path.as_path(), name.as_str()))).map_err(reason)?;
        let number = self.file.parts.len() - 1;
        self.known.insert(identity(&path), number);
        self.first.push(at);
        let part = self.file.parts[number].clone();
        match parse::nodes(self.file.text_of(&part), part.start) {
            Ok(nodes) => {
                self.open.push(number);
                self.take(nodes);
                self.open.pop();
            }
            Err(errors) => self.errors.extend(errors),
        }
        Ok(())
    }
}

fn identity(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}
