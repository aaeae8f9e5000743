//! `retune serve`: the aliases of a workspace and the local base model behind OpenAI's protocol.

mod answer;
mod arm;
mod body;
mod catalog;
mod chat;
mod door;
mod error;
mod feedback;
mod health;
mod heard;
mod keys;
mod local;
mod name;
mod origin;
mod patient;
mod rate;
mod recent;
mod refusal;
mod request_log;
mod routes;
mod shadow;
mod stamp;
mod state;
mod tally;
mod text;
mod trials;
mod tuning;
mod upstream;
mod watched;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::config::{Block, StageDecl};
use crate::engine::Workspace;

use catalog::Catalog;
use keys::Door;
use rate::Rates;
use request_log::RequestLog;
use state::State;
use tally::Tally;
use trials::Trials;
use tuning::Jobs;

pub use error::ServeError;
pub use keys::Keys;

/// How a gateway is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Bytes that a request has at most.
    pub largest: usize,
    /// Bytes that a file has at most.
    pub largest_file: usize,
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
    /// A file that gets a line for each request.
    pub log: Option<std::path::PathBuf>,
    /// Whether these lines hold what was asked and said.
    pub contents: bool,
}

/// What a gateway answers for.
#[derive(Debug)]
pub struct Home {
    /// The workspace with the aliases.
    pub workspace: Workspace,
    /// The providers that the pipeline declares.
    pub providers: Vec<Block>,
    /// Its stages.
    pub stages: Vec<StageDecl>,
}

/// A gateway that has its place and does not answer yet.
#[derive(Debug)]
pub struct Gateway {
    listener: TcpListener,
    state: Arc<State>,
    options: Options,
    told: UnboundedReceiver<String>,
    queued: UnboundedReceiver<String>,
}

impl Gateway {
    /// Takes its place.
    ///
    /// # Errors
    /// When it would stand open to the network without keys, somebody else has the place, or keys or log cannot be had.
    pub async fn open(home: Home, options: Options) -> Result<Self, ServeError> {
        let Home { workspace, providers, stages } = home;
        let is_here = options.listen.ip().is_loopback();
        let keys = Door::new(&workspace.store, !is_here)?;
        if keys.is_without() && !is_here {
            return Err(ServeError::Open { address: options.listen });
        }
        let listener = TcpListener::bind(options.listen).await.map_err(|source| ServeError::NoPlace { address: options.listen, source })?;
        let log = options.log.as_deref().map(|path| RequestLog::open(path, options.contents)).transpose()?;
        let (tell, told) = unbounded_channel();
        let trials = Trials::new(workspace.store.clone(), workspace.root.clone(), stages, tell).map_err(|source| ServeError::Thread { source })?;
        let (jobs, queued) = Jobs::open(workspace.store.clone());
        let state = State {
            catalog: Catalog::new(workspace, providers, Arc::clone(&jobs), options.queue),
            jobs,
            largest_file: options.largest_file,
            keys,
            rates: Rates::new(options.rate),
            tally: Arc::new(Tally::default()),
            log,
            contents: options.contents,
            trials,
            largest: options.largest,
            patience: options.patience,
        };
        Ok(Self { listener, state: Arc::new(state), options, told, queued })
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

    /// Answers until it is to stop, and then those that it has begun with. What it decides meanwhile is told. Whether all answers came
    /// to their end.
    pub async fn run(self, stop: impl Future<Output = ()>, tell: impl Fn(&str) + Send + 'static) -> bool {
        let Self { listener, state, options, mut told, queued } = self;
        let is_over = Arc::new(AtomicBool::new(false));
        let tuner = tokio::spawn(tuning::work(Arc::clone(&state.jobs), queued, Arc::clone(&is_over)));
        let teller = tokio::spawn(async move {
            while let Some(text) = told.recv().await {
                tell(&text);
            }
        });
        let is_whole = door::stand(listener, routes::routes(Arc::clone(&state)), &options, stop).await;
        // What is being tuned goes on from its last checkpoint when there is a gateway again.
        is_over.store(true, Ordering::Relaxed);
        state.jobs.stop();
        tuner.abort();
        tokio::task::block_in_place(|| state.trials.end());
        let _ = tokio::time::timeout(options.farewell, teller).await;
        is_whole
    }
}
