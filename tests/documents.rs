//! What the documents say is held to what the code does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use webex_tokend::config::ALIASES;
use webex_tokend::config::VARIABLES;

const START: &str = "source sample_environ_vars.sh && cargo run -- --debug";

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text_of(name: &str) -> String {
    fs::read_to_string(here(name)).unwrap()
}

/// The README from this heading to the next one of its kind.
fn section(heading: &str) -> String {
    let readme = text_of("README.md");
    let start = format!("\n## {heading}\n");
    let (_, rest) = readme.split_once(&start).unwrap_or_else(|| panic!("README.md has no {heading:?}"));
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

/// The names in the first column of the table in this text.
fn first_column(text: &str) -> Vec<&str> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split('`').next()).collect()
}

/// The variables that a shell script sets, or offers to set in a comment.
fn exported(script: &str) -> BTreeSet<&str> {
    let lines = script.lines().map(|line| line.trim_start_matches(['#', ' ']));
    lines.filter_map(|line| line.strip_prefix("export ")?.split('=').next()).collect()
}

#[test]
fn the_settings_table_names_every_variable_that_is_read_and_no_other() {
    assert_eq!(first_column(&section("Settings")), VARIABLES);
}

#[test]
fn the_table_of_other_samples_names_has_every_alias_and_no_other() {
    let section = section("Names of other samples");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let told: Vec<(String, String)> = rows
        .flat_map(|row| {
            let mut cells = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', ""));
            let (ours, others) = (cells.next().unwrap(), cells.next().unwrap());
            others.split(", ").map(|other| (ours.clone(), other.to_owned())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(told, ALIASES.map(|(ours, other)| (ours.to_owned(), other.to_owned())));
}

#[test]
fn each_row_of_the_settings_table_has_a_default_and_a_meaning() {
    for row in section("Settings").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
    }
}

#[test]
fn the_sample_settings_and_the_readme_start_the_daemon_in_the_same_way() {
    for document in ["README.md", "sample_environ_vars.sh"] {
        assert!(text_of(document).contains(START), "{document} does not say: {START}");
    }
    let sample = text_of("sample_environ_vars.sh");
    let known = BTreeSet::from(VARIABLES);
    let unknown: Vec<&str> = exported(&sample).difference(&known).copied().collect();
    assert!(unknown.is_empty(), "sample_environ_vars.sh sets what nobody reads: {unknown:?}");
    for (_, heading) in sample.lines().filter_map(|line| line.split_once("README.md, \"")) {
        section(heading.split('"').next().unwrap_or_default());
    }
}

/// The tests that a document names as `path::name`.
fn tests_named(text: &str) -> BTreeSet<(&str, &str)> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|quoted| quoted.split_once(".rs::")).collect()
}

/// Documents in which each section ends with the tests that check what it says.
const PROVEN: [&str; 2] = ["docs/INVARIANTS.md", "SECURITY.md"];

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
            assert!(code.contains(&format!("fn {name}(")), "{document}: no {name} in {path}.rs");
        }
    }
}

#[test]
fn every_invariant_and_every_threat_names_a_test_or_says_why_not() {
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
fn the_links_of_the_readme_lead_somewhere() {
    let readme = text_of("README.md");
    let headings: BTreeSet<String> =
        readme.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.starts_with("https:")) {
        match target.strip_prefix('#') {
            Some(name) => assert!(headings.contains(name), "no heading for #{name}"),
            None => assert!(here(target).exists(), "no file {target}"),
        }
    }
}

/// The name by which a heading is linked.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
