use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::engine::{EngineError, Workspace, discover};
use crate::serve::{Gateway, Home, Keys, Options};

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::speak::{complain, say};
use super::super::target::Changes;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The pipeline that declares the providers
    pipeline: Option<PathBuf>,
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8790")]
    listen: SocketAddr,
    /// Make a key of this name, print it once, and end
    #[arg(long, value_name = "NAME", conflicts_with_all = ["drop_key", "list_keys"])]
    new_key: Option<String>,
    /// Let a key open nothing any more, and end
    #[arg(long, value_name = "NAME", conflicts_with = "list_keys")]
    drop_key: Option<String>,
    /// List the names of the keys, and end
    #[arg(long)]
    list_keys: bool,
    /// The largest request, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 4 << 20)]
    largest: usize,
    /// The largest file that a client may send for fine-tuning, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20)]
    largest_file: usize,
    /// How many requests may wait for a model; more are told to come again
    #[arg(long, value_name = "N", default_value_t = 256)]
    queue: usize,
    /// How many requests a key may send a minute: as many as it likes on this machine, 600 from elsewhere
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// How many connections may be open
    #[arg(long, value_name = "N", default_value_t = 1024)]
    connections: usize,
    /// How many seconds a client may take to send a request, or to take in a part of its answer
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    patience: u64,
    /// How many seconds answers that are under way may take when it is to stop
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    farewell: u64,
    /// Write a line for each request to this file, without what was said
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Write what was asked and said into these lines as well
    #[arg(long, requires = "log")]
    log_contents: bool,
    #[command(flatten)]
    changes: Changes,
}

/// Requests a minute of a key that comes from elsewhere.
const RATE: u32 = 600;

pub fn serve(arguments: &Arguments) -> Result<Exit, Problem> {
    let place = discover(arguments.pipeline.as_deref())?;
    if let Some(name) = &arguments.new_key {
        let key = Keys::add(&Workspace::open(&place)?.store, name)?;
        complain!("this is the only time that the key `{name}` is shown");
        say!("{key}");
        return Ok(Exit::Done);
    }
    if let Some(name) = &arguments.drop_key {
        Keys::remove(&Workspace::open(&place)?.store, name)?;
        complain!("the key `{name}` opens nothing any more");
        return Ok(Exit::Done);
    }
    if arguments.list_keys {
        Keys::read(&Workspace::look(&place).store)?.names().for_each(|name| say!("{name}"));
        return Ok(Exit::Done);
    }
    let recipe = arguments.changes.load(arguments.pipeline.as_ref())?;
    let is_here = arguments.listen.ip().is_loopback();
    let options = Options {
        listen: arguments.listen,
        largest: arguments.largest,
        largest_file: arguments.largest_file,
        queue: arguments.queue,
        rate: arguments.rate.or((!is_here).then_some(RATE)),
        connections: arguments.connections.max(1),
        patience: Duration::from_secs(arguments.patience.max(1)),
        farewell: Duration::from_secs(arguments.farewell),
        log: arguments.log.clone(),
        contents: arguments.log_contents,
    };
    let home = Home { workspace: Workspace::open(&recipe.file.path)?, providers: recipe.providers()?, stages: recipe.deploy_stages()? };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| EngineError::Workspace { path: PathBuf::from("."), reason: format!("no runtime can be had: {error}") })?;
    runtime.block_on(async {
        let gateway = Gateway::open(home, options).await?;
        let address = gateway.address().unwrap_or(arguments.listen);
        let stop = stopped();
        for (name, owner) in gateway.models() {
            complain!("{name}: {owner}");
        }
        complain!("listening on http://{address}/v1");
        if gateway.run(stop, |text| complain!("{text}")).await {
            complain!("stopped");
            return Ok(Exit::Done);
        }
        complain!("stopped, and some answers were cut off");
        Ok(Exit::Failed)
    })
}

/// Comes when it is to stop: by Ctrl-C or TERM. A second one ends it at once, as it would end any program.
fn stopped() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        let [Ok(mut interrupt), Ok(mut terminate)] = signals else {
            return std::future::pending().await;
        };
        let mut next = async move || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        complain!("finishing what was begun; once more ends it at once");
        tokio::spawn(async move {
            next().await;
            std::process::exit(130);
        });
    }
}
