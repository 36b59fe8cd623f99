//! An HTTP/1.1 client for the control socket, without an async runtime or a client library, because both together
//! make `webex-tokend token` 6 % slower (docs/BENCHMARKS.md). All sizes and waits are bounded.

use std::fs;
use std::io;
use std::io::Read;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::cli::api_client::message::ApiMethod;
use crate::cli::api_client::message::ApiResponse;
use crate::cli::api_client::message::CallError;
use crate::cli::socket_place;
use crate::clock::Clock as _;
use crate::clock::SystemClock;

const HEAD_MAX: usize = 64 * 1024;

/// Maximum size of a body. A page of the list of persons takes about 1 KiB for each person.
const BODY_MAX: usize = 32 * 1024 * 1024;

const HEADERS_MAX: usize = 64;

/// Timeout for connecting and sending, which take almost no time with a running daemon.
const SEND: Duration = Duration::from_secs(10);

/// The daemon's control socket.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Socket {
    path: PathBuf,
    state_dir: Option<PathBuf>,
    patience: Duration,
}

impl Socket {
    /// The socket at `path`, of the daemon whose state is in `state_dir`.
    pub(in crate::cli) fn new(path: &Path, state_dir: Option<&Path>, patience: Duration) -> Self {
        Self { path: path.to_owned(), state_dir: state_dir.map(Path::to_owned), patience }
    }

    pub(in crate::cli) fn path(&self) -> &Path {
        &self.path
    }

    /// Connects. Returns `None` if no process listens there, and an error if the process is not trusted with
    /// secrets.
    pub(in crate::cli) fn connect(&self) -> Result<Option<UnixStream>, CallError> {
        let refused = |e: io::Error| CallError::Refused(self.path.clone(), e.to_string());
        let stream = match UnixStream::connect(&self.path) {
            Ok(stream) => stream,
            Err(e) if absent(&e) => return Ok(None),
            Err(e) => return Err(refused(e)),
        };
        let listens = listener(&stream, &self.path).map_err(refused)?;
        let owner = || Some(fs::metadata(self.state_dir.as_deref()?).ok()?.uid());
        let is_daemon = listens == 0
            || listens == geteuid().as_raw()
            || owner() == Some(listens)
            || socket_place::owner(&self.path) == Some(listens);
        if !is_daemon {
            return Err(CallError::Stranger(self.path.clone(), listens));
        }
        Ok(Some(stream))
    }

    /// Sends one request and reads the response. `extra` extends the timeout of requests that wait by design.
    pub(in crate::cli) fn exchange(
        &self,
        mut stream: UnixStream,
        request: &SocketRequest<'_>,
        extra: Duration,
    ) -> Result<ApiResponse, CallError> {
        let patience = self.patience + extra;
        let broken = |e: io::Error| self.disconnected(&e, patience);
        stream.set_write_timeout(Some(SEND.min(patience))).map_err(broken)?;
        let sent = stream.write_all(&request.bytes());
        // A server may respond before it has read the whole request. Its response explains more than a broken
        // pipe does.
        if let Err(e) = sent
            && e.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(broken(e));
        }
        let deadline = SystemClock.now() + patience;
        let mut incoming = ResponseBytes::default();
        let mut chunk = Zeroizing::new(vec![0; 16 * 1024]);
        loop {
            if let Some(answer) = incoming.whole(false).map_err(|why| self.invalid_response(why))? {
                return Ok(answer);
            }
            let left = deadline.until(SystemClock.now()).min(patience);
            if left.is_zero() {
                return Err(CallError::Stuck(self.path.clone(), patience));
            }
            stream.set_read_timeout(Some(left)).map_err(broken)?;
            let read = match stream.read(&mut chunk) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(broken)?,
            };
            if read == 0 {
                let rest = incoming.whole(true).map_err(|why| self.invalid_response(why))?;
                return rest.ok_or_else(|| self.invalid_response("the body is incomplete"));
            }
            incoming.0.extend_from_slice(chunk.get(..read).unwrap_or_default());
        }
    }

    fn disconnected(&self, error: &io::Error, patience: Duration) -> CallError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                CallError::Stuck(self.path.clone(), patience)
            }
            _ => CallError::Broken(self.path.clone(), error.to_string()),
        }
    }

    fn invalid_response(&self, why: &str) -> CallError {
        CallError::Garbage(self.path.clone(), why.to_owned())
    }
}

/// The user of the process that listens at the other end.
#[cfg(target_os = "linux")]
fn listener(stream: &UnixStream, _path: &Path) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(stream)?.uid.as_raw())
}

/// The owner of the socket's file, because other systems report the listener's user in different ways.
#[cfg(not(target_os = "linux"))]
fn listener(_stream: &UnixStream, path: &Path) -> io::Result<u32> {
    Ok(fs::metadata(path)?.uid())
}

fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused
    )
}

/// A request.
pub(in crate::cli) struct SocketRequest<'a> {
    pub(in crate::cli) method: ApiMethod,
    pub(in crate::cli) path: &'a str,
    pub(in crate::cli) body: Option<&'a [u8]>,
}

impl SocketRequest<'_> {
    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(256 + self.body.map_or(0, <[u8]>::len)));
        let head = format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n",
            self.method.as_str(),
            self.path
        );
        bytes.extend_from_slice(head.as_bytes());
        if let Some(body) = self.body {
            let length = body.len();
            let head = format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
            bytes.extend_from_slice(head.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(self.body.unwrap_or_default());
        bytes
    }
}

/// How the end of the body is found.
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// The received bytes; they may contain a token.
#[derive(Default)]
struct ResponseBytes(Zeroizing<Vec<u8>>);

impl ResponseBytes {
    /// The response, if it is complete.
    fn whole(&self, ended: bool) -> Result<Option<ApiResponse>, &'static str> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&self.0).map_err(|_| "it is not HTTP")?;
        let httparse::Status::Complete(head) = parsed else {
            return if self.0.len() > HEAD_MAX { Err("its head is too long") } else { Ok(None) };
        };
        let status = response.code.ok_or("it has no status")?;
        let framing =
            if matches!(status, 204 | 304) { Framing::Length(0) } else { framing(response.headers)? };
        let rest = self.0.get(head..).unwrap_or_default();
        let body = match framing {
            Framing::Length(length) if length > BODY_MAX => return Err("it is too long"),
            Framing::Length(length) => rest.get(..length).map(<[u8]>::to_vec),
            Framing::Chunked => unchunked(rest)?,
            Framing::UntilClose => ended.then(|| rest.to_vec()),
        };
        if body.is_none() && rest.len() > 2 * BODY_MAX {
            return Err("it is too long");
        }
        Ok(body.map(|body| ApiResponse { status, body: Zeroizing::new(body) }))
    }
}

fn framing(headers: &[httparse::Header<'_>]) -> Result<Framing, &'static str> {
    let named =
        |name: &'static str| headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    if let Some(coding) = named("transfer-encoding").next() {
        let chunked = coding.value.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return if chunked { Ok(Framing::Chunked) } else { Err("its transfer coding is unknown") };
    }
    let mut lengths = named("content-length").map(|header| {
        let digits = std::str::from_utf8(header.value).ok()?.trim();
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<usize>().ok())?
    });
    let Some(first) = lengths.next() else { return Ok(Framing::UntilClose) };
    let first = first.ok_or("its length is not a number")?;
    if lengths.any(|other| other != Some(first)) {
        return Err("it has two lengths");
    }
    Ok(Framing::Length(first))
}

/// The body, if its last chunk has arrived. Trailers are not read.
fn unchunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let mut body = Vec::new();
    loop {
        let size = httparse::parse_chunk_size(rest).map_err(|_| "its chunks are invalid")?;
        let httparse::Status::Complete((head, size)) = size else { return Ok(None) };
        let size = usize::try_from(size).map_err(|_| "it is too long")?;
        if size == 0 {
            return Ok(Some(body));
        }
        if body.len().saturating_add(size) > BODY_MAX {
            return Err("it is too long");
        }
        let Some(chunk) = rest.get(head..head + size) else { return Ok(None) };
        body.extend_from_slice(chunk);
        let Some(end) = rest.get(head + size..head + size + 2) else { return Ok(None) };
        if end != b"\r\n" {
            return Err("its chunks are invalid");
        }
        rest = rest.get(head + size + 2..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], ended: bool) -> Result<Option<(u16, Vec<u8>)>, &'static str> {
        let incoming = ResponseBytes(Zeroizing::new(bytes.to_vec()));
        Ok(incoming.whole(ended)?.map(|answer| (answer.status, answer.body.to_vec())))
    }

    #[test]
    fn responses_are_complete_when_their_framing_says_so() {
        let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbodymore";
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\n\r\n";
        let closed = b"HTTP/1.0 200 OK\r\n\r\nbody";
        for whole in [&sized[..], chunked, closed] {
            assert_eq!(read(whole, true), Ok(Some((200, b"body".to_vec()))));
        }
        assert_eq!(read(b"HTTP/1.1 204 No Content\r\n\r\n", false), Ok(Some((204, vec![]))));
        assert_eq!(read(closed, false), Ok(None));
        for cut in 0..sized.len() - 4 {
            assert_eq!(read(&sized[..cut], false), Ok(None), "cut at {cut}");
        }
        for cut in 0..chunked.len() - 2 {
            assert_eq!(read(&chunked[..cut], false), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn invalid_responses_are_rejected() {
        for bad in [
            &b"SSH-2.0-OpenSSH\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: -4\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 999999999\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nbody",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbodyXX",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert!(read(bad, true).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
