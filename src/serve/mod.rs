//! `retune serve`: the aliases of a workspace and the local base model behind OpenAI's protocol.

mod answer;
mod catalog;
mod chat;
mod door;
mod error;
mod keys;
mod local;
mod rate;
mod refusal;
mod request_log;
mod routes;
mod tally;
mod text;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::config::Block;
use crate::engine::Workspace;

use catalog::Catalog;
use rate::Rates;
use request_log::RequestLog;
use routes::State;
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
    /// How long a client may take to send a request.
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
        let keys = Keys::read(workspace.store.root())?;
        if keys.is_empty() && !options.listen.ip().is_loopback() {
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
    ///
    /// # Errors
    /// When an alias cannot be read.
    pub fn models(&self) -> Result<Vec<(String, String)>, ServeError> {
        let listed = self.state.catalog.list().map_err(|refusal| ServeError::Models { problem: refusal.to_string() })?;
        Ok(listed.into_iter().map(|model| (model.name, model.owner)).collect())
    }

    /// Answers until it is to stop, and then those that it has begun with.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        door::stand(self.listener, routes::routes(self.state), &self.options, stop).await;
    }
}
