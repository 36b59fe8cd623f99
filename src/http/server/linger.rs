//! Closes a connection whose peer may still be sending (RFC 9112, 9.6): shuts our side, then reads and
//! discards what arrives for a while. If a system closes a connection with unread bytes in it, it sends a
//! reset, and the client may lose the last response.

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

/// Maximum total time.
const WHOLE_TIME: Duration = Duration::from_secs(2);

/// Ends earlier if nothing arrives for this long.
const QUIET_TIME: Duration = Duration::from_millis(500);

/// Maximum number of discarded bytes.
const BYTES: usize = 8 * 1024 * 1024;

/// The state of closing one connection.
#[derive(Debug)]
pub(in crate::http) struct Linger {
    /// Set once our side is shut.
    wait: Option<Wait>,
    left: usize,
    /// The peer has shut its side, or a limit is reached.
    over: bool,
}

#[derive(Debug)]
struct Wait {
    quiet: Pin<Box<Sleep>>,
    end: Instant,
}

impl Linger {
    /// The state of an open connection.
    pub(in crate::http) fn new() -> Self {
        Self { wait: None, left: BYTES, over: false }
    }

    /// Records that the peer has shut its side and sends nothing more.
    pub(in crate::http) fn peer_has_shut(&mut self) {
        self.over = true;
    }

    /// Shuts our side of `stream`. Ready when the peer has shut its side, or when a limit is reached.
    pub(in crate::http) fn poll_close<T: AsyncRead + AsyncWrite + Unpin>(
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
