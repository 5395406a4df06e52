//! Paths about ports: those of all sources, those that come at run time, and the interfaces of
//! pods.

use axum::{
    Json,
    extract::{Path, State},
    http::{Method, StatusCode},
    routing,
};
use netagent_cni::Attachment;

use super::{Answered, Context, Route, body, command, failed, get, schema};
use crate::{
    control::reports::Move,
    intent::PortIntent,
    request::{Answer, Command, Request},
    status::PortStatus,
};

/// The paths.
pub(super) fn routes() -> Vec<Route> {
    vec![
        get("/v1/ports", "The ports and their state", schema::<Vec<PortStatus>>, || {
            routing::get(ports)
        }),
        command(
            Method::POST,
            "/v1/ports",
            "Adds a port; answers when it is plugged in",
            Some(schema::<PortIntent>),
            || routing::post(add_port),
        ),
        command(
            Method::DELETE,
            "/v1/ports/{device}",
            "Deletes a port that was added here",
            None,
            || routing::delete(delete_port),
        ),
        command(
            Method::PUT,
            "/v1/ports/{device}/network",
            "Plugs the device of a running VM into another network, in place; no frame of the old one passes after the answer",
            Some(schema::<Move>),
            || routing::put(move_port),
        ),
        command(
            Method::POST,
            "/v1/ports/{device}/announce",
            "Ends the silence of a port: its VM is announced once",
            None,
            || routing::post(announce),
        ),
        get(
            "/v1/attachments",
            "The interfaces of pods that the CNI plugin has plugged in",
            schema::<Vec<Attachment>>,
            || routing::get(attachments),
        ),
        command(
            Method::PUT,
            "/v1/attachments/{container}/{ifname}",
            "Plugs the interface of a pod in; answers when it is plugged in",
            Some(schema::<Attachment>),
            || routing::put(attach),
        ),
        command(
            Method::DELETE,
            "/v1/attachments/{container}/{ifname}",
            "Unplugs the interface of a pod, if it is plugged in",
            None,
            || routing::delete(detach),
        ),
    ]
}

async fn ports(State(context): State<Context>) -> Answered<Json<Vec<PortStatus>>> {
    let health = context.snapshot().await?.health;
    Ok(Json(PortStatus::all(&health)))
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

async fn move_port(
    State(context): State<Context>,
    Path(device): Path<String>,
    text: String,
) -> Answered<Json<Answer>> {
    let device = device.parse().map_err(|error: String| failed(StatusCode::BAD_REQUEST, error))?;
    let Move { network } = body(&text)?;
    context.command(Command::MovePort { device, network }).await
}

async fn announce(
    State(context): State<Context>,
    Path(device): Path<String>,
) -> Answered<Json<Answer>> {
    let device = device.parse().map_err(|error: String| failed(StatusCode::BAD_REQUEST, error))?;
    context.command(Command::Announce(device)).await
}

async fn attachments(State(context): State<Context>) -> Answered<Json<Vec<Attachment>>> {
    context.ask(Request::Attachments).await.map(Json)
}

async fn attach(
    State(context): State<Context>,
    Path((container_id, ifname)): Path<(String, String)>,
    text: String,
) -> Answered<Json<Answer>> {
    let attachment = Attachment { container_id, ifname, ..body(&text)? };
    context.command(Command::Attach(Box::new(attachment))).await
}

async fn detach(
    State(context): State<Context>,
    Path((container_id, ifname)): Path<(String, String)>,
) -> Answered<Json<Answer>> {
    context.command(Command::Detach { container_id, ifname }).await
}
