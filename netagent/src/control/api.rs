//! The paths of the control socket: one table, from which the server and its description are made.

mod ports;

use std::{path::PathBuf, time::Duration};

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Path, State},
    http::{
        HeaderMap, HeaderName, Method, StatusCode,
        header::{ACCEPT, AGE, CONTENT_TYPE},
    },
    middleware::{from_fn, map_response},
    response::{IntoResponse, Response},
    routing::{self, MethodRouter},
};
use schemars::{Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::{
    openapi,
    reports::{Confirmation, Everything, PlanReport, Problem, Release, Reload},
};
use crate::{
    agent::Agent,
    request::{Answer, Asker, Command, Refusal, Request, Unanswered, Waiting},
    server::whole_body,
    show::{self, What},
    snapshot::Snapshot,
    status::Status,
};

/// What answers are made from.
#[derive(Clone)]
struct Context {
    asker: Asker,
    pins: PathBuf,
}

/// A path.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path; `{name}` is a parameter.
    pub path: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// The type of the request's body.
    pub request: Option<Describe>,
    /// The type of the answer's body.
    pub response: Describe,
    /// Whether the answer is text where text is accepted; it has its age then, as does JSON.
    pub has_text: bool,
    /// What serves it.
    serve: Serve,
}

fn schema<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What serves a path.
type Serve = fn() -> MethodRouter<Context>;
/// The schema of a body.
type Describe = fn(&mut SchemaGenerator) -> Schema;

/// A path at which something is done.
fn command(
    method: Method,
    path: &'static str,
    summary: &'static str,
    request: Option<Describe>,
    serve: Serve,
) -> Route {
    Route { method, path, summary, request, response: schema::<Answer>, has_text: false, serve }
}

/// A path that is read.
fn get(path: &'static str, summary: &'static str, response: Describe, serve: Serve) -> Route {
    Route { response, ..command(Method::GET, path, summary, None, serve) }
}

/// Every path.
pub fn routes() -> Vec<Route> {
    let [before, after] = of_the_node();
    before.into_iter().chain(ports::routes()).chain(after).collect()
}

/// The paths about all of the node, before and after those about its ports.
fn of_the_node() -> [Vec<Route>; 2] {
    let before = vec![
        Route {
            has_text: true,
            ..get("/v1/status", "The state of each part of the node", schema::<Status>, || {
                routing::get(status)
            })
        },
        get("/v1/snapshot", "Everything that is known of the node", schema::<Everything>, || {
            routing::get(everything)
        }),
        Route {
            has_text: true,
            ..get(
                "/v1/show/{what}",
                "A table of `netagent show`: ports, vlans, bonds, drops or fdb; as text where text/plain is accepted",
                schema::<Vec<serde_json::Value>>,
                || routing::get(table),
            )
        },
        get("/v1/plan", "What is left to do", schema::<PlanReport>, || routing::get(plan)),
    ];
    let after = vec![
        command(
            Method::POST,
            "/v1/reload",
            "Reads the file again; answers when it has been applied. The body may be empty",
            Some(schema::<Reload>),
            || routing::post(reload),
        ),
        command(
            Method::POST,
            "/v1/confirm",
            "Confirms a change that waits, and answers when it has been applied; or keeps the change that is on trial",
            Some(schema::<Confirmation>),
            || routing::post(confirm),
        ),
        command(
            Method::POST,
            "/v1/release",
            "Gives a cluster network or a port back as it was found, and leaves it alone; or takes it back",
            Some(schema::<Release>),
            || routing::post(release),
        ),
        command(Method::POST, "/v1/rollback", "Undoes the change that is on trial", None, || {
            routing::post(roll_back)
        }),
        get("/v1/openapi.json", "This description", schema::<serde_json::Value>, || {
            routing::get(async || Json(openapi::document()))
        }),
    ];
    [before, after]
}

/// The server.
pub fn router(asker: Asker, pins: PathBuf) -> Router {
    let router = routes()
        .into_iter()
        .fold(Router::new(), |router, route| router.route(route.path, (route.serve)()));
    let unknown = async || failed(StatusCode::NOT_FOUND, "no such path: see GET /v1/openapi.json");
    let wrong = async || {
        failed(StatusCode::METHOD_NOT_ALLOWED, "no such method here: see GET /v1/openapi.json")
    };
    let router = router.fallback(unknown).method_not_allowed_fallback(wrong);
    let router = router.layer(from_fn(whole_body)).layer(map_response(as_problem));
    router.with_state(Context { asker, pins })
}

/// What is answered where there is no place for another connection.
pub fn busy() -> Router {
    let busy = async || failed(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
    Router::new().fallback(busy)
}

/// Errors of the HTTP library, such as a body that is too large, have the form of all errors.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_text = kind.is_some_and(|kind| kind.starts_with("text/plain"));
    if status.is_success() || !is_text {
        return response;
    }
    let text = to_bytes(response.into_body(), 1 << 10).await.unwrap_or_default();
    failed(status, String::from_utf8_lossy(&text)).into_response()
}

type Answered<T> = Result<T, Failed>;

/// Why a request was not carried out.
#[derive(Debug)]
struct Failed {
    status: StatusCode,
    error: String,
}

fn failed(status: StatusCode, error: impl Into<String>) -> Failed {
    Failed { status, error: error.into() }
}

fn unavailable(unanswered: Unanswered) -> Failed {
    let text = match unanswered {
        Unanswered::Failed | Unanswered::Ended => "the agent could not answer: see its log",
        Unanswered::Late => "the agent does not answer in time",
    };
    failed(StatusCode::SERVICE_UNAVAILABLE, text)
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.status, Json(Problem { error: self.error })).into_response()
    }
}

impl Context {
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Answered<T> {
        self.asker.ask(request).await.map_err(unavailable)
    }

    async fn snapshot(&self) -> Answered<Snapshot> {
        self.asker.snapshot().await.map_err(unavailable)
    }

    async fn command(&self, command: Command) -> Answered<Json<Answer>> {
        let answer = self.ask(|reply| Request::Command(command, Some(reply))).await?;
        answer.map(Json).map_err(|refusal| {
            let status = match refusal {
                Refusal::Conflict(_) => StatusCode::CONFLICT,
                Refusal::NotFound(_) => StatusCode::NOT_FOUND,
                Refusal::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            };
            failed(status, refusal.text())
        })
    }

    fn stations(&self, snapshot: &Snapshot) -> Answered<Vec<show::fdb::Row>> {
        let stations = Agent::stations(&self.pins)
            .map_err(|error| failed(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")))?;
        Ok(show::fdb::rows(&stations, &snapshot.links))
    }
}

async fn status(State(context): State<Context>, headers: HeaderMap) -> Answered<Response> {
    let snapshot = context.snapshot().await?;
    let status = Status::of(&snapshot);
    let body = if wants_text(&headers) {
        show::status::text(&status).into_response()
    } else {
        Json(status).into_response()
    };
    Ok((age(&snapshot), body).into_response())
}

async fn everything(State(context): State<Context>) -> Answered<Json<Everything>> {
    let snapshot = context.snapshot().await?;
    Ok(Json(Everything {
        status: Status::of(&snapshot),
        ports: show::ports::rows(&snapshot),
        vlans: show::vlans::rows(&snapshot),
        bonds: show::bonds::rows(&snapshot),
        drops: show::drops::rows(&snapshot),
        fdb: context.stations(&snapshot)?,
    }))
}

async fn table(
    State(context): State<Context>,
    Path(what): Path<String>,
    headers: HeaderMap,
) -> Answered<Response> {
    let json = !wants_text(&headers);
    let snapshot = context.snapshot().await?;
    let text = match what.parse::<What>() {
        Ok(What::Fdb) => show::print_fdb(&context.stations(&snapshot)?, json),
        Ok(what) => show::render(what, &snapshot, json),
        Err(error) => return Err(failed(StatusCode::NOT_FOUND, error)),
    };
    let text =
        text.map_err(|error| failed(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")))?;
    let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
    Ok((age(&snapshot), [(CONTENT_TYPE, kind)], text).into_response())
}

fn age(snapshot: &Snapshot) -> [(HeaderName, String); 1] {
    [(AGE, snapshot.age.as_secs().to_string())]
}

/// Whether text is accepted, and JSON is not.
fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/plain") && !accept.contains("application/json")
}

async fn plan(State(context): State<Context>) -> Answered<Json<PlanReport>> {
    Ok(Json(PlanReport::of(&context.ask(Request::Plan).await?)))
}

/// The JSON body of a request, or why it cannot be used.
fn body<T: DeserializeOwned>(text: &str) -> Answered<T> {
    serde_json::from_str(text).map_err(|error| failed(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn reload(State(context): State<Context>, text: String) -> Answered<Json<Answer>> {
    let Reload { try_for } = if text.is_empty() { Reload::default() } else { body(&text)? };
    if try_for.is_some_and(|seconds| !(1..=86_400).contains(&seconds)) {
        return Err(failed(StatusCode::BAD_REQUEST, "try: 1 to 86400 seconds"));
    }
    let time = try_for.map(|seconds| Duration::from_secs(seconds.into()));
    context.command(Command::Reload(time)).await
}

async fn release(State(context): State<Context>, text: String) -> Answered<Json<Answer>> {
    let Release { name, undo } = body(&text)?;
    context.command(Command::Release { name, undo }).await
}

async fn roll_back(State(context): State<Context>) -> Answered<Json<Answer>> {
    context.command(Command::RollBack).await
}

async fn confirm(State(context): State<Context>, text: String) -> Answered<Json<Answer>> {
    let Confirmation { links, change } = body(&text)?;
    let command = match (links, change) {
        (None, None) => Command::Keep,
        (None, Some(id)) => Command::Confirm(Waiting::Change(id)),
        (Some(links), None) if links.is_empty() => {
            return Err(failed(StatusCode::BAD_REQUEST, "links is empty: name at least one"));
        }
        (Some(links), None) => Command::Confirm(Waiting::Links(links.into_iter().collect())),
        (Some(_), Some(_)) => {
            return Err(failed(StatusCode::BAD_REQUEST, "either links or change, not both"));
        }
    };
    context.command(command).await
}
