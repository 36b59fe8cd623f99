//! Answers on a socket: whole, late, dripping, cut or never.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Sleep, sleep};

/// Time for what is already written to leave before the connection is cut.
const BEFORE_CUT: Duration = Duration::from_millis(20);

/// Ends a connection from inside one of its calls.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    reset: AtomicBool,
    end: Notify,
}

impl Cutter {
    /// Resets the connection: the peer reads an error, not an end.
    pub(crate) fn reset(&self) {
        self.reset.store(true, Ordering::Relaxed);
        self.end.notify_one();
    }

    /// Returns when [`Cutter::reset`] was called.
    pub(crate) async fn ended(&self) {
        self.end.notified().await;
    }
}

/// A TCP connection that can end with a reset.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) stream: TcpStream,
    pub(crate) cutter: Arc<Cutter>,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.cutter.reset.load(Ordering::Relaxed) {
            // A socket that refuses is closed in the ordinary way: still no answer.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The body of an answer. `G` is held as long as the call counts as in flight: it is dropped before the last byte
/// is handed over, so that no client has the whole response while the call still counts.
pub(crate) enum Parcel<G> {
    /// All at once.
    Whole(Option<Bytes>),
    /// This much, then a broken connection; `length` is what the headers promise.
    Broken { first: Option<Bytes>, length: u64, nap: Pin<Box<Sleep>>, _guard: G },
    /// Byte by byte.
    Drip { rest: Bytes, pause: Duration, nap: Pin<Box<Sleep>>, guard: Option<G> },
}

impl<G> Parcel<G> {
    pub(crate) fn whole(body: Vec<u8>) -> Self {
        Self::Whole(Some(Bytes::from(body)).filter(|body| !body.is_empty()))
    }

    /// The headers and the first `bytes` of the body arrive, the rest never does.
    pub(crate) fn broken(body: Vec<u8>, bytes: usize, guard: G) -> Self {
        let body = Bytes::from(body);
        let length = (body.len() as u64).max(1);
        let first = Some(body.slice(..bytes.min(body.len()))).filter(|first| !first.is_empty());
        Self::Broken { first, length, nap: Box::pin(sleep(BEFORE_CUT)), _guard: guard }
    }

    pub(crate) fn drip(body: Vec<u8>, pause: Duration, guard: G) -> Self {
        if body.is_empty() {
            return Self::Whole(None);
        }
        Self::Drip { rest: Bytes::from(body), pause, nap: Box::pin(sleep(pause)), guard: Some(guard) }
    }
}

impl<G: Unpin> Body for Parcel<G> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let bytes = match self.get_mut() {
            Self::Whole(body) => body.take(),
            Self::Broken { first, nap, .. } => match first.take() {
                Some(first) => Some(first),
                None => {
                    ready!(nap.as_mut().poll(cx));
                    return Poll::Ready(Some(Err(io::Error::other("cut on purpose"))));
                }
            },
            Self::Drip { rest, pause, nap, guard } => {
                ready!(nap.as_mut().poll(cx));
                *nap = Box::pin(sleep(*pause));
                let byte = rest.split_to(rest.len().min(1));
                if rest.is_empty() {
                    guard.take();
                }
                Some(byte).filter(|byte| !byte.is_empty())
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_none(),
            Self::Broken { .. } => false,
            Self::Drip { rest, .. } => rest.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(body) => body.as_ref().map_or(0, |body| body.len() as u64),
            Self::Broken { length, .. } => *length,
            Self::Drip { rest, .. } => rest.len() as u64,
        })
    }
}
