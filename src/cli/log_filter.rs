//! Parses `RUST_LOG`, which selects the log lines. An error in it is logged and never silences this program.

use env_logger::Builder;
use log::LevelFilter;

/// The target prefix of this program's records.
pub(super) const OURS: &str = "webex_tokend";

/// Maximum number of characters of an error that are shown.
const SHOWN: usize = 100;

/// Maximum number of invalid parts that are kept.
const WRONG_MAX: usize = 5;

/// The levels in `RUST_LOG`: `LEVEL`, `TARGET` or `TARGET=LEVEL`, separated by commas.
#[derive(Debug, Default)]
pub(super) struct LogFilter {
    /// The level of each target; without a target, of all targets.
    levels: Vec<(Option<String>, LevelFilter)>,
    /// The first invalid parts.
    wrong: Vec<String>,
}

impl LogFilter {
    /// Parses the text. The part after a slash is a filter for messages.
    pub(super) fn read(text: &str) -> Self {
        let mut filter = Self::default();
        if text.matches('/').count() > 1 {
            filter.wrong.push(shown(text));
            return filter;
        }
        let directives = text.split('/').next().unwrap_or_default().split(',').map(str::trim);
        for directive in directives.filter(|directive| !directive.is_empty()) {
            match level(directive) {
                Some(level) => filter.levels.push(level),
                None if filter.wrong.len() < WRONG_MAX => filter.wrong.push(shown(directive)),
                None => {}
            }
        }
        filter
    }

    /// Sets the levels: `own` for this program and `warn` for libraries, unless `text` sets them. Returns the
    /// warning about invalid parts.
    pub(super) fn apply(self, text: &str, own: LevelFilter, builder: &mut Builder) -> Option<String> {
        let sets_own =
            |(target, _): &(Option<String>, _)| target.as_ref().is_none_or(|t| OURS.starts_with(t));
        if self.wrong.is_empty() && self.levels.iter().any(sets_own) {
            builder.parse_filters(text);
            return None;
        }
        if self.wrong.is_empty() && !self.levels.is_empty() {
            builder.parse_filters(text).filter_module(OURS, own);
            return None;
        }
        builder.filter_level(LevelFilter::Warn).filter_module(OURS, own);
        for (target, level) in &self.levels {
            builder.filter(target.as_deref(), *level);
        }
        (!self.wrong.is_empty()).then(|| {
            format!(
                "RUST_LOG: found {}, expected LEVEL or TARGET=LEVEL (off, error, warn, info, debug, trace), such as \
                 {OURS}=debug; the default levels apply instead",
                self.wrong.join(", ")
            )
        })
    }
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(SHOWN).collect::<String>())
}

/// A single word may be a misspelt level, so it counts as a target only if it belongs to this program.
fn level(directive: &str) -> Option<(Option<String>, LevelFilter)> {
    let is_target = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
    match directive.split_once('=') {
        None => match directive.parse() {
            Ok(level) => Some((None, level)),
            Err(_) => {
                let is_ours = directive == OURS || directive.starts_with("webex_tokend::");
                is_ours.then(|| (Some(directive.to_owned()), LevelFilter::Trace))
            }
        },
        Some((target, level)) => {
            let target = Some(target).filter(|target| !target.is_empty() && is_target(target))?;
            let level = match level.trim() {
                "" => LevelFilter::Trace,
                level => level.parse().ok()?,
            };
            Some((Some(target.to_owned()), level))
        }
    }
}

#[cfg(test)]
mod tests {
    use log::Level;
    use log::Log;
    use log::Metadata;

    use super::*;

    /// The effective levels of this program and of another crate, and the warning.
    fn levels(text: &str) -> (LevelFilter, LevelFilter, Option<String>) {
        let mut builder = Builder::new();
        let told = LogFilter::read(text).apply(text, LevelFilter::Info, &mut builder);
        let logger = builder.build();
        let heard = |target: &str| {
            let is_heard =
                |level: &Level| logger.enabled(&Metadata::builder().level(*level).target(target).build());
            Level::iter().filter(is_heard).last().map_or(LevelFilter::Off, |level| level.to_level_filter())
        };
        (heard("webex_tokend::refresh"), heard("rustls::conn"), told)
    }

    #[test]
    fn a_valid_filter_works_as_in_env_logger() {
        use LevelFilter::{Debug, Error, Info, Off, Trace, Warn};
        for (text, ours, others) in [
            ("debug", Debug, Debug),
            ("OFF", Off, Off),
            ("webex_tokend=debug", Debug, Off),
            ("webex_tokend", Trace, Off),
            ("webex_tokend::refresh=error,warn", Error, Warn),
            ("webex=debug", Debug, Off),
            ("webex_tokend=", Trace, Off),
        ] {
            assert_eq!(levels(text), (ours, others, None), "{text}");
        }
        // Only an explicit setting silences this program.
        for (text, others) in
            [("rustls=debug", Debug), ("webex_tokend::http=debug,rustls=off", Off), (",", Warn)]
        {
            assert_eq!(levels(text), (Info, others, None), "{text}");
        }
    }

    #[test]
    fn invalid_parts_are_named_and_the_default_levels_stay() {
        use LevelFilter::{Debug, Error, Info, Warn};
        for (text, ours, others, wrong) in [
            ("inof", Info, Warn, "\"inof\""),
            ("rustls", Info, Warn, "\"rustls\""),
            ("webex_tokend=debgu,rustls=error", Info, Error, "\"webex_tokend=debgu\""),
            ("webex-tokend=debug", Info, Warn, "\"webex-tokend=debug\""),
            ("webex_tokend = debug", Info, Warn, "\"webex_tokend = debug\""),
            ("=debug", Info, Warn, "\"=debug\""),
            ("webex_tokend=debug,a=b,c=d=e", Debug, Warn, "\"a=b\", \"c=d=e\""),
            ("info/a/b", Info, Warn, "\"info/a/b\""),
        ] {
            let (found, found_others, told) = levels(text);
            assert_eq!((found, found_others), (ours, others), "{text}");
            let told = told.unwrap();
            assert!(told.starts_with(&format!("RUST_LOG: found {wrong}, expected ")), "{told}");
        }
        for long in ["x".repeat(10_000), "x,".repeat(10_000)] {
            assert!(levels(&long).2.unwrap().len() < 400);
        }
    }
}
