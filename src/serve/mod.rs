//! `retune serve`: the aliases of a workspace and the local base model behind OpenAI's protocol.

mod answer;
mod catalog;
mod chat;
mod door;
mod error;
mod health;
mod keys;
mod local;
mod origin;
mod patient;
mod rate;
mod refusal;
mod request_log;
mod routes;
mod stamp;
mod state;
mod tally;
mod text;
mod upstream;
mod watched;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::config::Block;
use crate::engine::Workspace;

use catalog::Catalog;
use keys::Door;
use rate::Rates;
use request_log::RequestLog;
use state::State;
use tally::Tally;

pub use error::ServeError;
pub use keys::Keys;

/// How a gateway is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Bytes that a request has at most.
    pub largest: usize,
    /// Requests that wait for a model, at most; more are told to come again.
    pub queue: usize,
    /// Requests that one key, or one without keys, may send a minute.
    pub rate: Option<u32>,
    /// Connections that are open at a time.
    pub connections: usize,
    /// How long a client may take to send a request, and to take in a part of its answer.
    pub patience: Duration,
    /// How long those that are being answered may take when it is to stop.
    pub farewell: Duration,
    /// A file that gets a line for each request, without what was said.
    pub log: Option<std::path::PathBuf>,
}

/// A gateway that has its place and does not answer yet.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    state: Arc<State>,
    options: Options,
}

impl Gateway {
    /// Takes its place.
    ///
    /// # Errors
    /// When it would stand open to the network without keys, somebody else has the place, or keys or log cannot be had.
    pub async fn open(workspace: Workspace, providers: Vec<Block>, options: Options) -> Result<Self, ServeError> {
        let is_here = options.listen.ip().is_loopback();
        let keys = Door::new(&workspace.store, !is_here)?;
        if keys.is_without() && !is_here {
            return Err(ServeError::Open { address: options.listen });
        }
        let listener = TcpListener::bind(options.listen).await.map_err(|source| ServeError::NoPlace { address: options.listen, source })?;
        let log = options.log.as_deref().map(RequestLog::open).transpose()?;
        let state = State {
            catalog: Catalog::new(workspace, providers, options.queue),
            keys,
            rates: Rates::new(options.rate),
            tally: Arc::new(Tally::default()),
            log,
            largest: options.largest,
            patience: options.patience,
        };
        Ok(Self { listener, state: Arc::new(state), options })
    }

    /// The address that it has, where any port was wanted.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The models that there are, by name, with who has them.
    #[must_use]
    pub fn models(&self) -> Vec<(String, String)> {
        self.state.catalog.list().into_iter().map(|model| (model.name, model.owner)).collect()
    }

    /// Answers until it is to stop, and then those that it has begun with. Whether all of them came to their end.
    pub async fn run(self, stop: impl Future<Output = ()>) -> bool {
        door::stand(self.listener, routes::routes(self.state), &self.options, stop).await
    }
}
