use std::collections::BTreeMap;

use globset::GlobBuilder;
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, Kind, MatrixError, Pipeline, Span, StageDecl, StageName, Value, plain};

/// A file or folder that a stage writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    /// The stage, by its place in [`Pipeline::stages`].
    pub stage: usize,
    /// The stage's name.
    pub name: StageName,
    /// The path, as the stage declares it.
    pub path: String,
}

/// Which stage writes which path of the workspace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Outputs {
    by_path: BTreeMap<String, Writer>,
    /// Folders in which stages keep what their next attempt gets: no output, and no file of the user's.
    checkpoints: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Writer {
    stage: usize,
    name: StageName,
    span: Span,
    /// A glob that reaches into it, should it turn out to be a folder.
    reached_by: Option<String>,
}

/// The error about something that several instances of a stage do in the same place.
#[must_use]
pub fn same_for_all(what: &str, at: Span, stage: &StageDecl) -> MatrixError {
    let axis = stage.values.keys().next().map_or("axis", String::as_str);
    let help = format!(
        "put what tells them apart into it: `${{param.{axis}}}` (where it stands there, two of its values make one path, or one inside the other); or refer to \
         one instance, or to a `select` stage"
    );
    MatrixError::SameForAll { what: what.to_owned(), at: at.into(), help }
}

impl Outputs {
    /// Gathers the outputs of all stages. Two stages that write one path, or one inside the other, are an error.
    pub fn gather(pipeline: &Pipeline, errors: &mut Vec<ConfigError>) -> Self {
        let mut outputs = Self::default();
        for (stage, declared) in pipeline.stages.iter().enumerate() {
            // Elsewhere they lie in the folder of the attempt.
            let in_place = declared.block.child_text("sandbox") == Some("off");
            if let Some(folder) = declared.block.child_text("checkpoints").filter(|_| in_place) {
                let within = declared.block.child_text("directory").unwrap_or_default();
                outputs.checkpoints.push(plain(&format!("{within}/{folder}")));
            }
            declared.block.each_slot(|slot, value| {
                let (Kind::Output, Value::Text(path)) = (slot.kind, &value.value) else {
                    return;
                };
                let path = plain(path);
                if let Some((first, _)) = outputs.around(&path) {
                    if first == value.span {
                        let what = format!("write `{path}`");
                        errors.push(same_for_all(&what, value.span, declared).into());
                        return;
                    }
                    errors.push(ConfigError::SharedOutput { path, first: first.into(), at: value.span.into() });
                } else {
                    outputs.by_path.insert(path, Writer { stage, name: declared.name.clone(), span: value.span, reached_by: None });
                }
            });
        }
        outputs
    }

    /// The output that is this path, lies in it, or holds it.
    fn around(&self, path: &str) -> Option<(Span, &str)> {
        let same = self.by_path.get_key_value(path);
        let holds = || folders_above(path).find_map(|folder| self.by_path.get_key_value(folder));
        let inside = format!("{path}/");
        let held = || self.by_path.range(inside.clone()..).next().filter(|(other, _)| other.starts_with(&inside));
        same.or_else(holds).or_else(held).map(|(path, writer)| (writer.span, path.as_str()))
    }

    /// Where the output is declared that is this file, or a folder that holds it.
    #[must_use]
    pub fn declared_over(&self, path: &str) -> Option<Span> {
        let written = std::iter::once(path).chain(folders_above(path)).find_map(|path| self.by_path.get(path));
        written.map(|writer| writer.span)
    }

    /// A folder that a stage writes, most likely, and that a glob reaches into: what lies in it shows only once it is made, so
    /// that the glob cannot mean it. A name with an ending in letters is taken for a file, until it is seen to be a folder: see
    /// [`Self::reached_by`].
    pub fn note_reach(&mut self, pattern: &str) -> Option<String> {
        let pattern = plain(pattern);
        if !is_glob(&pattern) {
            return None;
        }
        let reached = self.reachable(&pattern);
        let ending = |path: &str| path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, ending)| ending).to_owned();
        let is_file = |path: &String| !ending(path).is_empty() && !ending(path).contains(|c: char| c.is_ascii_digit());
        let (files, folders): (Vec<String>, Vec<String>) = reached.into_iter().partition(is_file);
        for path in files {
            if let Some(writer) = self.by_path.get_mut(&path) {
                writer.reached_by = Some(pattern.clone());
            }
        }
        folders.into_iter().next()
    }

    /// The glob that reaches into an output, where the output is a folder against its name.
    #[must_use]
    pub fn reached_by(&self, output: &str) -> Option<&str> {
        self.by_path.get(output)?.reached_by.as_deref()
    }

    /// The outputs that a glob reaches into, should they be folders.
    fn reachable(&self, pattern: &str) -> Vec<String> {
        let parts: Vec<&str> = pattern.split('/').collect();
        let deep = parts.iter().position(|part| part.contains("**"));
        let meant = self.meant_by(pattern);
        let reached = |path: &&String| {
            let own: Vec<&str> = path.split('/').collect();
            let shared = deep.unwrap_or(parts.len()).min(own.len());
            let fits = parts
                .iter()
                .zip(&own)
                .take(shared)
                .all(|(part, own)| part == own || GlobBuilder::new(part).build().is_ok_and(|glob| glob.compile_matcher().is_match(own)));
            fits && (deep.is_some_and(|deep| own.len() >= deep) || own.len() < parts.len()) && !meant.iter().any(|meant| meant.path == **path)
        };
        self.by_path.keys().filter(reached).cloned().collect()
    }

    /// The output that a file lies in and that a pattern does not mean, so that the file would be passed over without a word.
    #[must_use]
    pub fn passed_over(&self, pattern: &str, path: &str) -> Option<&str> {
        let (folder, _) = folders_above(path).find_map(|folder| self.by_path.get_key_value(folder))?;
        (!self.meant_by(pattern).iter().any(|meant| meant.path == **folder)).then_some(folder.as_str())
    }

    /// Whether a stage writes this file, as an output or as a checkpoint that appears in the workspace.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        self.is_written(path)
            || self.checkpoints.iter().any(|folder| path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    fn is_written(&self, path: &str) -> bool {
        !self.by_path.is_empty() && (self.by_path.contains_key(path) || folders_above(path).any(|folder| self.by_path.contains_key(folder)))
    }

    /// The outputs that a path or glob means: that very path, a folder that holds it, what lies in it, or what the glob matches.
    #[must_use]
    pub fn meant_by(&self, pattern: &str) -> Vec<Produced> {
        let pattern = plain(pattern);
        let found = |(path, writer): (&String, &Writer)| Produced { stage: writer.stage, name: writer.name.clone(), path: path.clone() };
        if let Some(exact) = self.by_path.get_key_value(&pattern) {
            return vec![found(exact)];
        }
        if let Some(folder) = folders_above(&pattern).find_map(|folder| self.by_path.get_key_value(folder)) {
            return vec![found(folder)];
        }
        let inside = format!("{pattern}/");
        let mut meant: Vec<Produced> = self.by_path.range(inside.clone()..).take_while(|(path, _)| path.starts_with(&inside)).map(found).collect();
        if is_glob(&pattern)
            && let Ok(glob) = GlobBuilder::new(&pattern).literal_separator(true).build()
        {
            let matcher = glob.compile_matcher();
            meant.extend(self.by_path.iter().filter(|(path, _)| matcher.is_match(path)).map(found));
        }
        meant
    }
}

/// Whether a path has signs in it that stand for others.
#[must_use]
pub fn is_glob(path: &str) -> bool {
    path.contains(['*', '?', '[', '{'])
}

/// The folders that a path lies in, the nearest first.
pub fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}
