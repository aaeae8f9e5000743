//! Lists that come a page at a time: each page is asked for with the last id of the one before.

use serde::de::DeserializeOwned;

use super::super::super::transport::{Client, Request};
use super::super::super::{ProviderError, Watch};
use super::shapes::Page;

/// A list on its way.
#[derive(Debug)]
pub struct Pages {
    path: String,
    query: Vec<(String, String)>,
    after: String,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    GoesOn,
    Over,
    /// It says that there is more, and cannot be read on.
    Endless,
}

impl Pages {
    /// The list at a path, so many at a time.
    pub fn of(path: impl Into<String>, limit: u32) -> Self {
        Self { path: path.into(), query: Vec::new(), after: String::new(), state: State::GoesOn }.filtered("limit", &limit.to_string())
    }

    /// The same with a filter, which not every server pays heed to.
    pub fn filtered(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The next page; none at the end, and none where the list does not go on as it says.
    pub async fn further<T: DeserializeOwned>(
        &mut self,
        client: &Client,
        id: impl Fn(&T) -> String,
        watch: &dyn Watch,
    ) -> Result<Option<Vec<T>>, ProviderError> {
        if self.state != State::GoesOn {
            return Ok(None);
        }
        let mut request = self.query.iter().fold(Request::get(&self.path), |request, (name, value)| request.query(name, value));
        if !self.after.is_empty() {
            request = request.query("after", &self.after);
        }
        let page: Page<T> = client.json(request, watch).await?;
        let last = page.data.last().map(id).unwrap_or_default();
        self.state = match page.has_more {
            false => State::Over,
            // A server that pays no heed to `after` would go on without end.
            true if last.is_empty() || last == self.after => State::Endless,
            true => State::GoesOn,
        };
        self.after = last;
        Ok(Some(page.data))
    }

    /// All that is left of it, as far as it can be read.
    pub async fn all<T: DeserializeOwned>(mut self, client: &Client, id: impl Fn(&T) -> String, watch: &dyn Watch) -> Result<Vec<T>, ProviderError> {
        let mut all = Vec::new();
        while let Some(page) = self.further(client, &id, watch).await? {
            all.extend(page);
        }
        Ok(all)
    }

    /// That it was read to its end.
    ///
    /// # Errors
    /// When it says that there is more, and does not go on: what is not in it so far may be there all the same.
    pub fn ended(&self, client: &Client) -> Result<(), ProviderError> {
        if self.state != State::Endless {
            return Ok(());
        }
        Err(ProviderError::Unexpected { url: client.url(&self.path), problem: "the list says that there is more, and does not go on".into() })
    }
}
