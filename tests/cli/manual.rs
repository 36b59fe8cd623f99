//! The manual page, checked by the programs that render it.

use std::io::Write as _;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use super::CliFixture;

/// The output of mandoc for the page.
fn mandoc(page: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new("mandoc")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("mandoc is installed");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
#[ignore = "needs mandoc; bash tests/run.sh installs it"]
fn mandoc_reports_no_problem_in_the_manual_page() {
    let page = CliFixture::new().run("man").expect_success();
    let lint = mandoc(&page, &["-Tlint", "-Wwarning"]);
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stdout));
    let shown = mandoc(&page, &["-Tutf8"]);
    // Bold and underlined letters are printed twice, with a backspace between.
    let shown = String::from_utf8(shown.stdout).unwrap();
    let mut text = String::new();
    for c in shown.chars() {
        if c == '\u{8}' {
            text.pop()
        } else {
            text.push(c);
            None
        };
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for expected in [
        "token [OPTIONS] [PERSON]",
        "--min-ttl TIME",
        "key create [OPTIONS] <NAME>",
        "EVENT_LOOP_DAYS",
        "Authorization: Bearer \u{2026}, for `curl -H @-`",
        "EXIT STATUS",
        "SIGHUP",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
}

#[test]
fn the_manual_page_refers_only_to_existing_pages() {
    let page = CliFixture::new().run("man").expect_success();
    assert!(!page.contains("webex\\-tokend\\-") && !page.contains("README"), "{page}");
    let named: Vec<&str> =
        page.lines().filter(|line| line.ends_with("(1)") || line.contains("(1) ")).collect();
    assert_eq!(named, [".BR curl (1)"]);
}
