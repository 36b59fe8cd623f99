//! Reads complete request bodies within a size and a time, which hyper does not limit. Also discards refused
//! bodies: many clients read no response before they have sent everything, and lose a response that is
//! followed by a reset.

use std::pin::Pin;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Body;
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::header;

use crate::http::server::activity::Activity;

/// How many bytes of a refused body are discarded. A body that announces more is not read at all.
const DISCARDED: u64 = 256 * 1024;

/// Maximum time for that.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than the limit, in bytes. The status is 413.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// Not complete within the limit. The status is 408.
    #[error("the body was not complete within {0:?}")]
    TooSlow(Duration),
    /// The client disconnected or violated the protocol. Usually it cannot read a response any more.
    #[error("the body is incomplete: {0}")]
    Broken(String),
}

/// Reads all of `body`. A body that announces more than `max_bytes` is refused before any of it is stored. A
/// body that announces no length is refused as soon as it has sent more. The rest is discarded, within
/// limits. The function never holds more than `max_bytes` and one frame.
///
/// # Errors
/// [`BodyError`], if the body is too large, too slow or incomplete.
pub async fn read<B>(body: B, max_bytes: usize, within: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |announced| announced > max_bytes) {
        drain(body).await;
        return Err(BodyError::TooLarge(max_bytes));
    }
    // Most requests have no body, and need no timer.
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut body = pin!(body);
    let read = tokio::time::timeout(within, whole(body.as_mut(), max_bytes)).await;
    if let Ok(Err(BodyError::TooLarge(_))) = read {
        drain(body).await;
    }
    read.unwrap_or(Err(BodyError::TooSlow(within))).map(Bytes::from)
}

/// The frames are copied together: stored as they arrive, frames of one byte each would cost far more memory
/// than they hold.
async fn whole<B>(mut body: Pin<&mut B>, max_bytes: usize) -> Result<Vec<u8>, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| BodyError::Broken(error.into().to_string()))?;
        let data = frame.into_data().unwrap_or_default();
        if data.len() > max_bytes.saturating_sub(whole.len()) {
            return Err(BodyError::TooLarge(max_bytes));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// Discards the rest of a refused request's body, within limits. If a client first asks whether to send the
/// body (`Expect`), the body is not requested.
pub(in crate::http) async fn discard(request: Request<Incoming>) {
    if !request.headers().contains_key(header::EXPECT) {
        drain(request.into_body()).await;
    }
}

/// The same for an unauthenticated client. While its body arrives, its connection counts as idle.
pub(in crate::http) async fn discard_unauthenticated(request: Request<Incoming>) {
    if !request.body().is_end_stream() {
        let _waiting = request.extensions().get::<Arc<Activity>>().map(Activity::wait);
        discard(request).await;
    }
}

async fn drain<B: Body<Data = Bytes>>(body: B) {
    if body.is_end_stream() || body.size_hint().lower() > DISCARDED {
        return;
    }
    let all = async {
        let (mut body, mut left) = (pin!(body), DISCARDED);
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(u64::try_from(length).unwrap_or(u64::MAX)) else { break };
            left = rest;
        }
    };
    // A body that takes longer is cut off, and the response may be lost.
    let _ = tokio::time::timeout(DISCARD_TIME, all).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Context;
    use std::task::Poll;

    use hyper::body::Frame;

    use super::*;

    /// An endless body, which counts the bytes that were read.
    struct Endless<'a>(&'a mut u64);

    impl Body for Endless<'_> {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            *self.0 += 1024;
            assert!(*self.0 <= 100 * DISCARDED, "the body is read without a limit");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))))
        }
    }

    #[tokio::test]
    async fn only_a_limited_part_of_a_refused_body_is_discarded() {
        let mut taken = 0;
        drain(Endless(&mut taken)).await;
        assert!((DISCARDED..=DISCARDED + 1024).contains(&taken), "{taken} bytes");
    }
}
