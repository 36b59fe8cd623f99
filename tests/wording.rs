//! Words that documents, comments and messages must not use.

use std::fs;
use std::path::Path;

use crate::documents::documents;
use crate::documents::files_below;
use crate::documents::here;
use crate::documents::text_of;

/// Words for which the field has a noun, such as client, caller, operator or person.
const VAGUE: [&str; 6] = ["whoever", "nobody", "somebody", "everybody", "whom", "anybody"];

/// Folders with code and texts in the language of the project.
const SOURCES: [&str; 7] =
    ["benches", "contrib", "examples", "fuzz/fuzz_targets", "src", "tests", "webex-sim"];

/// Panics if `text` contains a vague pronoun. `place` names the text.
fn assert_not_vague(text: &str, place: &str) {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_lowercase);
    let vague: Vec<String> = words.filter(|word| VAGUE.contains(&word.as_str())).collect();
    assert!(vague.is_empty(), "{place}: {vague:?} in {text:?}");
}

#[test]
fn documents_use_nouns_instead_of_vague_pronouns() {
    for document in documents() {
        for (number, line) in text_of(&document).lines().enumerate() {
            assert_not_vague(line, &format!("{document}, line {}", number + 1));
        }
    }
}

#[test]
fn comments_and_messages_use_nouns_instead_of_vague_pronouns() {
    let mut checked = 0;
    for name in SOURCES.iter().flat_map(|dir| files_below(Path::new(dir))) {
        let Ok(text) = fs::read_to_string(here(&name)) else { continue };
        let prose = if name.ends_with(".rs") { comments_and_messages(&text) } else { text.lines().collect() };
        prose.into_iter().for_each(|text| assert_not_vague(text, &name));
        checked += 1;
    }
    assert!(checked > 450, "{checked} files");
}

/// The comments of Rust code and its string literals with a space. A literal without one is a value.
fn comments_and_messages(code: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), code);
    while let Some(start) = rest.find(['/', '"', '\'', 'r']) {
        let token = &rest[start..];
        let length = token_length(token);
        let (text, after) = token.split_at(length);
        let is_message = text.contains(' ') && !text.starts_with('\'');
        found.extend(Some(text).filter(|text| text.starts_with("//") || is_message));
        rest = after;
    }
    found
}

/// The length of the comment, or of the string or character literal, that `code` begins with; else of its first character.
fn token_length(code: &str) -> usize {
    let literal = code.trim_start_matches('r').trim_start_matches('#');
    let opening = &code[..code.len() - literal.len()];
    let mut escaped = false;
    let mut ends = |c: char, quote: char| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    let end = match (opening, code.as_bytes()) {
        (_, [b'/', b'/', ..]) => code.find('\n'),
        ("", [b'"', ..]) => code[1..].find(|c| ends(c, '"')).map(|end| end + 2),
        ("", [b'\'', b'\\', ..]) => code[1..].find(|c| ends(c, '\'')).map(|end| end + 2),
        // Anything else with a single quote is a lifetime.
        ("", [b'\'', ..]) => {
            code[1..].char_indices().nth(1).filter(|(_, c)| *c == '\'').map(|(end, _)| end + 2)
        }
        (_, [b'r', ..]) if literal.starts_with('"') => {
            let closing = format!("\"{}", &opening[1..]);
            literal[1..].find(&closing).map(|end| opening.len() + 1 + end + closing.len())
        }
        _ => None,
    };
    end.unwrap_or(1)
}

#[test]
fn comments_and_messages_are_found_in_code() {
    let code = r##"
        //! a
        let ('"', '\'', text) = r#"b "c""#; // d "e
        fn f<'a>(x: &'a str) { g("one\" two", "three", r"f g") }
    "##;
    let found = comments_and_messages(code);
    assert_eq!(found, ["//! a", "r#\"b \"c\"\"#", "// d \"e", "\"one\\\" two\"", "r\"f g\""]);
}
