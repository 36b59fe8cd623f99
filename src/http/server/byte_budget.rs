//! Limits what a client may send without a request.
//!
//! HTTP/2 has frames that cost work and are no request (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA),
//! and so has TLS (key updates, empty records). Neither library counts all of them. Counting bytes bounds all
//! of them.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;

use crate::http::server::activity::Activity;
use crate::http::server::linger::Linger;

/// Maximum bytes from a client while none of its requests is handled, counted from one request (or one chunk
/// of a streaming response) to the next. A head may have 32 KiB and the rest of a refused body fits into a
/// window of 64 KiB, both in TLS records that may be half padding.
const BETWEEN_REQUESTS: usize = 256 * 1024;

/// A stream that fails when its peer has sent too much without a request.
#[derive(Debug)]
pub(in crate::http) struct BudgetedStream<T> {
    stream: T,
    activity: Arc<Activity>,
    linger: Linger,
}

impl<T> BudgetedStream<T> {
    pub(in crate::http) fn new(stream: T, activity: Arc<Activity>) -> Self {
        Self { stream, activity, linger: Linger::new() }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for BudgetedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        let got = into.filled().len().saturating_sub(before);
        if got == 0 && into.remaining() > 0 {
            self.linger.peer_has_shut();
        }
        if self.activity.record_bytes(got) > BETWEEN_REQUESTS {
            log::debug!(
                "closing a connection: the client sent more than {BETWEEN_REQUESTS} bytes without a request"
            );
            return Poll::Ready(Err(io::Error::other("too many bytes without a request")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for BudgetedStream<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, linger, .. } = &mut *self;
        linger.poll_close(stream, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
