//! Request bodies, whole, within a size and a time: hyper itself bounds neither.

use std::pin::pin;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::body::Bytes;

/// Why a body was not taken. The rest of it stays unread.
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

/// Reads all of `body`. A body that announces more than `max_bytes` is refused before any of it is read;
/// one that announces nothing, as soon as it has sent more.
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
        return Err(BodyError::TooLarge(max_bytes));
    }
    // Most requests have none, and no need of a timer.
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(within, whole(body, max_bytes)).await {
        Err(_elapsed) => Err(BodyError::TooSlow(within)),
        Ok(read) => read.map(Bytes::from),
    }
}

/// Copied together: frames kept as they come cost far more than they hold, if each is a byte long.
async fn whole<B>(body: B, max_bytes: usize) -> Result<Vec<u8>, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (mut body, mut whole) = (pin!(body), Vec::new());
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
