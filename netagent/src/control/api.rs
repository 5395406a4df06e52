//! The paths of the control socket: one table, from which the server and its description are made.

use std::{path::PathBuf, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{
        HeaderMap, Method, StatusCode,
        header::{ACCEPT, AGE, CONTENT_TYPE},
    },
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
    intent::PortIntent,
    request::{Answer, Asker, Command, Refusal, Request, Unanswered, Waiting},
    show::{self, What},
    snapshot::Snapshot,
    status::{PortStatus, Status},
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
    pub request: Option<fn(&mut SchemaGenerator) -> Schema>,
    /// The type of the answer's body.
    pub response: fn(&mut SchemaGenerator) -> Schema,
    /// What serves it.
    serve: fn() -> MethodRouter<Context>,
}

fn schema<T: schemars::JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Every path.
pub fn routes() -> Vec<Route> {
    let get = |path, summary, response, serve| Route {
        method: Method::GET,
        path,
        summary,
        request: None,
        response,
        serve,
    };
    vec![
        get("/v1/status", "The state of each part of the node", schema::<Status>, || {
            routing::get(status)
        }),
        get("/v1/snapshot", "Everything that is known of the node", schema::<Everything>, || {
            routing::get(everything)
        }),
        get(
            "/v1/show/{what}",
            "A table of `netagent show`: ports, vlans, bonds, drops or fdb; as text where text/plain is accepted",
            schema::<Vec<serde_json::Value>>,
            || routing::get(table),
        ),
        get("/v1/plan", "What is left to do", schema::<PlanReport>, || routing::get(plan)),
        get("/v1/ports", "The ports and their state", schema::<Vec<PortStatus>>, || {
            routing::get(ports)
        }),
        Route {
            method: Method::POST,
            path: "/v1/ports",
            summary: "Adds a port; answers when it is plugged in",
            request: Some(schema::<PortIntent>),
            response: schema::<Answer>,
            serve: || routing::post(add_port),
        },
        Route {
            method: Method::DELETE,
            path: "/v1/ports/{device}",
            summary: "Deletes a port that was added here",
            request: None,
            response: schema::<Answer>,
            serve: || routing::delete(delete_port),
        },
        Route {
            method: Method::POST,
            path: "/v1/reload",
            summary: "Reads the file again; answers when it has been applied. The body may be empty",
            request: Some(schema::<Reload>),
            response: schema::<Answer>,
            serve: || routing::post(reload),
        },
        Route {
            method: Method::POST,
            path: "/v1/confirm",
            summary: "Confirms a change that waits, and answers when it has been applied; or keeps the change that is on trial",
            request: Some(schema::<Confirmation>),
            response: schema::<Answer>,
            serve: || routing::post(confirm),
        },
        Route {
            method: Method::POST,
            path: "/v1/release",
            summary: "Gives a cluster network or a port back as it was found, and leaves it alone; or takes it back",
            request: Some(schema::<Release>),
            response: schema::<Answer>,
            serve: || routing::post(release),
        },
        Route {
            method: Method::POST,
            path: "/v1/rollback",
            summary: "Undoes the change that is on trial",
            request: None,
            response: schema::<Answer>,
            serve: || routing::post(roll_back),
        },
        get("/v1/openapi.json", "This description", schema::<serde_json::Value>, || {
            routing::get(async || Json(openapi::document()))
        }),
    ]
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
    router.fallback(unknown).method_not_allowed_fallback(wrong).with_state(Context { asker, pins })
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
    let status = Status::of(&context.snapshot().await?);
    Ok(if wants_text(&headers) {
        show::status::text(&status).into_response()
    } else {
        Json(status).into_response()
    })
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
    let age = [(AGE, snapshot.age.as_secs().to_string())];
    Ok((age, [(CONTENT_TYPE, kind)], text).into_response())
}

/// Whether text is accepted, and JSON is not.
fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/plain") && !accept.contains("application/json")
}

async fn plan(State(context): State<Context>) -> Answered<Json<PlanReport>> {
    Ok(Json(PlanReport::of(&context.ask(Request::Plan).await?)))
}

async fn ports(State(context): State<Context>) -> Answered<Json<Vec<PortStatus>>> {
    let health = context.snapshot().await?.health;
    Ok(Json(PortStatus::all(&health)))
}

/// The JSON body of a request, or why it cannot be used.
fn body<T: DeserializeOwned>(text: &str) -> Answered<T> {
    serde_json::from_str(text).map_err(|error| failed(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn add_port(State(context): State<Context>, text: String) -> Answered<Json<Answer>> {
    let port: PortIntent = body(&text)?;
    context.command(Command::AddPort(Box::new(port))).await
}

async fn delete_port(
    State(context): State<Context>,
    Path(device): Path<String>,
) -> Answered<Json<Answer>> {
    let device = device.parse().map_err(|error: String| failed(StatusCode::BAD_REQUEST, error))?;
    context.command(Command::DeletePort(device)).await
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
