//! Files on their way to a provider: sent from where they lie, for as long as bytes flow.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use reqwest::multipart::{Form, Part};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::super::error::ProviderError;

/// A part of a file, sent from where it lies and never whole in memory.
#[derive(Debug)]
pub struct FilePart {
    pub path: PathBuf,
    /// The name that it is sent under.
    pub name: String,
    pub start: u64,
    pub length: u64,
    /// The name of the form's field.
    pub field: &'static str,
    /// The other fields of the form.
    pub fields: Vec<(&'static str, String)>,
}

/// When the network last took some of what is sent.
#[derive(Clone, Debug)]
pub struct Flow(Arc<Mutex<Instant>>);

impl Flow {
    /// One that begins now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn went_on(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Comes back once nothing was taken, and nothing answered, for so long.
    pub async fn stalled(&self, patience: Duration) {
        loop {
            let quiet = self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
            match patience.checked_sub(quiet) {
                Some(left) if !left.is_zero() => tokio::time::sleep(left).await,
                _ => return,
            }
        }
    }
}

/// The form that carries a part of a file.
pub async fn form(part: &FilePart, flow: &Flow) -> Result<Form, ProviderError> {
    /// What is read at once: the network takes as much within any patience.
    const PIECE: usize = 64 << 10;
    let unreadable = |error: std::io::Error| ProviderError::UnreadableFile { path: part.path.clone(), reason: error.to_string() };
    let mut file = tokio::fs::File::open(&part.path).await.map_err(unreadable)?;
    file.seek(std::io::SeekFrom::Start(part.start)).await.map_err(unreadable)?;
    let flow = flow.clone();
    let pieces = ReaderStream::with_capacity(file.take(part.length), PIECE).inspect(move |_| flow.went_on());
    let sent = Part::stream_with_length(reqwest::Body::wrap_stream(pieces), part.length).file_name(part.name.clone());
    let form = part.fields.iter().fold(Form::new(), |form, (name, value)| form.text(*name, value.clone()));
    Ok(form.part(part.field, sent))
}
