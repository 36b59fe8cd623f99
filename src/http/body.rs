//! Request bodies, whole, within a size and a time: hyper itself bounds neither.

use std::time::Duration;

use http_body_util::BodyExt;
use http_body_util::LengthLimitError;
use http_body_util::Limited;
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
    match tokio::time::timeout(within, Limited::new(body, max_bytes).collect()).await {
        Err(_elapsed) => Err(BodyError::TooSlow(within)),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge(max_bytes)),
        Ok(Err(error)) => Err(BodyError::Broken(error.to_string())),
    }
}
