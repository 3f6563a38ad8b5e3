//! The way of a request through the house, from top to bottom.

use std::sync::Arc;

use http::{Method, Request, Response, request};
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use super::admit::{self, Admitted};
use super::client::{Client, ClientConnection, Verdict};
use super::early::{self, Remainder};
use super::forward::Forward;
use super::record::Record;
use super::refusal::Refusal;
use super::response::{self, Closing, ResponseBody, Stall};
use super::snapshot::{Route, Snapshot, Target};
use super::upgrade::{self, Handover, Outcome, Switch, Upgrade, Way};
use crate::drain::Phase;
use crate::identity::Reason;
use crate::policy::{self, Facts, Grant};
use crate::route::Match;
use crate::upstream::{Cluster, FailureKind};

/// What a request has come to, before anything is sent or answered.
enum Decision<'a> {
    Health,
    Respond(&'a Route),
    Forward {
        route: &'a Route,
        cluster: &'a Arc<Cluster>,
        grant: Grant,
        client: Arc<Client>,
        admitted: Admitted<'a>,
        upgrade: Option<Upgrade>,
    },
}

/// Answers a request.
pub(super) async fn handle(
    connection: Arc<ClientConnection>,
    request: Request<Incoming>,
    stall: Option<Arc<Stall>>,
    handover: Option<Handover>,
) -> Response<ResponseBody> {
    let snapshot = connection.proxy.snapshot();
    let (parts, body) = request.into_parts();
    let mut record = Record::begin(&connection, &parts);
    let decision = decide(&connection, &snapshot, &parts, &body, &mut record);
    record.count_client(decision.as_ref().err());
    let outcome = match decision {
        Ok(Decision::Forward { route, cluster, grant, client, admitted, upgrade }) => {
            let (snapshot, parts, admitted, upgrade) = (&snapshot, &parts, &admitted, upgrade.as_ref());
            let forward = Forward {
                connection: &connection,
                snapshot,
                route,
                cluster,
                client: &client,
                parts,
                admitted,
                upgrade,
            };
            match forward.run(grant, body, &mut record).await {
                Ok((mut answer, declared)) => {
                    record.tell_of_expiry(answer.headers_mut());
                    match upgrade.map_or(Outcome::Declined, |upgrade| upgrade.outcome(&mut answer)) {
                        Outcome::Declined => {
                            let closing = closing(&connection, record.started(), stall);
                            return response::pass_on(answer, declared, record, closing);
                        }
                        Outcome::Switched(upstream) => {
                            let request = parts.clone();
                            let way = handover.map_or(Way::Http2(stall), Way::Http1);
                            return Switch { connection, request, answer, upstream, record }.complete(snapshot, way);
                        }
                        Outcome::Malformed => Err((Refusal::Upstream(FailureKind::Malformed), Remainder::None)),
                    }
                }
                // The body went with the request.
                Err(refusal) => {
                    let remainder = if record.body_was_read() { Remainder::None } else { Remainder::Unread };
                    Err((refusal, remainder))
                }
            }
        }
        Ok(decision) => Ok((decision, early::discard(&parts, body).await)),
        Err(refusal) => Err((refusal, early::discard(&parts, body).await)),
    };
    let mut closing = closing(&connection, record.started(), stall);
    let remainder = outcome.as_ref().map_or_else(|(_, remainder)| *remainder, |(_, remainder)| *remainder);
    if remainder == Remainder::Unread && connection.speaks_http1() {
        connection.activity.linger();
        closing.connection = true;
    }
    match outcome {
        Ok((Decision::Respond(Route { target: Target::Respond { status, body, content_type }, .. }), _)) => {
            response::fixed(*status, content_type.clone(), body.clone(), &parts.method, record, closing)
        }
        Ok(_) => response::health(draining(&connection), &parts.method, record, closing),
        Err((refusal, _)) => {
            closing.connection |= refusal.ends_connection() && connection.speaks_http1();
            response::refusal(&refusal, &parts.method, &parts.headers, record, closing)
        }
    }
}

/// Framing, health, target and Host, profile, route, certificate, outcome, limits: in this order, and without waiting.
fn decide<'a>(
    connection: &ClientConnection,
    snapshot: &'a Arc<Snapshot>,
    parts: &'a request::Parts,
    body: &Incoming,
    record: &mut Record,
) -> Result<Decision<'a>, Refusal> {
    let had_fragment = connection.activity.take_fragment();
    admit::check_framing(parts, snapshot.limits.header_count)?;
    if is_health(snapshot, parts) && !had_fragment {
        record.is_health();
        return Ok(Decision::Health);
    }
    let Verdict { client, profile, expires_in } = connection.verdict(snapshot);
    record.client(&client, expires_in);
    let admitted = admit::admit(parts, snapshot.limits.uri, had_fragment)?;
    if !connection.is_for(admitted.host(), profile, snapshot) {
        return Err(Refusal::Misdirected);
    }
    let found = snapshot.table.find(admitted.host(), &admitted.path, upgrade::method(parts));
    let index = match found {
        Match::Ambiguous => return Err(Refusal::AmbiguousPath),
        Match::Route(id) => id.0,
        // A stranger cannot tell a path without a route from one with a route.
        Match::NoPath | Match::NoMethod(_) if client.certificate.refusal().is_some() => {
            return Err(Refusal::Forbidden(stranger(&client)));
        }
        Match::NoPath => return Err(Refusal::NotFound),
        Match::NoMethod(methods) => return Err(Refusal::MethodNotAllowed(methods)),
    };
    let route = snapshot.routes.get(index).ok_or(Refusal::NotFound)?;
    let facts = Facts { client: &client.certificate };
    let decision = policy::decide(&route.access, facts);
    // A stranger's request belongs to no route, in the log as in the answer.
    if matches!(decision, Ok(_) | Err(Reason::NotAllowed)) {
        record.route(snapshot, index);
    }
    if let Some(shadow) = snapshot.shadow(profile) {
        record.tried(shadow.difference(&client, &route.access, decision.as_ref().err().copied()));
    }
    let grant = decision.map_err(Refusal::Forbidden)?;
    if let Some(prefix) = &route.strip_prefix {
        admitted.path.check_without(prefix).map_err(Refusal::Path)?;
    }
    if body.size_hint().lower() > route.max_request_body {
        return Err(Refusal::BodyTooLarge(route.max_request_body));
    }
    let upgrade = upgrade::asked(parts, !body.is_end_stream(), route)?;
    Ok(match &route.target {
        Target::Respond { .. } => Decision::Respond(route),
        Target::Forward(cluster) => Decision::Forward { route, cluster, grant, client, admitted, upgrade },
    })
}

fn is_health(snapshot: &Snapshot, parts: &request::Parts) -> bool {
    matches!(parts.method, Method::GET | Method::HEAD) && parts.uri.path() == snapshot.health_path
}

fn stranger(client: &Client) -> Reason {
    client.certificate.refusal().unwrap_or(Reason::CertificateMissing)
}

fn draining(connection: &ClientConnection) -> bool {
    connection.proxy.drain.phase() >= Phase::Announced
}

/// Whether the connection ends after this answer, as far as it is not the answer's own doing.
fn closing(connection: &ClientConnection, began: Instant, stall: Option<Arc<Stall>>) -> Closing {
    let ends = draining(connection) || connection.is_too_old(began);
    Closing { connection: ends && connection.speaks_http1(), stall }
}
