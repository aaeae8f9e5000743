//! Who comes in: so many connections at a time, none that says nothing for long, and nobody is sent away in the middle of an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Options;
use super::patient::Patient;

/// Lets connections in until it is to stop, then waits for the answers that are under way. Whether all of them came to their end.
pub async fn stand(listener: TcpListener, routes: Router, options: &Options, stop: impl Future<Output = ()>) -> bool {
    let places = Arc::new(Semaphore::new(options.connections));
    let open = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let come = async {
            // Who finds no place waits at the system's door.
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, come) = tokio::select! {
            come = come => come,
            () = &mut stop => break,
        };
        let Ok((connection, _)) = come else {
            // There are no more descriptors, say: some come back when others leave.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let _ = connection.set_nodelay(true);
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(options.patience);
        let served = open.watch(builder.serve_connection(TokioIo::new(Patient::new(connection, options.patience)), TowerToHyperService::new(routes.clone())));
        tokio::spawn(async move {
            // A client that breaks off hurts nobody else.
            let _ = served.await;
            drop(place);
        });
    }
    drop(listener);
    tokio::time::timeout(options.farewell, open.shutdown()).await.is_ok()
}
