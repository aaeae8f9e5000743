//! Objects of S3, Google Cloud Storage and Azure. Keys come from the environment, as the tools of each have them.

use std::collections::BTreeMap;
use std::io::Write;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use globset::GlobBuilder;
use object_store::path::Path as Place;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use crate::config::{Block, ConfigError};
use crate::graph::is_glob;

use super::super::super::{Compiler, StageError};
use super::{About, Fetched, Fetching, Source, SourceError, SourceKind, below};

pub const KIND: SourceKind = SourceKind { schemes: &["s3", "gs", "az"], reads: &[], prepare };

fn prepare(source: &Block, _compiler: &Compiler<'_>) -> Result<Box<dyn Source>, ConfigError> {
    let address = source.text("path").to_owned();
    let rest = address.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
    let Some((bucket, path)) = rest.split_once('/').filter(|(bucket, path)| !bucket.is_empty() && !path.is_empty()) else {
        return Err(ConfigError::Contradiction {
            problem: format!("`{address}` names no object"),
            label: "a bucket alone".into(),
            at: source.span_of("path").into(),
            help: "write bucket and path, such as `s3://bucket/data/*.jsonl`; a path that ends in `/` means all below it".into(),
        });
    };
    let root = address.replace(&format!("/{path}"), "");
    Ok(Box::new(Bucket { root, bucket: bucket.to_owned(), path: path.to_owned(), address }))
}

#[derive(Debug)]
struct Bucket {
    /// The scheme and the bucket.
    root: String,
    bucket: String,
    /// An object, a glob, or what all of them begin with.
    path: String,
    address: String,
}

impl Bucket {
    fn problem(&self, error: &object_store::Error) -> StageError {
        let text = error.to_string();
        // Text of a server may be a page of XML.
        let short: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
        match error {
            object_store::Error::Generic { .. } if !text.contains("client error") && !text.contains("MissingKey") => {
                SourceError::unreachable(&self.address, &short).into()
            }
            _ => SourceError::refused(&self.address, &short).into(),
        }
    }

    fn open(&self) -> Result<Box<dyn ObjectStore>, StageError> {
        let url = reqwest::Url::parse(&self.root).map_err(|error| SourceError::refused(&self.address, &error.to_string()))?;
        let variables = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
        crate::provider::http::ready();
        object_store::parse_url_opts(&url, variables).map(|(store, _)| store).map_err(|error| self.problem(&error))
    }

    /// The objects that it means, in the order of their names.
    async fn objects(&self, store: &dyn ObjectStore) -> Result<Vec<ObjectMeta>, StageError> {
        if !is_glob(&self.path) && !self.path.ends_with('/') {
            match store.head(&Place::from(self.path.as_str())).await {
                Ok(object) => return Ok(vec![object]),
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.problem(&error)),
            }
        }
        let fixed = self.path.split('/').take_while(|part| !is_glob(part)).collect::<Vec<_>>().join("/");
        let prefix = Place::from(fixed.trim_end_matches('/'));
        let mut objects: Vec<ObjectMeta> = store.list(Some(&prefix)).try_collect().await.map_err(|error| self.problem(&error))?;
        if is_glob(&self.path) {
            let glob = GlobBuilder::new(&self.path).literal_separator(true).build().map_err(|error| SourceError::refused(&self.address, &error.to_string()))?;
            let glob = glob.compile_matcher();
            objects.retain(|object| glob.is_match(object.location.as_ref()));
        }
        objects.retain(|object| object.size > 0);
        objects.sort_by(|a, b| a.location.cmp(&b.location));
        if objects.is_empty() {
            Err(SourceError::refused(&self.address, &format!("there is nothing in `{}` by that name, or all of it is empty", self.bucket)).into())
        } else {
            Ok(objects)
        }
    }
}

#[async_trait]
impl Source for Bucket {
    async fn fetch(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError> {
        let store = self.open()?;
        let objects = self.objects(store.as_ref()).await?;
        let all: u64 = objects.iter().map(|object| object.size).sum();
        if all > fetching.largest {
            return Err(SourceError::TooLarge { address: self.address.clone(), most: fetching.largest }.into());
        }
        let tag = |object: &ObjectMeta| object.e_tag.clone().unwrap_or_else(|| format!("{} {}", object.last_modified.timestamp_millis(), object.size));
        let tags: BTreeMap<String, String> = objects.iter().map(|object| (object.location.to_string(), tag(object))).collect();
        let about = About { tags, ..About::default() };
        if fetching.last == Some(&about) {
            return Ok(Fetched::Same);
        }
        let mut done = 0;
        for object in objects {
            let name = object.location.as_ref();
            let place = below(fetching, &self.address, name)?;
            let io = |source| StageError::Io { doing: "write", path: place.clone(), source };
            let mut file = std::fs::File::create(&place).map_err(io)?;
            let mut parts = store.get(&object.location).await.map_err(|error| self.problem(&error))?.into_stream();
            let mut length = 0;
            while let Some(part) = parts.try_next().await.map_err(|error| self.problem(&error))? {
                file.write_all(&part).map_err(io)?;
                length += part.len() as u64;
                fetching.context.watch.progress(done + length, all, "bytes", name);
            }
            if length != object.size {
                return Err(SourceError::unreachable(&self.address, &format!("{name} ended after {length} of {} bytes", object.size)).into());
            }
            done += length;
        }
        Ok(Fetched::New(about))
    }
}
