//! hyper's connections: how their streams are run and how they end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::HttpService;

use crate::http::response::response_body::ResponseBody;
use crate::tasks::Tasks;

/// Runs HTTP/2 streams as tasks of the daemon, so that the shutdown waits for them.
#[derive(Clone)]
pub(super) struct StreamExecutor(pub(super) Tasks);

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn("http/2 stream", stream);
    }
}

/// The common interface of hyper's HTTP/1 and HTTP/2 connections.
pub(super) trait GracefulConnection: Future<Output = hyper::Result<()>> {
    /// Accepts no further requests. The connection ends when those in flight have been answered.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<T, S> GracefulConnection for http1::Connection<T, S>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        // Calls hyper's method of the same name.
        Self::graceful_shutdown(self);
    }
}

impl<T, S> GracefulConnection for http2::Connection<T, S, StreamExecutor>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: HttpService<Incoming, ResBody = ResponseBody, Error = Infallible, Future: Send + 'static>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        // Calls hyper's method of the same name.
        Self::graceful_shutdown(self);
    }
}
