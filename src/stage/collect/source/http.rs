//! Files behind `http://` and `https://`.

use std::path::Path;

use async_trait::async_trait;
use reqwest::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};

use crate::config::{Block, ConfigError};
use crate::provider::{Download, DownloadError, Secret, download};

use super::super::super::{Compiler, StageError};
use super::{About, Fetched, Fetching, Source, SourceError, SourceKind, below};

pub const KIND: SourceKind = SourceKind { schemes: &["http", "https"], reads: &["token"], prepare };

fn prepare(source: &Block, _compiler: &Compiler<'_>) -> Result<Box<dyn Source>, ConfigError> {
    Ok(Box::new(Web { url: source.text("path").to_owned(), token: source.child_text("token").map(Secret::variable) }))
}

#[derive(Debug)]
struct Web {
    url: String,
    token: Option<Secret>,
}

#[async_trait]
impl Source for Web {
    async fn fetch(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError> {
        let name = self.url.split(['?', '#']).next().and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty()).unwrap_or("index.html");
        let place = below(fetching, &self.url, name)?;
        let token = self.token.as_ref().map(|token| token.reveal(&self.url)).transpose()?;
        let last = fetching.last.filter(|last| !last.tags.is_empty() || last.modified.is_some());
        let tag = last.and_then(|last| Some((IF_NONE_MATCH, last.tags.get(name)?)));
        let modified = last.and_then(|last| Some((IF_MODIFIED_SINCE, last.modified.as_ref()?)));
        let unless = [tag, modified].into_iter().flatten().filter_map(|(name, value)| Some((name, HeaderValue::from_str(value).ok()?)));
        let Some(said) = bring(&self.url, &place, token.as_deref(), unless.collect(), fetching).await? else {
            return Ok(Fetched::Same);
        };
        let said = |header: HeaderName| said.get(header).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let tags = said(ETAG).map(|tag| (name.to_owned(), tag)).into_iter().collect();
        Ok(Fetched::New(About { modified: said(LAST_MODIFIED), tags, ..About::default() }))
    }
}

/// Brings one file to a place. What the server says of it comes back, or nothing where the conditions do not hold.
pub async fn bring(url: &str, place: &Path, token: Option<&str>, unless: HeaderMap, fetching: &Fetching<'_>) -> Result<Option<HeaderMap>, StageError> {
    let wanted = Download { url, place, kept: fetching.kept, token, unless, largest: fetching.largest };
    download(&wanted, fetching.context.watch).await.map_err(|error| match error {
        DownloadError::Refused { problem } => SourceError::refused(url, &problem).into(),
        DownloadError::Unreachable { problem } => SourceError::unreachable(url, &problem).into(),
        DownloadError::TooLarge { most } => SourceError::TooLarge { address: url.to_owned(), most }.into(),
        DownloadError::Io { doing, path, source } => StageError::Io { doing, path, source },
    })
}
