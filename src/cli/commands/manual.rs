//! `man`: the manual page. Its prose is in `manual.1`; commands, options, settings and exit codes come from the code.

use std::fmt::Write as _;

use clap::Arg;
use clap::Command;
use clap::CommandFactory as _;

use crate::cli::arguments::Arguments;
use crate::cli::exit::CommandError;
use crate::cli::exit::EXIT_CODES;
use crate::cli::output;
use crate::config::SETTINGS;

const PROSE: &str = include_str!("manual.1");

pub(super) fn run() -> Result<(), CommandError> {
    Ok(output::write_bytes(page().as_bytes())?)
}

/// The page in the language of man(7).
fn page() -> String {
    let mut program = Arguments::command();
    program.build();
    let common: Vec<&Arg> = program.find_subcommand("doctor").into_iter().flat_map(shown).collect();
    let version = program.get_arguments().filter(|arg| arg.get_id() == "version");
    let settings = SETTINGS.iter().map(|setting| {
        let default = match setting.default {
            "none" => String::new(),
            default if default.starts_with("required") => sentence(default),
            default => format!("Default: {}.", plain(default)),
        };
        format!(".TP\n{}\n{}\n{default}\n", bold(setting.name), sentence(setting.meaning))
            .replace("\n\n", "\n")
    });
    let codes = EXIT_CODES.iter().map(|(code, meaning)| paragraph(&bold(&code.to_string()), meaning));
    let parts = [
        ("@VERSION@", env!("CARGO_PKG_VERSION").to_owned()),
        ("@COMMANDS@", commands(&program, &common)),
        ("@COMMON@", common.iter().copied().chain(version).map(option).collect()),
        ("@SETTINGS@", settings.collect()),
        ("@EXIT@", codes.collect()),
    ];
    parts.iter().fold(PROSE.to_owned(), |page, (mark, part)| page.replace(mark, part.trim_end()))
}

/// Each command with what it has beside the `common` options; a command that must have another behind it only as these.
fn commands(parent: &Command, common: &[&Arg]) -> String {
    let mut text = String::new();
    for command in parent.get_subcommands().filter(|command| command.get_name() != "help") {
        let below = commands(command, common);
        if command.is_subcommand_required_set() {
            text.push_str(&below);
            continue;
        }
        let mut command = command.clone();
        let usage = command.render_usage().to_string();
        // The usage of the commands below it stands on further lines.
        let usage = usage.trim().lines().next().unwrap_or_default();
        let usage = usage.trim_start_matches("Usage: webex-tokend ");
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let aliases: Vec<&str> = command.get_visible_aliases().collect();
        let _ = writeln!(text, ".SS {}\n{}", plain(usage), sentence(&about));
        if !aliases.is_empty() {
            let _ = writeln!(text, "Also called {}.", bold(&aliases.join(", ")));
        }
        let is_common =
            |arg: &Arg| common.iter().any(|other| other.get_id() == arg.get_id() && help(other) == help(arg));
        shown(&command).filter(|arg| !is_common(arg)).for_each(|arg| text.push_str(&option(arg)));
        text.push_str(&below);
    }
    text
}

fn shown(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_hide_set())
}

/// An option, or an argument without a name, with its values.
fn option(arg: &Arg) -> String {
    let names = [
        arg.get_short().map(|short| bold(&format!("-{short}"))),
        arg.get_long().map(|long| bold(&format!("--{long}"))),
    ];
    let names: Vec<String> = names.into_iter().flatten().collect();
    let takes_value = arg.get_action().takes_values();
    let value = arg.get_value_names().unwrap_or_default().join(" ");
    let value = takes_value.then(|| format!("\\fI{}\\fR", plain(&value)));
    let head: Vec<String> = [Some(names.join(", ")), value].into_iter().flatten().collect();
    let mut text = sentence(&help(arg));
    let values: Vec<String> =
        arg.get_possible_values().iter().filter(|_| takes_value).map(value_of).collect();
    if !values.is_empty() {
        let _ = write!(text, "\nOne of: {}.", values.join("; "));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if takes_value && !defaults.is_empty() {
        let _ = write!(text, "\nDefault: {}.", plain(&defaults.join(", ")));
    }
    format!(".TP\n{}\n{text}\n", head.join(" ").trim())
}

fn value_of(value: &clap::builder::PossibleValue) -> String {
    match value.get_help() {
        Some(help) => format!("{} ({})", bold(value.get_name()), plain(&help.to_string())),
        None => bold(value.get_name()),
    }
}

fn help(arg: &Arg) -> String {
    arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default()
}

fn paragraph(head: &str, text: &str) -> String {
    format!(".TP\n{head}\n{}\n", sentence(text))
}

/// A line of text with a full stop at its end.
fn sentence(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut letters = line.chars();
    let line = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
    let line = line.unwrap_or_default();
    let end = if line.ends_with(['.', ']']) { "" } else { "." };
    format!("{}{end}", plain(&line))
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", plain(text))
}

/// Text without meaning for roff: nothing is a request, hyphens are those of programs.
fn plain(text: &str) -> String {
    let mut out = String::new();
    if text.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '\n' => out.push(' '),
            c if c.is_ascii() => out.push(c),
            c => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(c));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_option_setting_and_exit_code_is_on_the_page() {
        let (page, mut program) = (page(), Arguments::command());
        program.build();
        let is_own = |command: &&Command| command.get_name() != "help";
        let above: Vec<&Command> = program.get_subcommands().filter(is_own).collect();
        let below = above.iter().flat_map(|command| command.get_subcommands()).filter(is_own);
        for command in above.iter().copied().chain(below) {
            let words = command.get_bin_name().unwrap().strip_prefix("webex-tokend ").unwrap();
            let heading = format!("\n.SS {}", plain(words));
            let ends = ["\n", " "].map(|end| format!("{heading}{end}"));
            let has_entry = !command.is_subcommand_required_set();
            assert!(!has_entry || ends.iter().any(|end| page.contains(end)), "{heading}");
            for option in command.get_arguments().filter_map(Arg::get_long) {
                assert!(page.contains(&bold(&format!("--{option}"))), "{option}");
            }
        }
        for setting in SETTINGS {
            assert!(page.contains(&format!(".TP\n{}\n", bold(setting.name))), "{}", setting.name);
        }
        for (code, meaning) in EXIT_CODES {
            assert!(
                page.contains(&format!("{}\n{}\n", bold(&code.to_string()), sentence(meaning))),
                "{code}"
            );
        }
    }

    #[test]
    fn the_head_has_a_date_and_behind_it_the_version() {
        let page = page();
        let head: Vec<&str> = page.lines().next().unwrap().splitn(5, ' ').collect();
        assert_eq!(head[..3], [".TH", "WEBEX-TOKEND", "1"]);
        let date: Vec<usize> = head[3].split('-').map(str::len).collect();
        assert!(date == [4, 2, 2] && head[3].chars().all(|c| c.is_ascii_digit() || c == '-'), "{head:?}");
        assert_eq!(head[4], format!("\"webex-tokend {}\"", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn no_text_is_a_request_and_no_mark_is_left() {
        assert_eq!(plain(".so it\\x's - \u{2026}"), "\\&.so it\\ex\\(aqs \\- \\[u2026]");
        assert_eq!(sentence("a  b\nc"), "A b c.");
        let marks = ["@VERSION@", "@COMMANDS@", "@COMMON@", "@SETTINGS@", "@EXIT@"];
        assert!(!marks.iter().any(|mark| page().contains(mark)));
        assert!(marks.iter().all(|mark| PROSE.matches(mark).count() == 1));
    }
}
