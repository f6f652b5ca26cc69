//! The routes, callable without a socket.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::facts::Facts;
use super::{health, metrics};

/// The HTTP door as a service: give it requests, with a socket or without.
///
/// `/livez`, `/readyz` and `/version` answer everyone; `/health` and `/metrics` want the token, when there is one.
pub fn app(facts: Arc<Facts>) -> Router {
    let private = Router::new()
        .route("/health", get(health_page))
        .route("/metrics", get(metrics_page))
        .route_layer(from_fn_with_state(facts.clone(), admit));
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .merge(private)
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "there are /livez, /readyz, /health, /version and /metrics\n")
        })
        .with_state(facts)
}

async fn admit(State(facts): State<Arc<Facts>>, request: Request, next: Next) -> Response {
    if facts.admits(bearer(request.headers())) {
        return next.run(request).await;
    }
    let text = "this needs the header `Authorization: Bearer TOKEN` with this server's token\n";
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
}

async fn readyz(State(facts): State<Arc<Facts>>) -> (StatusCode, String) {
    match health::not_ready(&facts) {
        None => (StatusCode::OK, "ok\n".into()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn health_page(State(facts): State<Arc<Facts>>) -> Response {
    let health = health::health(&facts);
    let status = if health.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, json(&health)).into_response()
}

async fn version(State(facts): State<Arc<Facts>>) -> Response {
    json(&serde_json::json!({ "name": "weir", "version": facts.version })).into_response()
}

async fn metrics_page(State(facts): State<Arc<Facts>>) -> Response {
    match metrics::text(&facts) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT)], text).into_response(),
        Err(error) => {
            tracing::warn!(%error, "the metrics could not be collected");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response()
        }
    }
}

fn json(value: &impl serde::Serialize) -> impl IntoResponse {
    let mut text = serde_json::to_string(value).expect("these types have string keys and finite numbers");
    text.push('\n');
    ([(CONTENT_TYPE, "application/json")], text)
}
