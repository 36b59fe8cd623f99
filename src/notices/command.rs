//! The sink that runs a program of the operator with the event's JSON on its standard input.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::process::Child;
use tokio::process::ChildStderr;
use tokio::process::Command;
use tokio::time::timeout;

use crate::notices::sink::DeliveryFuture;
use crate::notices::sink::DeliveryResult;
use crate::notices::sink::OutgoingNotice;
use crate::notices::sink::Sink;
use crate::notices::text::printable;

/// Maximum run time of the program.
const LIMIT: Duration = Duration::from_secs(30);

/// Maximum part of a program's stderr that is logged, in bytes.
const MAX_OUTPUT: usize = 4096;

/// How long the daemon reads a program's stderr after the program's end.
const REST_LIMIT: Duration = Duration::from_millis(100);

/// The program's `PATH`. The program gets this variable and `TOKEND_EVENT`, and no variable of the daemon's environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program and its arguments.
pub struct ProgramSink {
    program: String,
    arguments: Vec<String>,
}

impl ProgramSink {
    /// A sink that runs `program` for each notice, without a shell.
    #[must_use]
    pub fn new(program: String, arguments: Vec<String>) -> Self {
        Self { program, arguments }
    }

    async fn run(&self, outgoing: &OutgoingNotice) -> DeliveryResult {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().env("PATH", PATH);
        command.env("TOKEND_EVENT", outgoing.notice.kind.as_str());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // A group of its own, so that the programs that it starts can be killed with it.
        command.process_group(0).kill_on_drop(true);
        let mut group = match command.spawn() {
            Ok(child) => ProgramGroup(child),
            Err(e) => return DeliveryResult::sink_failed(format!("{} cannot be run: {e}", self.program)),
        };
        let (stdin, body) = (group.0.stdin.take(), outgoing.body() + "\n");
        let mut output = Output { pipe: group.0.stderr.take(), start: Vec::new(), has_more: false };
        let run = async {
            if let Some(mut stdin) = stdin {
                // A write error is ignored: a program that does not read all of its input reports success by its exit code.
                let _ = stdin.write_all(body.as_bytes()).await;
            }
            group.0.wait().await
        };
        let run = async {
            tokio::select! {
                status = run => status,
                // Reading has no end of its own, because a program may close its stderr and go on.
                () = output.read_without_end() => Err(std::io::ErrorKind::UnexpectedEof.into()),
            }
        };
        let ended = timeout(LIMIT, run).await;
        output.read_rest().await;
        output.log(&self.program);
        match ended {
            Ok(Ok(status)) if status.success() => DeliveryResult::Taken,
            Ok(Ok(status)) => {
                DeliveryResult::Failed { why: status.to_string(), retry_after: None, sink_failed: false }
            }
            Ok(Err(e)) => {
                DeliveryResult::sink_failed(format!("the program's exit status cannot be read: {e}"))
            }
            Err(_) => DeliveryResult::sink_failed(format!(
                "the program did not end in time ({LIMIT:?}) and was killed"
            )),
        }
    }
}

/// What a program writes to stderr. Only the start of it is kept, so that a program cannot fill the log. The rest is read, so
/// that the program does not wait for a reader.
struct Output {
    pipe: Option<ChildStderr>,
    start: Vec<u8>,
    /// Whether there were bytes after the start.
    has_more: bool,
}

impl Output {
    /// Reads until the program and all programs that it started have closed the pipe.
    async fn read(&mut self) {
        let mut buffer = [0; 1024];
        while let Some(pipe) = &mut self.pipe
            && let Ok(length @ 1..) = pipe.read(&mut buffer).await
        {
            let room = MAX_OUTPUT.saturating_sub(self.start.len());
            self.has_more |= length > room;
            self.start.extend(buffer.iter().take(length.min(room)));
        }
    }

    async fn read_without_end(&mut self) {
        self.read().await;
        std::future::pending().await
    }

    /// Reads what the program wrote before it ended. Programs that it started may still have the pipe.
    async fn read_rest(&mut self) {
        let _ = timeout(REST_LIMIT, self.read()).await;
    }

    fn log(&self, program: &str) {
        for line in String::from_utf8_lossy(&self.start).lines().filter(|line| !line.trim().is_empty()) {
            log::info!("notices: {program} wrote: {}", printable(line));
        }
        if self.has_more {
            log::info!(
                "notices: {program} wrote more than {MAX_OUTPUT} bytes to stderr; the rest is not logged"
            );
        }
    }
}

/// A running program, in a process group of its own. Dropping it kills the group, unless the program has ended: a program may
/// leave others running when it succeeds.
struct ProgramGroup(Child);

impl Drop for ProgramGroup {
    fn drop(&mut self) {
        // The id is present, and belongs to no other process, until the exit status was read.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(Err(e)) = id.map(|id| kill_process_group(id, Signal::KILL)) {
            log::warn!("notices: the programs that a sink's program started cannot be killed: {e}");
        }
    }
}

impl Sink for ProgramSink {
    fn name(&self) -> &str {
        "command"
    }

    fn deliver<'a>(&'a self, outgoing: &'a OutgoingNotice) -> DeliveryFuture<'a> {
        Box::pin(self.run(outgoing))
    }

    fn at_once(&self) -> usize {
        2
    }

    fn target(&self) -> String {
        self.program.clone()
    }
}

/// Splits a line into words as a POSIX shell does: blanks, quotes, backslashes. Nothing is expanded. `None` where a quote
/// is not closed or there is no word.
#[must_use]
pub fn split_words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('"'), '\\') => {
                let next = characters.next()?;
                let escaped = matches!(next, '"' | '\\' | '$' | '`');
                word.get_or_insert_default()
                    .extend([(!escaped).then_some('\\'), Some(next)].into_iter().flatten());
            }
            (Some(_), character) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().push(characters.next()?),
            (None, character) if character.is_whitespace() => words.extend(word.take()),
            (None, character) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    let is_program = words.first().is_some_and(|word: &String| !word.is_empty());
    (quote.is_none() && is_program).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::notice::Notice;
    use crate::domain::notice::NoticeType;
    use crate::domain::time::UnixTime;

    /// Dropping the delivery is what a time-out of the sender does.
    #[tokio::test]
    async fn a_program_that_is_killed_takes_the_programs_that_it_started_along() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 300 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let sink = ProgramSink::new("/bin/sh".to_owned(), vec!["-c".to_owned(), script]);
        let now = UnixTime(1_795_000_000_000);
        let outgoing = OutgoingNotice { notice: Notice::new(NoticeType::Test, None, "1", now), now };
        let started = until(|| file.exists());
        tokio::select! {
            answer = sink.deliver(&outgoing) => panic!("{answer:?}"),
            () = started => {}
        }
        let started: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        // A killed process without a parent that waits for it is a zombie.
        let has_ended = || state().is_empty() || state().contains(") Z ");
        timeout(Duration::from_secs(10), until(has_ended)).await.unwrap();
    }

    async fn until(is_true: impl Fn() -> bool) {
        while !is_true() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[test]
    fn words_are_split_as_a_shell_splits_them_and_nothing_is_expanded() {
        for (line, words) in [
            ("a b  c", vec!["a", "b", "c"]),
            (" 'a b' c", vec!["a b", "c"]),
            (r#"x "a \"b\" \n" '' $HOME"#, vec!["x", r#"a "b" \n"#, "", "$HOME"]),
            (r"a\ b; rm", vec!["a b;", "rm"]),
            ("--x='1 2'3", vec!["--x=1 23"]),
        ] {
            assert_eq!(split_words(line).unwrap(), words, "{line}");
        }
        for line in ["", "  ", "'a", "\"a", "a\\", "''"] {
            assert_eq!(split_words(line), None, "{line}");
        }
    }
}
