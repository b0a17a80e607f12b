//! Serves connections with hyper itself, which can close one without an answer.

use std::sync::Arc;

use anyhow::Result;
use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::fault::Mode;
use super::{Cloud, api, auth};

/// Makes hyper close the connection: it does so when a service fails.
#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
struct Dropped;

/// Serves the cloud until the listener fails. Dropping the future closes every connection.
pub async fn serve(listener: TcpListener, cloud: Arc<Cloud>) -> Result<()> {
    let router = TowerToHyperService::new(api::router(cloud.clone()));
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        let (cloud, router) = (cloud.clone(), router.clone());
        let service = service_fn(move |request| answer(cloud.clone(), router.clone(), request));
        connections.spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away is not an error.
            let _ = connection.await;
        });
    }
}

async fn answer(
    cloud: Arc<Cloud>,
    router: TowerToHyperService<axum::Router>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Dropped> {
    let fault = if request.uri().path().starts_with(auth::CONTEXT) {
        cloud.faults.for_request(request.method())
    } else {
        None
    };
    match fault {
        Some(Mode::Unavailable) => {
            return Ok((StatusCode::SERVICE_UNAVAILABLE, "no server is available").into_response());
        }
        Some(Mode::Drop) => return Err(Dropped),
        Some(Mode::DropAnswer) | None => {}
    }
    let response = router.call(request).await.map_err(|never| match never {})?;
    if fault.is_some() { Err(Dropped) } else { Ok(response) }
}
