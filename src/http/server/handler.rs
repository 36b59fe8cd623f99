//! The request handler of a listener, which the caller supplies, and what it learns about the peer.

use std::future::Future;
use std::net::SocketAddr;

use hyper::Request;
use hyper::Response;
use hyper::body::Incoming;

use crate::http::response::response_body::ResponseBody;

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address of the other end of the TCP connection. An IPv4 address stays IPv4, also on a dual-stack
    /// socket.
    pub addr: SocketAddr,
    /// Whether the request arrived over our TLS.
    pub secure: bool,
}

/// A request handler. Each connection uses a clone. It cannot fail; a panic ends only its connection (HTTP/1)
/// or its stream (HTTP/2).
pub trait Handler: Clone + Send + 'static {
    /// The future of one response. It is dropped when the client disconnects or the drain time is over, so
    /// work that must be completed once begun belongs in a task of its own.
    type ResponseFuture: Future<Output = Response<ResponseBody>> + Send + 'static;

    /// Begins to handle `request`. Its body is unbounded: read it with [`crate::http::request::request_body::read`].
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> Self::ResponseFuture;
}

impl<S, F> Handler for S
where
    S: Fn(Request<Incoming>, Peer) -> F + Clone + Send + 'static,
    F: Future<Output = Response<ResponseBody>> + Send + 'static,
{
    type ResponseFuture = F;

    fn handle(&self, request: Request<Incoming>, peer: Peer) -> F {
        self(request, peer)
    }
}
