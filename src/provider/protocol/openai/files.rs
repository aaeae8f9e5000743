//! Files: found by the name of their content, sent from disk, and in parts where they are large.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::super::super::transport::Repeat;
use super::super::super::transport::{FilePart, Request, printable};
use super::super::super::tuning::TrainingFile;
use super::super::super::{ProviderError, Watch};
use super::OpenAi;
use super::pages::Pages;
use super::shapes::{FileObject, PartObject, UploadObject};

/// The largest part of an upload.
const PART: u64 = 64 << 20;
/// Parts under way at once.
const PARTS_AT_ONCE: usize = 4;

impl OpenAi {
    pub(super) async fn file_is_there(&self, id: &str, file: &TrainingFile, watch: &dyn Watch) -> Result<bool, ProviderError> {
        match self.client.json::<FileObject>(Request::get(format!("/files/{id}")), watch).await {
            Ok(found) if found.is_named(&file.name()) && (found.bytes == file.bytes || found.bytes == 0) => Ok(self.looked_at(found, watch).await?.is_good()),
            Ok(_) => Ok(false),
            Err(ProviderError::Refused { status: 400 | 403 | 404 | 410, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn stored_file(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<Option<String>, ProviderError> {
        let name = file.name();
        let mut pages = Pages::of("/files", 1000).filtered("purpose", "fine-tune");
        // Where the list does not go on, the file is sent once more, which costs nothing.
        while let Some(page) = pages.further(&self.client, |found: &FileObject| found.id.clone(), watch).await? {
            for found in page.into_iter().filter(|found| found.is_named(&name) && found.bytes == file.bytes && found.is_good()) {
                let found = self.looked_at(found, watch).await?;
                if found.is_good() {
                    return Ok(Some(found.id));
                }
            }
        }
        Ok(None)
    }

    pub(super) async fn send_file(&self, file: &TrainingFile, watch: &dyn Watch) -> Result<String, ProviderError> {
        let largest = self.client.declared().limits.largest.unwrap_or(u64::MAX).min(self.dialect.largest_file);
        if file.bytes > largest && self.dialect.parts {
            return self.send_in_parts(file, PART.min(largest), watch).await;
        }
        let fields = vec![("purpose", "fine-tune".to_owned())];
        let part = FilePart { path: file.path.clone(), name: file.name(), start: 0, length: file.bytes, field: "file", fields };
        let sent: FileObject = self.client.json(Request::upload("/files", part), watch).await?;
        self.taken(sent, file, watch).await
    }

    async fn send_in_parts(&self, file: &TrainingFile, size: u64, watch: &dyn Watch) -> Result<String, ProviderError> {
        let body = json!({ "filename": file.name(), "purpose": "fine-tune", "bytes": file.bytes, "mime_type": "text/jsonl" });
        let upload: UploadObject = self.client.json(Request::post("/uploads", body, Repeat::Freely), watch).await?;
        let path = format!("/uploads/{}/parts", upload.id);
        let starts: Vec<u64> = (0..file.bytes.div_ceil(size)).map(|part| part * size).collect();
        let sent = std::sync::atomic::AtomicU64::new(0);
        let (path, sent) = (&path, &sent);
        let send = |start: u64| async move {
            let length = size.min(file.bytes - start);
            let part = FilePart { path: file.path.clone(), name: file.name(), start, length, field: "data", fields: Vec::new() };
            let kept: PartObject = self.client.json(Request::upload(path, part), watch).await?;
            watch.progress(sent.fetch_add(length, std::sync::atomic::Ordering::Relaxed) + length, file.bytes, "bytes", "");
            Ok::<_, ProviderError>(kept.id)
        };
        let parts: Vec<String> = stream::iter(starts.into_iter().map(send)).buffered(PARTS_AT_ONCE).try_collect().await?;
        let body: Value = json!({ "part_ids": parts });
        let done = self.client.json::<UploadObject>(Request::post(format!("/uploads/{}/complete", upload.id), body, Repeat::Freely), watch).await;
        let done = match done {
            Ok(done) => done,
            // It may have been completed by a request whose reply was lost.
            Err(error) => return self.stored_file(file, watch).await?.ok_or(error),
        };
        let unexpected = || ProviderError::Unexpected { url: self.client.url("/uploads"), problem: "the upload is complete and names no file".into() };
        self.taken(done.file.ok_or_else(unexpected)?, file, watch).await
    }

    /// Waits until the provider has looked at a file: some make no job of it before.
    async fn looked_at(&self, mut file: FileObject, watch: &dyn Watch) -> Result<FileObject, ProviderError> {
        let (began, mut pause, patience) = (Instant::now(), Duration::from_millis(200), self.client.declared().limits.patience);
        while file.is_looked_at() {
            let (id, word) = (&file.id, file.status.as_deref().unwrap_or_default());
            if began.elapsed() >= patience {
                let problem = format!("file {id} is still `{word}` after {patience:?}: another run waits for it again");
                return Err(ProviderError::Unexpected { url: self.client.url("/files"), problem });
            }
            watch.progress(0, 0, "", &format!("file {id} is {word}"));
            tokio::time::sleep(if self.client.network().replays() { Duration::ZERO } else { pause }).await;
            pause = (pause * 3 / 2).min(Duration::from_secs(10));
            file = self.client.json(Request::get(format!("/files/{id}")), watch).await?;
        }
        Ok(file)
    }

    /// Makes sure that a file arrived as it was sent.
    async fn taken(&self, sent: FileObject, file: &TrainingFile, watch: &dyn Watch) -> Result<String, ProviderError> {
        let sent = self.looked_at(sent, watch).await?;
        if sent.is_good() && (sent.bytes == file.bytes || sent.bytes == 0) && !sent.id.is_empty() {
            return Ok(sent.id);
        }
        let why = sent.status_details.map_or_else(String::new, |details| format!(": {}", printable(&details)));
        let problem = format!("of {} bytes it took {}, and calls the file {}{why}", file.bytes, sent.bytes, sent.status.unwrap_or_default());
        Err(ProviderError::Unexpected { url: self.client.url("/files"), problem })
    }
}
