//! The end of a connection whose peer may still be sending (RFC 9112, 9.6): our side is shut, and what comes is read and
//! thrown away for a while. A system that closes a connection with unread bytes in it resets it, and the peer loses the
//! last answer with that.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::io::AsyncWrite;
use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio::time::Sleep;
use tokio::time::sleep_until;

/// For no longer than this.
const WHOLE_TIME: Duration = Duration::from_secs(2);

/// And not if so long nothing comes.
const QUIET_TIME: Duration = Duration::from_millis(500);

/// No more than this.
const BYTES: usize = 8 * 1024 * 1024;

/// How far the end of one connection has come.
#[derive(Debug)]
pub(super) struct Linger {
    /// From when our side is shut on.
    wait: Option<Wait>,
    left: usize,
    /// The peer has shut its side, or a bound is reached.
    over: bool,
}

#[derive(Debug)]
struct Wait {
    quiet: Pin<Box<Sleep>>,
    end: Instant,
}

impl Linger {
    /// Of a connection that goes on.
    pub(super) fn new() -> Self {
        Self { wait: None, left: BYTES, over: false }
    }

    /// The peer has shut its side: nothing more comes.
    pub(super) fn peer_has_shut(&mut self) {
        self.over = true;
    }

    /// Shuts our side of `stream`. Ready when the peer has shut its own, or when a bound is reached.
    pub(super) fn poll_close<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut T,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let wait = match &mut self.wait {
            Some(wait) => wait,
            none => {
                ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
                let now = Instant::now();
                none.insert(Wait { quiet: Box::pin(sleep_until(now + QUIET_TIME)), end: now + WHOLE_TIME })
            }
        };
        while !self.over {
            let mut bytes = [0; 8192];
            let mut read = ReadBuf::new(&mut bytes);
            match Pin::new(&mut *stream).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() && read.filled().len() <= self.left => {
                    self.left -= read.filled().len();
                    wait.quiet.as_mut().reset(wait.end.min(Instant::now() + QUIET_TIME));
                }
                Poll::Ready(_) => self.over = true,
                Poll::Pending => {
                    ready!(wait.quiet.as_mut().poll(context));
                    self.over = true;
                }
            }
            self.over |= Instant::now() >= wait.end;
        }
        Poll::Ready(Ok(()))
    }
}
