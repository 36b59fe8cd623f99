//! Log lines on stderr: time, level, message, key-value pairs. Each record is exactly one line, whatever it contains.

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
use log::kv;
use log::kv::Key;
use log::kv::Value;
use log::kv::VisitSource;
use log::kv::VisitValue;

use crate::cli::log_filter::LogFilter;
use crate::cli::log_filter::OURS;
use crate::cli::log_queue::LogQueue;
use crate::cli::output::printable;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::SettingsSource;

/// Libraries that log whole requests and frames, with codes and tokens, below `info`.
const NOISY: [&str; 3] = ["h2", "hyper", "reqwest"];

/// Logs to stderr: records of this program from `own` on (`debug` with `--debug`), records of libraries from
/// `warn` on. `RUST_LOG` overrides the levels.
pub fn start(debug: bool, own: LevelFilter, rust_log: Option<&str>) {
    install(&mut Builder::new(), (debug, own, rust_log), None);
}

/// Logs to stderr as [`start`] does, from `info` on, but through a queue, so that a slow reader of the log does
/// not block the daemon. A panic is logged, too.
pub fn start_for_daemon(debug: bool, rust_log: Option<&str>, source: &SettingsSource) {
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
    let error = LogFilter::read(text).apply(text, own, builder);
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
    // An error only means that another logger is already installed.
    if log::set_boxed_logger(Box::new(SingleLineLogger { logger, queue })).is_ok() {
        log::set_max_level(finest);
    }
    if let Some(error) = error {
        log::warn!("{error}");
    }
}

/// A whole line; `level` is the text of the record's level, with its colour.
fn line(record: &Record<'_>, level: &str) -> String {
    let (now, target, text) = (SystemClock.now(), record.target(), message_and_pairs(record));
    let library = if target.starts_with(OURS) { String::new() } else { format!("{target}: ") };
    format!("{now} {level} {library}{text}\n")
}

/// The text of a record: the message, then ` key=value` for each pair that has a value. Control characters are
/// escaped, and a value with spaces, quotes or `=` is quoted.
#[must_use]
pub fn message_and_pairs(record: &Record<'_>) -> String {
    let mut text = Text(printable(&record.args().to_string()));
    // `Text` returns no errors.
    let _ = record.key_values().visit(&mut text);
    text.0
}

struct Text(String);

impl<'kvs> VisitSource<'kvs> for Text {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let mut presence = Presence(true);
        value.visit(&mut presence)?;
        if presence.0 {
            let value = quoted(&value.to_string());
            self.0.extend([" ", &printable(key.as_str()), "=", &value]);
        }
        Ok(())
    }
}

/// Whether a value is present. The value of a `None` is not.
struct Presence(bool);

impl VisitValue<'_> for Presence {
    fn visit_any(&mut self, _value: Value<'_>) -> Result<(), kv::Error> {
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0 = false;
        Ok(())
    }
}

fn quoted(value: &str) -> String {
    let text = printable(value);
    let needs_quotes = |c: char| c.is_whitespace() || matches!(c, '"' | '=');
    if text.is_empty() || text.contains(needs_quotes) {
        // A backslash before a quote would end the value early for a program that reads the line.
        format!("\"{}\"", printable(&value.replace('\\', "\\\\").replace('"', "\\\"")))
    } else {
        text
    }
}

/// The queue of the daemon's lines.
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

/// A logger that drops the records of the [`NOISY`] libraries below `info`.
struct SingleLineLogger {
    logger: Logger,
    /// The queue of the lines; without one, lines are written synchronously.
    queue: Option<Queue>,
}

impl Log for SingleLineLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let talkative = NOISY.iter().any(|name| metadata.target().starts_with(name));
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

    fn text(pairs: &[(&str, Value<'_>)], message: &str) -> String {
        let pairs = Some(pairs);
        message_and_pairs(&Record::builder().args(format_args!("{message}")).key_values(&pairs).build())
    }

    #[test]
    fn a_record_is_one_line() {
        let pairs = [("detail", Value::from("two\nlines"))];
        assert_eq!(
            text(&pairs, "ada\n2026-01-01 ERROR forged\x1b[31m"),
            "ada\\n2026-01-01 ERROR forged\\u{1b}[31m detail=two\\nlines"
        );
        assert_eq!(text(&[], "plain, with ümlaut"), "plain, with ümlaut");
    }

    #[test]
    fn pairs_follow_the_message_and_missing_values_are_omitted() {
        let missing = None::<&str>;
        let pairs = [
            ("person", Value::from("p1")),
            ("hint", kv::ToValue::to_value(&missing)),
            ("failures", Value::from(3)),
        ];
        assert_eq!(text(&pairs, "refreshed"), "refreshed person=p1 failures=3");
    }

    #[test]
    fn a_value_cannot_pose_as_another_pair() {
        for (value, written) in [
            ("a b", r#"detail="a b""#),
            ("x outcome=renewed", r#"detail="x outcome=renewed""#),
            (r#"a"b"#, r#"detail="a\"b""#),
            (r#"x\" outcome=renewed"#, r#"detail="x\\\" outcome=renewed""#),
            (r"a b\", r#"detail="a b\\""#),
            ("", r#"detail="""#),
            ("2026-12-05T13:49:10Z", "detail=2026-12-05T13:49:10Z"),
        ] {
            assert_eq!(text(&[("detail", Value::from(value))], "m"), format!("m {written}"));
        }
    }
}
