//! Parses the lines of a `.env` file.
//!
//! A line is `NAME=value`, optionally with `export ` before it. The value is literal: `$`, backslashes and
//! quotes within it have no meaning. White space around it is removed, and so is one pair of quotes (`"` or
//! `'`) around it. Without quotes, a `#` after white space starts a comment; a line that starts with `#` is a
//! comment. A value ends with its line. If a name is set twice, the last one counts.

/// A line that sets a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The line's number, starting at 1.
    pub line: usize,
    /// The variable's name.
    pub name: &'a str,
    /// Its value, or why the line cannot be parsed.
    pub value: Result<&'a str, &'static str>,
}

/// The lines that set variables for which `ours` holds. All other lines are ignored, whatever they contain.
pub fn assignments<'a>(text: &'a [u8], ours: impl Fn(&str) -> bool) -> impl Iterator<Item = Assignment<'a>> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let lines = (1..).zip(text.split(|byte| *byte == b'\n'));
    lines.filter_map(move |(line, text)| {
        let (name, rest) = named(text)?;
        ours(name).then(|| Assignment { line, name, value: value(rest) })
    })
}

/// The name at the start of a line, and the rest of the line.
fn named(line: &[u8]) -> Option<(&str, &[u8])> {
    let line = line.trim_ascii();
    let exported =
        line.strip_prefix(b"export").filter(|rest| rest.first().is_some_and(u8::is_ascii_whitespace));
    let line = exported.map_or(line, <[u8]>::trim_ascii_start);
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = line.iter().position(|byte| !in_name(byte)).unwrap_or(line.len());
    let (name, rest) = line.split_at_checked(end)?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

fn value(rest: &[u8]) -> Result<&str, &'static str> {
    let text = rest.trim_ascii_start().strip_prefix(b"=").ok_or("there is no = after the name")?;
    let text = std::str::from_utf8(text).map_err(|_| "the value is not UTF-8 text")?;
    match text.trim_start().chars().next() {
        Some(quote @ ('"' | '\'')) => {
            unquoted(text.trim(), quote).ok_or("the value's closing quote is missing")
        }
        _ => Ok(without_comment(text).trim()),
    }
}

/// The text between the first quote and the closing quote, which only a comment may follow.
fn unquoted(text: &str, quote: char) -> Option<&str> {
    let inner = text.strip_prefix(quote)?;
    let is_end = |after: &str| {
        let rest = after.trim_start();
        rest.is_empty() || (rest.starts_with('#') && rest.len() < after.len())
    };
    inner.match_indices(quote).find_map(|(at, found)| {
        let (value, after) = inner.split_at_checked(at)?;
        is_end(after.strip_prefix(found)?).then_some(value)
    })
}

fn without_comment(text: &str) -> &str {
    let hashes = text.match_indices('#').map(|(at, _)| text.split_at(at).0);
    let mut comments = hashes.filter(|before| before.ends_with(char::is_whitespace));
    comments.next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn read(text: &str) -> Vec<(usize, &str, Result<&str, &'static str>)> {
        assignments(text.as_bytes(), |name| name.starts_with("OUR"))
            .map(|found| (found.line, found.name, found.value))
            .collect()
    }

    fn value_of(line: &str) -> Result<&str, &'static str> {
        let found = read(line);
        assert_eq!(found.len(), 1, "{line:?}");
        found[0].2
    }

    #[test]
    fn values_are_literal() {
        for (line, value) in [
            ("OUR=correct$horse-battery-staple", "correct$horse-battery-staple"),
            ("OUR=\"correct$horse\"", "correct$horse"),
            ("OUR=$HOME/x", "$HOME/x"),
            ("OUR=${HOME}", "${HOME}"),
            ("OUR=`id`$(id)", "`id`$(id)"),
            (r"OUR=a\nb\\c\q", r"a\nb\\c\q"),
            (r#"OUR="a\nb\"c""#, r#"a\nb\"c"#),
            (r#"OUR=a"b"c'd'"#, r#"a"b"c'd'"#),
            (r#"OUR="say "hi" now""#, r#"say "hi" now"#),
            (r#"OUR='say "hi"'"#, r#"say "hi""#),
            (r#"OUR="'x'""#, "'x'"),
            ("OUR=a=b=c", "a=b=c"),
            ("OUR=two words", "two words"),
            ("OUR=a#b", "a#b"),
            ("OUR=#b", "#b"),
            ("OUR=", ""),
            ("OUR=\"\"", ""),
            ("OUR=zoë\u{1F511}", "zoë\u{1F511}"),
        ] {
            assert_eq!(value_of(line), Ok(value), "{line}");
        }
    }

    #[test]
    fn white_space_comments_and_line_ends_are_removed() {
        for line in [
            "OUR=x y",
            "  OUR = x y \r",
            "export OUR=x y",
            "export\tOUR=x y # mine",
            "OUR=x y\t# mine # \"more\"",
            "OUR=\"x y\"",
            "OUR='x y' # it's mine",
            "OUR=\"x y\"  # \"mine\"",
            "\u{feff}OUR=x y",
            "# OUR=not this\n#\n\n   \nOUR=x y\n",
        ] {
            assert_eq!(value_of(line), Ok("x y"), "{line:?}");
        }
        assert_eq!(value_of("OUR= # nothing"), Ok(""));
    }

    #[test]
    fn only_lines_that_set_a_setting_must_be_valid() {
        let text = "GREETING=\"hello\nC:\\logs\nmysql://u:p w@h/x\n- a: b\n\u{fc}\nexported=1\nexport\n=x\nOUR=1\nMY_OUR=2\n";
        assert_eq!(read(text), [(9, "OUR", Ok("1"))]);
        let bytes = b"NAME=\xff\xfe\nOUR=1\nOUR2=\xff\n";
        let found: Vec<_> = assignments(bytes, |name| name.starts_with("OUR")).collect();
        assert_eq!((found[0].value, found[1].line), (Ok("1"), 3));
        assert!(found[1].value.unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn an_invalid_line_is_reported_without_its_value() {
        for line in ["OUR=\"s3cr3t", "OUR='s3cr3t", "OUR='s3cr3t'x", "OUR='s3cr3t'#x", "OUR=\""] {
            assert!(value_of(line).unwrap_err().contains("quote"), "{line}");
        }
        for line in ["OUR s3cr3t", "OUR: s3cr3t", "OUR"] {
            assert!(value_of(line).unwrap_err().contains("no ="), "{line}");
        }
    }

    #[test]
    fn values_are_read_as_a_shell_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let sample = include_str!("../../../sample_environ_vars.sh");
        let more =
            "export OUR_1=\"two words\"\nOUR_2='a # b' # c\nOUR_3=plain#x\nOUR_4='$HOME \\n'\nOUR_5=\"\"\n";
        let text = format!("{sample}\n{more}");
        let file = dir.path().join("env");
        std::fs::write(&file, &text).unwrap();
        let all: Vec<_> =
            assignments(text.as_bytes(), |_| true).filter(|found| !found.name.is_empty()).collect();
        assert!(all.len() > 10);
        for Assignment { name, value, .. } in all {
            let script = format!(". {} && printf %s \"${name}\"", file.display());
            let shell = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(value.map(str::as_bytes), Ok(shell.stdout.as_slice()), "{name}");
        }
    }
}
