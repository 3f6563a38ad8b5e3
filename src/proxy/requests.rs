//! What hyper calls for each request of a connection.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;

use super::client::ClientConnection;
use super::pipeline;
use super::response::ResponseBody;
use super::stream::StreamExecutor;
use super::upgrade::Handover;

/// Requests to the pipeline.
pub(super) struct Requests {
    pub(super) connection: Arc<ClientConnection>,
    /// Of HTTP/2.
    pub(super) streams: Option<StreamExecutor>,
    /// Of HTTP/1: made when a request might change the protocol.
    pub(super) handover: OnceLock<Handover>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    // Boxed, so that an idle connection does not carry the room for a request.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let connection = Arc::clone(&self.connection);
        let stall = self.streams.as_ref().map(StreamExecutor::begin);
        // hyper notes a possible upgrade there, so plain requests have none.
        let handover = match &self.streams {
            None if !request.extensions().is_empty() => Some(self.handover.get_or_init(Handover::default).clone()),
            _ => None,
        };
        Box::pin(async move { Ok(pipeline::handle(connection, request, stall, handover).await) })
    }
}
