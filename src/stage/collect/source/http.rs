//! Files behind `http://` and `https://`.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{CONTENT_RANGE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Response, StatusCode};

use crate::config::{Block, ConfigError};
use crate::provider::retry::{Next, Plan, Repeat, Told, complaint};
use crate::provider::{Secret, http};

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
        match download(&self.url, name, &place, token.as_deref(), last, fetching).await? {
            Some(about) => Ok(Fetched::New(about)),
            None => Ok(Fetched::Same),
        }
    }
}

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many times is a request led on.
const REDIRECTS: usize = 10;

/// Downloads one file to a place, and goes on where an earlier attempt ended, as long as the server still has the same. `None`
/// where it still is what `last` says.
pub async fn download(
    url: &str,
    name: &str,
    place: &Path,
    token: Option<&str>,
    last: Option<&About>,
    fetching: &Fetching<'_>,
) -> Result<Option<About>, StageError> {
    let client = http::builder(PATIENCE).redirect(reqwest::redirect::Policy::limited(REDIRECTS)).build().unwrap_or_default();
    let mut partial = Partial::open(fetching.kept, url)?;
    let mut attempt = 1;
    loop {
        let had = partial.length();
        let mut request = client.get(url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(validator) = partial.validator.clone().filter(|_| had > 0) {
            request = request.header(RANGE, format!("bytes={had}-")).header(IF_RANGE, validator);
        } else if let Some(last) = last {
            if let Some(tag) = last.tags.get(name) {
                request = request.header(IF_NONE_MATCH, tag);
            }
            if let Some(modified) = &last.modified {
                request = request.header(IF_MODIFIED_SINCE, modified);
            }
        }
        let (problem, plan) = match request.send().await {
            Ok(reply) if reply.status() == StatusCode::NOT_MODIFIED && last.is_some() => return Ok(None),
            Ok(reply) if reply.status() == StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart()?;
                ("what was downloaded before does not fit".to_owned(), Plan::unreachable(Repeat::Freely, false))
            }
            Ok(reply) if reply.status().is_success() => {
                let about = About {
                    modified: header(&reply, LAST_MODIFIED.as_str()),
                    tags: header(&reply, ETAG.as_str()).map(|tag| (name.to_owned(), tag)).into_iter().collect(),
                    ..About::default()
                };
                match partial.fill(reply, url, fetching).await? {
                    None => {
                        partial.finish(place)?;
                        return Ok(Some(about));
                    }
                    Some(problem) => (problem, Plan::unreachable(Repeat::Freely, false)),
                }
            }
            Ok(reply) => {
                let (status, told) = (reply.status(), Told::of(&reply));
                let body = reply.bytes().await.unwrap_or_default();
                let complaint = complaint(&body[..body.len().min(2048)]);
                let problem = format!("{status}: {}", complaint.message.chars().take(200).collect::<String>());
                let plan = Plan::refused(Repeat::Freely, status.as_u16(), &complaint, told);
                if plan.at(1) == Next::GiveUp && !status.is_server_error() {
                    return Err(SourceError::refused(url, problem.trim_end_matches([':', ' '])).into());
                }
                (problem, plan)
            }
            Err(error) if error.is_redirect() || error.is_builder() => return Err(SourceError::refused(url, &cause(&error)).into()),
            Err(error) => (cause(&error), Plan::unreachable(Repeat::Freely, error.is_connect())),
        };
        if partial.length() > had {
            // It goes on, if in steps.
            attempt = 1;
        }
        let Next::After(wait) = plan.at(attempt) else {
            return Err(SourceError::unreachable(url, &problem).into());
        };
        fetching.context.watch.retried(&format!("{url}: {problem}"), wait);
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

fn header(reply: &Response, name: &str) -> Option<String> {
    reply.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The innermost reason: the outer ones say only that a request failed.
fn cause(error: &reqwest::Error) -> String {
    let mut reason = error.to_string();
    let mut inner = std::error::Error::source(error);
    while let Some(error) = inner {
        reason = error.to_string();
        inner = error.source();
    }
    reason
}

/// A file on its way.
struct Partial {
    file: std::fs::File,
    place: std::path::PathBuf,
    /// Where it is said which content it is a part of.
    note: std::path::PathBuf,
    validator: Option<String>,
}

impl Partial {
    fn open(folder: &Path, url: &str) -> Result<Self, StageError> {
        let name = blake3::hash(url.as_bytes()).to_hex();
        let (place, note) = (folder.join(format!("{name}.part")), folder.join(format!("{name}.etag")));
        let file = std::fs::OpenOptions::new().create(true).read(true).append(true).open(&place).map_err(io("create", &place))?;
        let validator = std::fs::read_to_string(&note).ok().filter(|text| !text.is_empty());
        let mut partial = Self { file, place, note, validator };
        if partial.validator.is_none() {
            partial.restart()?;
        }
        Ok(partial)
    }

    fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |file| file.len())
    }

    fn restart(&mut self) -> Result<(), StageError> {
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)).map(drop)).map_err(io("write", &self.place))
    }

    /// Takes in a reply. The problem comes back where it ended early.
    async fn fill(&mut self, mut reply: Response, url: &str, fetching: &Fetching<'_>) -> Result<Option<String>, StageError> {
        let from = header(&reply, CONTENT_RANGE.as_str()).and_then(|range| range.trim_start_matches("bytes ").split('-').next()?.parse::<u64>().ok());
        if reply.status() != StatusCode::PARTIAL_CONTENT {
            self.restart()?;
            // A weak tag says nothing of bytes.
            self.validator = header(&reply, ETAG.as_str()).filter(|tag| !tag.starts_with("W/")).or_else(|| header(&reply, LAST_MODIFIED.as_str()));
            let validator = self.validator.clone().unwrap_or_default();
            std::fs::write(&self.note, validator).map_err(io("write", &self.note))?;
        } else if from != Some(self.length()) {
            self.restart()?;
            return Ok(Some("it went on from another place than was asked for".into()));
        }
        let begun = self.length();
        let expected = reply.content_length().map(|length| begun + length);
        if expected.is_some_and(|length| length > fetching.largest) {
            return Err(SourceError::TooLarge { address: url.to_owned(), most: fetching.largest }.into());
        }
        let mut length = begun;
        loop {
            match reply.chunk().await {
                Ok(Some(part)) => {
                    self.file.write_all(&part).map_err(io("write", &self.place))?;
                    length += part.len() as u64;
                    if length > fetching.largest {
                        return Err(SourceError::TooLarge { address: url.to_owned(), most: fetching.largest }.into());
                    }
                    fetching.context.watch.progress(length, expected.unwrap_or_default(), "bytes", url);
                }
                Ok(None) => break,
                Err(error) => {
                    if self.validator.is_none() {
                        // Nobody could say that the rest belongs to it.
                        self.restart()?;
                    }
                    return Ok(Some(cause(&error)));
                }
            }
        }
        Ok(expected.filter(|expected| *expected != length).map(|expected| format!("it ended after {length} of {expected} bytes")))
    }

    fn finish(self, place: &Path) -> Result<(), StageError> {
        self.file.sync_all().map_err(io("write", &self.place))?;
        let _ = std::fs::remove_file(&self.note);
        std::fs::rename(&self.place, place).or_else(|_| std::fs::copy(&self.place, place).map(drop)).map_err(io("move", &self.place))
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StageError {
    let path = path.to_owned();
    move |source| StageError::Io { doing, path, source }
}
