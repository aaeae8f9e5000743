//! Conversations that a product had by OpenAI's API with `store: true`: `stored:PROVIDER`.

use std::io::Write;

use async_trait::async_trait;

use crate::config::{Block, ConfigError};
use crate::provider::{Api, Declared, StoredCompletions, StoredFilter};

use super::super::super::{Compiler, StageError, providers};
use super::{About, Fetched, Fetching, Source, SourceKind, below};

pub const KIND: SourceKind = SourceKind { schemes: &["stored"], reads: &["asked", "metadata"], prepare };

fn prepare(source: &Block, compiler: &Compiler<'_>) -> Result<Box<dyn Source>, ConfigError> {
    let address = source.text("path").to_owned();
    let name = address.trim_start_matches("stored:").trim_start_matches("//");
    let provider = providers::find(name, &compiler.pipeline.providers, source.span_of("path"))?;
    if !matches!(&provider.api, Api::Hosted(endpoint) if StoredCompletions::has(endpoint)) {
        return Err(ConfigError::Contradiction {
            problem: format!("`{name}` keeps no completions that could be listed"),
            label: "no provider that speaks OpenAI's protocol".into(),
            at: source.span_of("path").into(),
            help: "name one that does: `stored:openai`".into(),
        });
    }
    let metadata = source.all("metadata").map(|pair| (pair.text("key").to_owned(), pair.text("value").to_owned())).collect();
    let kept = StoredFilter { model: source.child_text("asked").map(str::to_owned), metadata };
    Ok(Box::new(Stored { address, provider, kept }))
}

#[derive(Debug)]
struct Stored {
    address: String,
    provider: Declared,
    kept: StoredFilter,
}

#[async_trait]
impl Source for Stored {
    async fn fetch(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError> {
        let place = below(fetching, &self.address, "rows.jsonl")?;
        let io = |source| StageError::Io { doing: "write", path: place.clone(), source };
        let mut file = std::io::BufWriter::new(std::fs::File::create(&place).map_err(io)?);
        let Api::Hosted(endpoint) = &self.provider.api else {
            return Ok(Fetched::New(About::default()));
        };
        let mut list = StoredCompletions::new(&self.provider, endpoint, fetching.context.network, self.kept.clone());
        let mut count = 0;
        while let Some(rows) = list.next(fetching.context.watch).await? {
            for row in rows {
                serde_json::to_writer(&mut file, &row).map_err(|error| io(error.into()))?;
                file.write_all(b"\n").map_err(io)?;
                count += 1;
            }
            fetching.context.watch.progress(count, 0, "conversations", &self.provider.name);
        }
        file.flush().map_err(io)?;
        Ok(Fetched::New(About::default()))
    }
}
