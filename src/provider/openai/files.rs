use reqwest::Method;
use reqwest::multipart::{Form, Part};

use crate::fingerprint::Digest;
use crate::ledger::{JobJournal, JobStep};

use super::super::ProviderError;
use super::OpenAi;
use super::client::Repeat;
use super::shapes::{File, Page};

impl OpenAi {
    /// The id of a training file at the provider: one that is there already under its content's name, or a new one.
    pub(super) async fn upload(&self, role: &str, content: &[u8], journal: &mut JobJournal) -> Result<String, ProviderError> {
        let name = format!("retune-{}.jsonl", Digest::of(content));
        if let Some(id) = journal.file(role)
            && let Ok(file) = self.client.get::<File>(&format!("/files/{id}"), &[]).await
            && file.filename == name
        {
            return Ok(file.id);
        }
        let id = match self.uploaded(&name, content.len() as u64).await? {
            Some(id) => id,
            None => self.send_file(&name, content).await?,
        };
        journal.note(JobStep::Uploaded { role: role.to_owned(), file: id.clone() })?;
        Ok(id)
    }

    async fn uploaded(&self, name: &str, bytes: u64) -> Result<Option<String>, ProviderError> {
        let mut after = String::new();
        loop {
            let mut query = vec![("purpose", "fine-tune"), ("limit", "1000")];
            if !after.is_empty() {
                query.push(("after", &after));
            }
            let page: Page<File> = self.client.get("/files", &query).await?;
            if let Some(file) = page.data.iter().find(|file| file.filename == name && file.bytes == bytes) {
                return Ok(Some(file.id.clone()));
            }
            match page.data.last() {
                Some(last) if page.has_more && last.id != after => after.clone_from(&last.id),
                _ => return Ok(None),
            }
        }
    }

    async fn send_file(&self, name: &str, content: &[u8]) -> Result<String, ProviderError> {
        // A file that arrives twice costs nothing, and the next look by name finds either.
        let fill = |request: reqwest::RequestBuilder| {
            let part = Part::bytes(content.to_vec()).file_name(name.to_owned());
            request.multipart(Form::new().text("purpose", "fine-tune").part("file", part))
        };
        let reply = self.client.send(Method::POST, "/files", Repeat::Freely, fill).await?;
        let file: File = reply.json().await.map_err(|error| ProviderError::Unexpected { url: self.client.url("/files"), problem: error.to_string() })?;
        Ok(file.id)
    }
}
