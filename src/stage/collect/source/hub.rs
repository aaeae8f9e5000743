//! Datasets of the Hugging Face hub: `hf://datasets/OWNER/NAME@REVISION/GLOB`.

use async_trait::async_trait;
use globset::GlobBuilder;
use reqwest::header::HeaderMap;
use serde::Deserialize;

use crate::config::{Block, ConfigError};
use crate::provider::{Secret, hub};

use super::super::super::{Compiler, StageError};
use super::http::bring;
use super::{About, Fetched, Fetching, Source, SourceError, SourceKind, below};

pub const KIND: SourceKind = SourceKind { schemes: &["hf"], reads: &["token"], prepare };

/// What files of data end in, where no glob says which are meant.
const ENDINGS: &[&str] = &[".parquet", ".jsonl", ".json", ".csv", ".tsv"];
/// Files that describe a dataset.
const DESCRIPTIONS: &[&str] = &["dataset_infos.json", "dataset_info.json", "config.json", "state.json"];

fn prepare(source: &Block, _compiler: &Compiler<'_>) -> Result<Box<dyn Source>, ConfigError> {
    let address = source.text("path").to_owned();
    let wrong = || ConfigError::Contradiction {
        problem: format!("`{address}` names no dataset"),
        label: "expected `hf://datasets/OWNER/NAME`".into(),
        at: source.span_of("path").into(),
        help: "as in `hf://datasets/owner/name@REVISION`, and with a path or glob if not all of it is meant: `hf://datasets/owner/name@main/data/*.parquet`"
            .into(),
    };
    let rest = address.strip_prefix("hf://datasets/").ok_or_else(wrong)?;
    let (owner, rest) = rest.split_once('/').ok_or_else(wrong)?;
    let (name, path) = rest.split_once('/').map_or((rest, None), |(name, path)| (name, Some(path.to_owned()).filter(|path| !path.is_empty())));
    let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
    if owner.is_empty() || name.is_empty() || revision.is_empty() {
        return Err(wrong());
    }
    let (dataset, revision) = (format!("{owner}/{name}"), revision.to_owned());
    Ok(Box::new(Dataset { dataset, revision, path, token: source.child_text("token").map(Secret::variable), address }))
}

#[derive(Debug)]
struct Dataset {
    address: String,
    dataset: String,
    revision: String,
    path: Option<String>,
    token: Option<Secret>,
}

#[derive(Deserialize)]
struct Described {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Dataset {
    /// The files that are meant.
    fn wanted(&self, described: Described) -> Result<Vec<String>, StageError> {
        let names = described.siblings.into_iter().map(|file| file.rfilename);
        let mut wanted: Vec<String> = match &self.path {
            Some(path) => {
                let glob = GlobBuilder::new(path).literal_separator(true).build().map_err(|error| SourceError::refused(&self.address, &error.to_string()))?;
                let glob = glob.compile_matcher();
                let inside = format!("{}/", path.trim_end_matches('/'));
                names.filter(|name| glob.is_match(name) || name.starts_with(&inside)).collect()
            }
            None => {
                let plain = |name: &str| name.trim_end_matches(".gz").trim_end_matches(".zst").to_owned();
                let data = |name: &String| ENDINGS.iter().any(|ending| plain(name).ends_with(ending));
                let description = |name: &String| name.starts_with('.') || DESCRIPTIONS.contains(&name.rsplit('/').next().unwrap_or_default());
                names.filter(|name| data(name) && !description(name)).collect()
            }
        };
        wanted.sort();
        if wanted.is_empty() { Err(SourceError::refused(&self.address, "no file of it is meant by that").into()) } else { Ok(wanted) }
    }
}

#[async_trait]
impl Source for Dataset {
    async fn fetch(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError> {
        let hub = hub();
        let token = self.token.as_ref().map(|token| token.reveal(&self.address)).transpose()?;
        let description = fetching.kept.join("description.json");
        let url = format!("{hub}/api/datasets/{}/revision/{}", self.dataset, self.revision);
        bring(&url, &description, token.as_deref(), HeaderMap::new(), fetching).await?;
        let bytes = std::fs::read(&description).map_err(|source| StageError::Io { doing: "read", path: description.clone(), source })?;
        let described: Described =
            serde_json::from_slice(&bytes).map_err(|error| SourceError::refused(&url, &format!("no description of a dataset: {error}")))?;
        let about = About { revision: Some(described.sha.clone()), ..About::default() };
        if fetching.last.is_some_and(|last| last.revision == about.revision) {
            return Ok(Fetched::Same);
        }
        let sha = described.sha.clone();
        for name in self.wanted(described)? {
            let place = below(fetching, &self.address, &name)?;
            // By the commit, so that all files are of one state.
            let url = format!("{hub}/datasets/{}/resolve/{sha}/{name}", self.dataset);
            bring(&url, &place, token.as_deref(), HeaderMap::new(), fetching).await?;
        }
        Ok(Fetched::New(about))
    }
}
