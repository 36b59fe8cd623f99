//! Request bodies, whole, within a size and a time: hyper itself bounds neither. And bodies that are refused: many
//! clients read no answer before they have sent everything, and lose one that comes together with a reset.

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

use crate::http::activity::Activity;

/// So much of a refused body is read and thrown away, and nothing of one that announces more.
const DISCARDED: u64 = 256 * 1024;

/// For no longer than this.
const DISCARD_TIME: Duration = Duration::from_secs(2);

/// Why a body was not taken.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than the limit, in bytes; the answer is 413.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// Not complete within the limit; the answer is 408.
    #[error("the body was not complete within {0:?}")]
    TooSlow(Duration),
    /// The peer left or broke the protocol; usually nobody is there to read an answer.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// Reads all of `body`. A body that announces more than `max_bytes` is refused before any of it is kept;
/// one that announces nothing, as soon as it has sent more. The rest of it is thrown away, within bounds.
///
/// # Errors
/// [`BodyError`], as its variants say. Never holds more than `max_bytes` and one frame.
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
    // Most requests have none, and no need of a timer.
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

/// Copied together: frames kept as they come cost far more than they hold, if each is a byte long.
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

/// Throws away what is left of a refused request's body, within bounds. Of a client that asks first whether to send it
/// (`Expect`), nothing is asked for.
pub(super) async fn discard(request: Request<Incoming>) {
    if !request.headers().contains_key(header::EXPECT) {
        drain(request.into_body()).await;
    }
}

/// The same for a client that has shown no right: while its body comes, its connection is as good as silent.
pub(super) async fn discard_of_stranger(request: Request<Incoming>) {
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
    // A body that takes longer is cut off, and the answer may be lost with it.
    let _ = tokio::time::timeout(DISCARD_TIME, all).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::Context;
    use std::task::Poll;

    use hyper::body::Frame;

    use super::*;

    /// How many bytes of it were taken. It has no end.
    struct Endless<'a>(&'a mut u64);

    impl Body for Endless<'_> {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            *self.0 += 1024;
            assert!(*self.0 <= 100 * DISCARDED, "it is read without an end");
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))))
        }
    }

    #[tokio::test]
    async fn of_a_refused_body_so_much_is_thrown_away_and_no_more() {
        let mut taken = 0;
        drain(Endless(&mut taken)).await;
        assert!((DISCARDED..=DISCARDED + 1024).contains(&taken), "{taken} bytes");
    }
}
