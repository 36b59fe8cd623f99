//! A fake daemon: it answers on a Unix socket from a thread, and records the requests.

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;

use serde_json::Value;

/// Its thread keeps waiting on the socket until the test process ends.
pub(super) struct FakeDaemon {
    asked: Arc<Mutex<Vec<String>>>,
}

impl FakeDaemon {
    /// Answers with status and JSON, given method and path, and body.
    pub(super) fn start(path: &Path, answers: impl Fn(&str, &str) -> (u16, Value) + Send + 'static) -> Self {
        Self::start_raw(path, move |request, body| {
            let (status, answer) = answers(request, body);
            let text = if status == 204 { String::new() } else { answer.to_string() };
            format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            )
            .into_bytes()
        })
    }

    /// Answers with raw bytes; with none, it never answers.
    pub(super) fn start_raw(path: &Path, answers: impl Fn(&str, &str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = asked.clone();
        std::thread::spawn(move || serve(&listener, &notes, answers));
        Self { asked }
    }

    /// All requests in order: method, path, body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(listener: &UnixListener, notes: &Mutex<Vec<String>>, answers: impl Fn(&str, &str) -> Vec<u8>) {
    let mut held = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        // A client that sends no request only checked whether the socket accepts connections.
        let Some((request, body)) = read(&stream) else { continue };
        notes.lock().unwrap().push(format!("{request} {body}").trim_end().to_owned());
        let answer = answers(&request, &body);
        if answer.is_empty() {
            held.push(stream);
            continue;
        }
        let _ = stream.write_all(&answer);
    }
}

fn read(stream: &UnixStream) -> Option<(String, String)> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request = first.rsplit_once(' ')?.0.to_owned();
    Some((request, String::from_utf8(body).ok()?))
}
