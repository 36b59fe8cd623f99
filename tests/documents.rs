//! Documents and code must agree.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use clap::Parser;
use webex_tokend::cli::arguments::Arguments;
use webex_tokend::config::ALIASES;
use webex_tokend::config::VARIABLES;
use webex_tokend::http::api::surface;

const START: &str = "source sample_environ_vars.sh && cargo run -- --debug";

/// Documents in which each section ends with the tests that check what it says.
const PROVEN: [&str; 2] = ["docs/INVARIANTS.md", "SECURITY.md"];

/// The README is read from start to end, so it stays short.
const README_LINES: usize = 300;

pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

pub(crate) fn text_of(name: &str) -> String {
    fs::read_to_string(here(name)).unwrap()
}

/// All documents, by their paths from the root.
pub(crate) fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(here("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") {
            found.push(name);
        }
    }
    for dir in ["contrib", "docs", "examples", "tests", "webex-sim"] {
        found.extend(files_below(Path::new(dir)).into_iter().filter(|name| name.ends_with(".md")));
    }
    found.sort();
    assert!(found.len() > 15, "{found:?}");
    found
}

pub(crate) fn files_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(here(&dir.to_string_lossy())) else { return found };
    for entry in entries.map(Result::unwrap) {
        let path = dir.join(entry.file_name());
        if entry.path().is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path.to_string_lossy().into_owned());
        }
    }
    found
}

/// The part of a document from this heading to the next one of its level.
fn section(document: &str, heading: &str) -> String {
    let text = text_of(document);
    let start = format!("\n## {heading}\n");
    let (_, rest) = text.split_once(&start).unwrap_or_else(|| panic!("{document} has no {heading:?}"));
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
}

/// What the first column of the tables in this text names.
fn first_column(text: &str) -> Vec<&str> {
    rows(text).filter_map(|cells| cells.first()?.split('`').nth(1)).collect()
}

/// The variables that a shell script sets, or offers to set in a comment.
fn exported(script: &str) -> BTreeSet<&str> {
    let lines = script.lines().map(|line| line.trim_start_matches(['#', ' ']));
    lines.filter_map(|line| line.strip_prefix("export ")?.split('=').next()).collect()
}

#[test]
fn the_settings_tables_name_every_variable_that_is_read_and_no_other() {
    assert_eq!(first_column(&section("docs/configuration.md", "All settings")), VARIABLES);
}

#[test]
fn each_setting_has_a_default_and_a_meaning() {
    for cells in rows(&section("docs/configuration.md", "All settings")) {
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{cells:?}");
    }
}

#[test]
fn the_table_of_other_samples_names_has_every_alias_and_no_other() {
    let section = section("docs/configuration.md", "Names of other samples");
    let told: Vec<(String, String)> = rows(&section)
        .flat_map(|cells| {
            let (ours, others) = (cells[0].replace('`', ""), cells[1].replace('`', ""));
            others.split(", ").map(|other| (ours.clone(), other.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(told, ALIASES.map(|(ours, other)| (ours.to_owned(), other.to_owned())));
}

#[test]
fn the_sample_settings_and_the_readme_start_the_daemon_in_the_same_way() {
    for document in ["README.md", "sample_environ_vars.sh"] {
        assert!(text_of(document).contains(START), "{document} does not say: {START}");
    }
    let sample = text_of("sample_environ_vars.sh");
    let known = BTreeSet::from(VARIABLES);
    let unknown: Vec<&str> = exported(&sample).difference(&known).copied().collect();
    assert!(unknown.is_empty(), "sample_environ_vars.sh sets variables that are not read: {unknown:?}");
}

#[test]
fn every_route_of_the_api_is_documented_and_no_other() {
    let table = section("docs/api.md", "Requests");
    let documented: BTreeSet<String> = first_column(&table)
        .into_iter()
        .filter(|request| request.contains(" /"))
        .map(|request| request.split('?').next().unwrap_or_default().to_owned())
        .collect();
    let routes = surface().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(documented, routes);
}

/// The tests that a document names as `path::name`.
fn tests_named(text: &str) -> BTreeSet<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| quoted.split_once(".rs::")).collect()
}

/// Whether the code has a test of this name: a function, or a test of both stores.
fn defines_test(code: &str, name: &str) -> bool {
    let on_both_stores = code.split("both_stores!(").skip(1).any(|rest| {
        let rest = rest.trim_start();
        rest.strip_prefix(name).is_some_and(|rest| rest.starts_with(','))
    });
    on_both_stores || code.contains(&format!("fn {name}("))
}

#[test]
fn every_test_that_a_document_names_exists() {
    for document in PROVEN {
        let text = text_of(document);
        let named = tests_named(&text);
        assert!(named.len() > 20, "{document} names {} tests", named.len());
        for (path, name) in named {
            let file = here(&format!("{path}.rs"));
            let code =
                fs::read_to_string(&file).unwrap_or_else(|e| panic!("{document}: {}: {e}", file.display()));
            assert!(defines_test(&code, name), "{document}: no {name} in {path}.rs");
        }
    }
}

#[test]
fn every_invariant_and_every_threat_names_a_test_or_gives_a_reason() {
    for (document, level) in PROVEN.into_iter().zip(["### ", "#### "]) {
        let text = text_of(document);
        let sections: Vec<&str> = text.split(&format!("\n{level}")).skip(1).collect();
        assert!(sections.len() > 20, "{document} has {} sections", sections.len());
        for section in sections {
            let own = section.split("\n#").next().unwrap_or_default();
            let proven = !tests_named(own).is_empty() || own.contains("\nNo test: ");
            assert!(proven, "{document}: {}", own.lines().next().unwrap_or_default());
        }
    }
}

#[test]
fn every_source_file_that_a_document_names_exists() {
    for document in documents() {
        let text = text_of(&document);
        let quoted = text.split('`').skip(1).step_by(2);
        let ours = ["src/", "tests/", "webex-sim/src/", "webex-sim/tests/", "benches/", "examples/"];
        let paths = quoted.filter(|name| ours.iter().any(|dir| name.starts_with(dir)));
        for path in paths.filter(|name| name.ends_with(".rs") && !name.contains('*')) {
            assert!(here(path).exists(), "{document} names {path}");
        }
    }
}

#[test]
fn every_document_that_the_program_names_has_that_section() {
    let sources = files_below(Path::new("src")).into_iter().chain(["sample_environ_vars.sh".to_owned()]);
    let mut named = 0;
    for file in sources {
        let text = text_of(&file);
        for (at, _) in text.match_indices(".md") {
            let name = text[..at].rsplit(|c: char| !(c.is_alphanumeric() || "/_-".contains(c))).next();
            let document = format!("{}.md", name.unwrap_or_default());
            assert!(here(&document).exists(), "{file} names {document}");
            // A section stands behind it in quotes: docs/operations.md, "Behind a proxy".
            let rest = text[at..].trim_start_matches(".md, ").trim_start_matches('\\');
            if let Some(heading) = rest.strip_prefix('"').and_then(|rest| rest.split(['"', '\\']).next()) {
                section(&document, heading);
            }
            named += 1;
        }
    }
    assert!(named > 3, "{named} documents are named");
}

#[test]
fn every_link_of_a_document_has_a_target() {
    for document in documents() {
        let text = prose(&text_of(&document));
        let base = Path::new(&document).parent().unwrap_or_else(|| Path::new(""));
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("https:")) {
            let (path, name) = target.split_once('#').unwrap_or((target, ""));
            let file = if path.is_empty() { here(&document) } else { here("").join(base).join(path) };
            assert!(file.exists(), "{document} links to {target}");
            if !name.is_empty() {
                let headings = anchors(&fs::read_to_string(&file).unwrap());
                assert!(headings.contains(name), "{document} links to {target}");
            }
        }
    }
}

/// A document without what stands in its code blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The names by which the headings of a document are linked.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text).lines().filter(|line| line.starts_with('#')).map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn the_readme_is_short() {
    let lines = text_of("README.md").lines().count();
    assert!(lines <= README_LINES, "README.md has {lines} lines");
}

#[test]
fn commands_in_documents_are_understood() {
    let mut understood = 0;
    for document in documents() {
        let text = text_of(&document);
        for arguments in scripts(&text).lines().flat_map(commands) {
            let read = Arguments::try_parse_from(&arguments);
            assert!(read.is_ok(), "{document}: {arguments:?}\n{}", read.unwrap_err());
            understood += 1;
        }
    }
    assert!(understood > 20, "{understood} commands");
}

/// The shell scripts in a document, each command on one line.
fn scripts(text: &str) -> String {
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect::<String>().replace("\\\n", " ")
}

/// The argument lists of this program in a line of a shell script.
fn commands(line: &str) -> Vec<Vec<String>> {
    let simple = simple_commands(line);
    let ours = simple.into_iter().filter_map(|words| {
        let words: Vec<String> = words.into_iter().skip_while(|word| is_before_a_command(word)).collect();
        let (program, arguments) = words.split_first()?;
        match program.as_str() {
            "webex-tokend" | "target/release/webex-tokend" => Some(arguments.to_vec()),
            // Without an argument it serves, and with -p it is another program.
            "cargo" if arguments.first().is_some_and(|word| word == "run") => {
                let at = arguments.iter().position(|word| word == "--")?;
                let is_ours = !arguments[..at].iter().any(|word| word == "-p" || word == "--example");
                is_ours.then(|| arguments[at + 1..].to_vec())
            }
            _ => None,
        }
    });
    ours.map(|arguments| [vec!["webex-tokend".to_owned()], arguments].concat()).collect()
}

fn is_before_a_command(word: &str) -> bool {
    matches!(word, "sudo" | "env") || word.split_once('=').is_some_and(|(name, _)| !name.contains('-'))
}

/// The words of each simple command of a line, as far as the examples need it: quotes, separators, redirections, comments.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let (mut quote, mut before) = (None, ' ');
    for c in line.chars().chain([' ', ';']) {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') if before.is_whitespace() => break,
            (None, ' ' | '|' | '&' | ';' | '(' | ')' | '<' | '>') => {
                let is_descriptor = c == '>' && word.chars().all(|c| c.is_ascii_digit());
                if is_descriptor {
                    word.clear();
                }
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if c != ' ' {
                    commands.push(std::mem::take(&mut words));
                }
            }
            (None, _) => word.push(c),
        }
        before = c;
    }
    commands.push(words);
    commands
}

#[test]
fn commands_are_found_in_a_line_of_a_script() {
    let found = |line: &str| commands(line).iter().map(|words| words[1..].join(" ")).collect::<Vec<_>>();
    assert_eq!(found("key=$(webex-tokend key create a --days 9) && x"), ["key create a --days 9"]);
    assert_eq!(found("webex-tokend exec a -- sh -c 'b | c' # d"), ["exec a -- sh -c b | c"]);
    assert_eq!(found("sudo env A=b webex-tokend people > list; cargo run -- doctor"), ["people", "doctor"]);
    assert_eq!(found("webex-tokend 2> log &"), [""]);
    assert_eq!(found("cargo run -p webex-sim -- --tls; journalctl -u webex-tokend -f"), [""; 0]);
}
