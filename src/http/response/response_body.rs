//! Response bodies: complete ones, and streams of chunks that are sent as they become available.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::body::Frame;
use hyper::body::SizeHint;
use tokio::sync::mpsc;

use crate::http::server::activity::Activity;

/// A response body. A complete one uses memory only while the client reads slowly, and never keeps a handler
/// running. A stream buffers one chunk. Each chunk that the client reads counts as activity of its
/// connection. A client that reads none for too long is closed like any idle one.
#[derive(Debug)]
pub struct ResponseBody(BodyKind);

#[derive(Debug)]
enum BodyKind {
    Whole(Full<Bytes>),
    Flow { pieces: mpsc::Receiver<Bytes>, activity: Option<Arc<Activity>> },
}

impl ResponseBody {
    /// A complete body.
    pub fn new(whole: impl Into<Bytes>) -> Self {
        Self(BodyKind::Whole(Full::new(whole.into())))
    }

    /// A stream of the chunks from `pieces`, until its end.
    #[must_use]
    pub fn stream(pieces: mpsc::Receiver<Bytes>) -> Self {
        Self(BodyKind::Flow { pieces, activity: None })
    }

    /// Reports each chunk that the client reads to the connection.
    pub(in crate::http) fn set_activity(&mut self, connection: &Arc<Activity>) {
        if let BodyKind::Flow { activity, .. } = &mut self.0 {
            *activity = Some(Arc::clone(connection));
        }
    }
}

impl Default for ResponseBody {
    fn default() -> Self {
        Self::new(Bytes::new())
    }
}

impl hyper::body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            BodyKind::Whole(whole) => Pin::new(whole).poll_frame(context),
            BodyKind::Flow { pieces, activity } => {
                let piece = ready!(pieces.poll_recv(context));
                if let Some(activity) = activity {
                    activity.touch();
                }
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodyKind::Whole(whole) => whole.is_end_stream(),
            BodyKind::Flow { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyKind::Whole(whole) => whole.size_hint(),
            BodyKind::Flow { .. } => SizeHint::default(),
        }
    }
}
