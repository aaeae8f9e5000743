//! Rows of a PostgreSQL database, by a query.

use std::io::Write;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use crate::config::{Block, ConfigError};
use crate::provider::{Secret, http};

use super::super::super::{Compiler, StageError};
use super::{About, Fetched, Fetching, Source, SourceError, SourceKind, below, needed};

pub const KIND: SourceKind = SourceKind { schemes: &["postgres", "postgresql"], reads: &["query", "password"], prepare };

fn prepare(source: &Block, _compiler: &Compiler<'_>) -> Result<Box<dyn Source>, ConfigError> {
    let address = source.text("path").to_owned();
    let wrong = |problem: String, help: &str| ConfigError::Contradiction {
        problem,
        label: "not an address to connect to".into(),
        at: source.span_of("path").into(),
        help: help.into(),
    };
    let config: Config =
        address.parse().map_err(|error: tokio_postgres::Error| wrong(error.to_string(), "as in `postgres://user@host:5432/database?sslmode=require`"))?;
    if config.get_password().is_some() {
        return Err(wrong(
            "there is a password in the address".into(),
            "it would be in the repository and in the store: take it out, and write `password (secret)\"PGPASSWORD\"`",
        ));
    }
    let query = needed(source, "query", "say what is wanted of it: `query \"SELECT text, team FROM tickets ORDER BY id\"`")?;
    let query = query.trim().trim_end_matches(';').to_owned();
    Ok(Box::new(Postgres { address, config, query, password: source.child_text("password").map(Secret::variable) }))
}

#[derive(Debug)]
struct Postgres {
    address: String,
    config: Config,
    query: String,
    password: Option<Secret>,
}

impl Postgres {
    fn problem(&self, error: &tokio_postgres::Error) -> StageError {
        match error.as_db_error() {
            Some(said) => SourceError::refused(&self.address, said.message()).into(),
            None => {
                let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                SourceError::unreachable(&self.address, &cause).into()
            }
        }
    }

    async fn connect(&self) -> Result<tokio_postgres::Client, StageError> {
        let mut config = self.config.clone();
        if let Some(password) = &self.password {
            config.password(password.reveal(&self.address)?);
        }
        config.application_name("retune");
        // What the server says beside the rows is nobody's; an error shows in the query.
        if config.get_ssl_mode() == SslMode::Disable {
            let (client, connection) = config.connect(NoTls).await.map_err(|error| self.problem(&error))?;
            tokio::spawn(connection);
            return Ok(client);
        }
        http::ready();
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let (client, connection) = config.connect(tokio_postgres_rustls::MakeRustlsConnect::new(tls)).await.map_err(|error| self.problem(&error))?;
        tokio::spawn(connection);
        Ok(client)
    }
}

#[async_trait]
impl Source for Postgres {
    async fn fetch(&self, fetching: &Fetching<'_>) -> Result<Fetched, StageError> {
        let client = self.connect().await?;
        let place = below(fetching, &self.address, "rows.jsonl")?;
        let io = |source| StageError::Io { doing: "write", path: place.clone(), source };
        let mut file = std::io::BufWriter::new(std::fs::File::create(&place).map_err(io)?);
        client.batch_execute("BEGIN READ ONLY").await.map_err(|error| self.problem(&error))?;
        // As JSON by the server, which knows all of its types.
        let query = format!("SELECT row_to_json(fetched) FROM ({}) AS fetched", self.query);
        let rows = client.simple_query_raw(&query).await.map_err(|error| self.problem(&error))?;
        let mut rows = std::pin::pin!(rows.into_stream().fuse());
        let (mut count, mut length) = (0, 0);
        while let Some(message) = rows.try_next().await.map_err(|error| self.problem(&error))? {
            let SimpleQueryMessage::Row(row) = message else {
                continue;
            };
            // JSON of the server has line breaks only as escapes.
            let line = row.get(0).unwrap_or("null").replace('\n', " ");
            file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(io)?;
            length += line.len() as u64 + 1;
            if length > fetching.largest {
                return Err(SourceError::TooLarge { address: self.address.clone(), most: fetching.largest }.into());
            }
            count += 1;
            if count % 4096 == 0 {
                fetching.context.watch.progress(count, 0, "rows", &self.address);
            }
        }
        file.flush().map_err(io)?;
        Ok(Fetched::New(About::default()))
    }
}
