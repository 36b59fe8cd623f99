//! Log lines on stderr: time, level, text. One line each, whatever is in the text.

use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;

use env_logger::Builder;
use env_logger::Logger;
use log::Level;
use log::LevelFilter;
use log::Log;
use log::Metadata;
use log::Record;

use crate::cli::log_filter::LogFilter;
use crate::cli::log_filter::OURS;
use crate::cli::log_queue::LogQueue;
use crate::cli::print::printable;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::Source;

/// These print whole requests and frames below `info`, with codes and tokens in them.
const TALKATIVE: [&str; 3] = ["h2", "hyper", "reqwest"];

/// Sends log records to stderr: this program's from `own` on (`debug` with `--debug`), others' from `warn` on, unless
/// `RUST_LOG` says otherwise.
pub fn start(debug: bool, own: LevelFilter, rust_log: Option<&str>) {
    install(&mut Builder::new(), (debug, own, rust_log), None);
}

/// The same for the daemon, from `info` on, in which nothing that logs ever waits for the log's reader; a panic is a log line, too.
pub fn start_for_daemon(debug: bool, rust_log: Option<&str>, source: &Source) {
    let plain = source.get("NO_COLOR").is_some() || source.get("TERM") == Some("dumb");
    let colours = io::stderr().is_terminal() && !plain;
    let queue = LogQueue::to_stderr().ok().map(|lines| Queue { lines, colours });
    if queue.is_some() {
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    }
    install(&mut Builder::new(), (debug, LevelFilter::Info, rust_log), queue);
}

fn install(
    builder: &mut Builder,
    (debug, own, rust_log): (bool, LevelFilter, Option<&str>),
    queue: Option<Queue>,
) {
    let text = rust_log.unwrap_or_default();
    let mistake = LogFilter::read(text).apply(text, own, builder);
    if debug {
        builder.filter_module(OURS, LevelFilter::Debug);
    }
    builder.format(|out, record| {
        let style = out.default_level_style(record.level());
        let level = format!("{style}{:<5}{style:#}", record.level());
        out.write_all(line(record, &level).as_bytes())
    });
    let logger = builder.build();
    let finest = logger.filter();
    // An error only says that somebody else logs already.
    if log::set_boxed_logger(Box::new(Guarded { logger, queue })).is_ok() {
        log::set_max_level(finest);
    }
    if let Some(mistake) = mistake {
        log::warn!("{mistake}");
    }
}

/// A whole line; `level` is what stands for the record's level.
fn line(record: &Record<'_>, level: &str) -> String {
    let (now, target, text) = (SystemClock.now(), record.target(), printable(&record.args().to_string()));
    let place = if target.starts_with(OURS) { String::new() } else { format!("{target}: ") };
    format!("{now} {level} {place}{text}\n")
}

/// The daemon's lines on their way to stderr.
struct Queue {
    lines: LogQueue,
    /// Whether levels are coloured.
    colours: bool,
}

impl Queue {
    fn push(&self, record: &Record<'_>) {
        let level = record.level();
        // The codes of env_logger's own styles.
        let code = match level {
            Level::Error => "1;31",
            Level::Warn => "33",
            Level::Info => "32",
            Level::Debug => "34",
            Level::Trace => "36",
        };
        let shown =
            if self.colours { format!("\x1b[{code}m{level:<5}\x1b[0m") } else { format!("{level:<5}") };
        self.lines.push(level, line(record, &shown));
    }
}

/// A logger that does not let the talkative ones speak of what they carry.
struct Guarded {
    logger: Logger,
    /// Where lines wait; without one, they are written at once.
    queue: Option<Queue>,
}

impl Log for Guarded {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let talkative = TALKATIVE.iter().any(|name| metadata.target().starts_with(name));
        !(talkative && metadata.level() > LevelFilter::Info) && self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || !self.logger.matches(record) {
            return;
        }
        match &self.queue {
            Some(queue) => queue.push(record),
            None => self.logger.log(record),
        }
    }

    fn flush(&self) {
        self.logger.flush();
        match &self.queue {
            Some(queue) => queue.lines.finish(),
            None => drop(io::stderr().flush()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(
            printable("ada\n2026-01-01 ERROR forged\x1b[31m"),
            "ada\\n2026-01-01 ERROR forged\\u{1b}[31m"
        );
        assert_eq!(printable("plain, with ümlaut"), "plain, with ümlaut");
    }
}
