//! Serves the control API on a unix socket.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pipit_rib::Drain;
use tokio::net::{UnixListener, UnixStream};

use crate::control::api::{ApiError, ControlApi};
use crate::control::connections::Connections;
use crate::control::protocol::{
    API_VERSION, DaemonStatus, Drained, ErrorBody, ErrorReason, FibDiff, FibSync, NDJSON, PeerList,
    ProblemList, Released, Reset, Verified, path,
};
use crate::control::query::{
    DrainParams, FibParams, FibQuery, QueryError, ResetParams, RouteParams, RouteQuery,
};
use crate::control::stream;

/// Largest request body.
const MAX_BODY_LEN: usize = 64 * 1024;
/// Largest request head, and with it the read buffer of a connection.
const MAX_HEAD_LEN: usize = 16 * 1024;
/// How long a client may take to say what it wants, and keep an idle connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the listener failed, as it does when file descriptors run out.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts and serves connections until it is dropped, which also ends them.
pub async fn serve(listener: UnixListener, api: impl ControlApi) -> Infallible {
    let router = router(api);
    let mut connections = Connections::default();
    let mut is_failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                is_failing = false;
                connections.spawn(serve_connection(stream, router.clone()));
            }
            Err(error) => {
                // Said once, however long it lasts.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "control connections are not accepted");
                }
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
}

async fn serve_connection(stream: UnixStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_LEN)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .await;
    if let Err(error) = served {
        // The client went away, or sent no HTTP: its matter, not the operator's.
        tracing::debug!(%error, "control connection ended");
    }
}

fn router<A: ControlApi>(api: A) -> Router {
    Router::new()
        .route(path::PEERS, get(peers::<A>))
        .route(path::ROUTES, get(routes::<A>))
        .route(path::FIB, get(fib::<A>))
        .route(path::FIB_DIFF, get(fib_diff::<A>))
        .route(path::FIB_SYNC, post(fib_sync::<A>))
        .route(path::STATUS, get(status::<A>))
        .route(path::PROBLEMS, get(problems::<A>))
        .route(path::INPUTS, get(inputs::<A>))
        .route(path::RELEASE, post(release::<A>))
        .route(path::DRAIN, post(drain::<A>))
        .route(path::UNDRAIN, post(undrain::<A>))
        .route(path::RESET, post(reset::<A>))
        .route(path::VERIFY, get(verify::<A>))
        .fallback(async || Refusal::new(ErrorReason::NotFound, "no such path"))
        .method_not_allowed_fallback(async || Refusal::method_not_allowed())
        .layer(DefaultBodyLimit::max(MAX_BODY_LEN))
        .with_state(api)
}

async fn status<A: ControlApi>(State(api): State<A>) -> Result<Json<DaemonStatus>, Refusal> {
    Ok(Json(api.status().await?))
}

async fn peers<A: ControlApi>(State(api): State<A>) -> Result<Json<PeerList>, Refusal> {
    let (items, daemon, problems) = tokio::try_join!(api.peers(), api.status(), api.problems())?;
    Ok(Json(PeerList {
        api_version: API_VERSION.to_owned(),
        kind: "PeerList".to_owned(),
        items,
        daemon,
        problems,
    }))
}

async fn problems<A: ControlApi>(State(api): State<A>) -> Result<Json<ProblemList>, Refusal> {
    Ok(Json(ProblemList {
        api_version: API_VERSION.to_owned(),
        kind: "ProblemList".to_owned(),
        items: api.problems().await?,
    }))
}

async fn drain<A: ControlApi>(
    State(api): State<A>,
    params: Result<Query<DrainParams>, QueryRejection>,
) -> Result<Json<Drained>, Refusal> {
    let drain = match params?.0.withdraw {
        true => Drain::Withdrawn,
        false => Drain::Marked,
    };
    Ok(Json(api.drain(drain).await?))
}

async fn undrain<A: ControlApi>(State(api): State<A>) -> Result<Json<Drained>, Refusal> {
    Ok(Json(api.drain(Drain::Off).await?))
}

async fn reset<A: ControlApi>(
    State(api): State<A>,
    params: Result<Query<ResetParams>, QueryRejection>,
) -> Result<Json<Reset>, Refusal> {
    Ok(Json(api.reset(params?.0.name).await?))
}

async fn verify<A: ControlApi>(State(api): State<A>) -> Result<Json<Verified>, Refusal> {
    Ok(Json(api.verify().await?))
}

async fn release<A: ControlApi>(State(api): State<A>) -> Result<Json<Released>, Refusal> {
    Ok(Json(Released {
        api_version: API_VERSION.to_owned(),
        kind: "Released".to_owned(),
        count: api.release().await?,
    }))
}

async fn inputs<A: ControlApi>(State(api): State<A>) -> Result<Response, Refusal> {
    let lines = api.inputs().await?.into_iter().map(|mut line| {
        line.push('\n');
        Ok::<_, Infallible>(bytes::Bytes::from(line))
    });
    let body = Body::from_stream(futures_util::stream::iter(lines));
    Ok(([(header::CONTENT_TYPE, NDJSON)], body).into_response())
}

async fn routes<A: ControlApi>(
    State(api): State<A>,
    params: Result<Query<RouteParams>, QueryRejection>,
) -> Result<Response, Refusal> {
    let query = RouteQuery::try_from(params?.0)?;
    let wanted = query.clone();
    let fetch = move |page| {
        let (api, query) = (api.clone(), query.clone());
        async move { api.routes(&query, page).await }
    };
    list(stream::lines(fetch, move |route| wanted.admits(route)).await?)
}

async fn fib<A: ControlApi>(
    State(api): State<A>,
    params: Result<Query<FibParams>, QueryRejection>,
) -> Result<Response, Refusal> {
    let query = FibQuery {
        family: params?.0.family,
    };
    let wanted = query.clone();
    let fetch = move |page| {
        let (api, query) = (api.clone(), query.clone());
        async move { api.fib(&query, page).await }
    };
    list(stream::lines(fetch, move |route| wanted.admits(route)).await?)
}

async fn fib_diff<A: ControlApi>(State(api): State<A>) -> Result<Json<FibDiff>, Refusal> {
    Ok(Json(api.fib_diff().await?))
}

async fn fib_sync<A: ControlApi>(State(api): State<A>) -> Result<Json<FibSync>, Refusal> {
    Ok(Json(api.fib_sync().await?))
}

fn list(
    lines: impl futures_util::Stream<Item = Result<bytes::Bytes, stream::StreamError>> + Send + 'static,
) -> Result<Response, Refusal> {
    let lines = lines.inspect(|chunk| {
        if let Err(error) = chunk {
            tracing::warn!(%error, "a list was cut off");
        }
    });
    Ok(([(header::CONTENT_TYPE, NDJSON)], Body::from_stream(lines)).into_response())
}

/// An answer that is not a success.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    reason: ErrorReason,
    message: String,
}

impl Refusal {
    fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        let status = match reason {
            ErrorReason::BadRequest => StatusCode::BAD_REQUEST,
            ErrorReason::NotFound => StatusCode::NOT_FOUND,
            ErrorReason::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorReason::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal {
            status,
            reason,
            message: message.into(),
        }
    }

    fn method_not_allowed() -> Self {
        let refusal = Refusal::new(ErrorReason::BadRequest, "this path does not take this method");
        Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            ..refusal
        }
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Refusal::new(error.reason(), error.to_string())
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Refusal::new(ErrorReason::BadRequest, error.to_string())
    }
}

impl From<QueryRejection> for Refusal {
    fn from(error: QueryRejection) -> Self {
        Refusal::new(ErrorReason::BadRequest, error.body_text())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            api_version: API_VERSION.to_owned(),
            kind: "Error".to_owned(),
            reason: self.reason,
            message: self.message,
        };
        (self.status, Json(body)).into_response()
    }
}
