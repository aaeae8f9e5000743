//! One file from the web: on with what an earlier attempt left, as often as it takes.

use std::fs::File;
use std::io::{Error, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Response, StatusCode};
use thiserror::Error;

use super::super::watch::Watch;
use super::http;
use super::retry::{Next, Plan, Repeat, Told, complaint};

/// How long a server may say nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many times is a request led on.
const REDIRECTS: usize = 10;

/// A file that is wanted.
#[derive(Debug)]
pub struct Download<'a> {
    /// Where it is.
    pub url: &'a str,
    /// Where it goes.
    pub place: &'a Path,
    /// A folder for what is there of it, which the next attempt finds.
    pub kept: &'a Path,
    /// What gives the right to it.
    pub token: Option<&'a str>,
    /// Conditions under which it is wanted at all, such as that it is another than last time.
    pub unless: HeaderMap,
    /// The most that it may be, in bytes.
    pub largest: u64,
}

/// What can be wrong with a download.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum DownloadError {
    /// The server says no, and will go on to.
    #[error("{problem}")]
    Refused { problem: String },
    /// The server is not there, or breaks off again and again.
    #[error("{problem}")]
    Unreachable { problem: String },
    /// It is more than it may be.
    #[error("larger than {most} bytes")]
    TooLarge { most: u64 },
    /// It cannot be written here.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: Error },
}

/// Downloads one file to its place, and goes on where an earlier attempt ended, as long as the server still has the same. What
/// the server says of it comes back, or nothing where the conditions do not hold.
///
/// # Errors
/// When the server refuses, cannot be reached, or sends too much, or the file cannot be written.
pub async fn download(wanted: &Download<'_>, watch: &dyn Watch) -> Result<Option<HeaderMap>, DownloadError> {
    let url = wanted.url;
    let client = http::builder(PATIENCE).redirect(reqwest::redirect::Policy::limited(REDIRECTS)).build().unwrap_or_default();
    let mut partial = Partial::open(wanted.kept, url)?;
    let mut attempt = 1;
    loop {
        let had = partial.length();
        let mut request = client.get(url);
        if let Some(token) = wanted.token {
            request = request.bearer_auth(token);
        }
        if let Some(validator) = partial.validator.clone().filter(|_| had > 0) {
            request = request.header(RANGE, format!("bytes={had}-")).header(IF_RANGE, validator);
        } else {
            request = request.headers(wanted.unless.clone());
        }
        let (problem, plan) = match request.send().await {
            Ok(reply) if reply.status() == StatusCode::NOT_MODIFIED && !wanted.unless.is_empty() => return Ok(None),
            Ok(reply) if reply.status() == StatusCode::RANGE_NOT_SATISFIABLE && had > 0 && partial.is_all(&reply) => {
                // An earlier attempt ended between the last byte and the end.
                partial.finish(wanted.place)?;
                return Ok(Some(reply.headers().clone()));
            }
            Ok(reply) if reply.status() == StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.restart()?;
                ("what was downloaded before does not fit".to_owned(), Plan::unreachable(Repeat::Freely, false))
            }
            Ok(reply) if reply.status().is_success() => {
                let about = reply.headers().clone();
                match partial.fill(reply, wanted, watch).await? {
                    None => {
                        partial.finish(wanted.place)?;
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
                    return Err(DownloadError::Refused { problem: problem.trim_end_matches([':', ' ']).to_owned() });
                }
                (problem, plan)
            }
            Err(error) if error.is_redirect() || error.is_builder() => return Err(DownloadError::Refused { problem: cause(&error) }),
            Err(error) => (cause(&error), Plan::unreachable(Repeat::Freely, error.is_connect())),
        };
        if partial.length() > had {
            // It goes on, if in steps.
            attempt = 1;
        }
        let Next::After(wait) = plan.at(attempt) else {
            return Err(DownloadError::Unreachable { problem });
        };
        watch.retried(&format!("{url}: {problem}"), wait);
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
    file: File,
    place: PathBuf,
    /// Where it is said which content it is a part of.
    note: PathBuf,
    validator: Option<String>,
}

impl Partial {
    fn open(folder: &Path, url: &str) -> Result<Self, DownloadError> {
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

    /// Whether a reply that there is no more to be had says that this is all.
    fn is_all(&self, reply: &Response) -> bool {
        let whole = header(reply, CONTENT_RANGE.as_str()).and_then(|range| range.strip_prefix("bytes */")?.parse::<u64>().ok());
        whole == Some(self.length())
    }

    fn restart(&mut self) -> Result<(), DownloadError> {
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)).map(drop)).map_err(io("write", &self.place))
    }

    /// Takes in a reply. The problem comes back where it ended early.
    async fn fill(&mut self, mut reply: Response, wanted: &Download<'_>, watch: &dyn Watch) -> Result<Option<String>, DownloadError> {
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
        if expected.is_some_and(|length| length > wanted.largest) {
            return Err(DownloadError::TooLarge { most: wanted.largest });
        }
        let mut length = begun;
        loop {
            match reply.chunk().await {
                Ok(Some(part)) => {
                    self.file.write_all(&part).map_err(io("write", &self.place))?;
                    length += part.len() as u64;
                    if length > wanted.largest {
                        return Err(DownloadError::TooLarge { most: wanted.largest });
                    }
                    watch.progress(length, expected.unwrap_or_default(), "bytes", wanted.url);
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

    fn finish(self, place: &Path) -> Result<(), DownloadError> {
        self.file.sync_all().map_err(io("write", &self.place))?;
        std::fs::rename(&self.place, place).or_else(|_| std::fs::copy(&self.place, place).map(drop)).map_err(io("move", &self.place))?;
        let _ = std::fs::remove_file(&self.note);
        Ok(())
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(Error) -> DownloadError {
    let path = path.to_owned();
    move |source| DownloadError::Io { doing, path, source }
}
