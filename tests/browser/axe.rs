//! Accessibility checks of a page by axe-core.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::webdriver::Browser;

/// Installed by `tests/run.sh`.
const AXE: &str = "target/node/node_modules/axe-core/axe.min.js";

/// WCAG 2.2 up to AA, and axe's best practices. Style sheets need no preloading: they are our own.
const RUN: &str = "axe.run(document, { preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', \
                   'wcag22aa', 'best-practice'] }).then(found => found.violations.map(rule => \
                   rule.id + ': ' + rule.nodes.map(node => node.html + ' ' + node.failureSummary).join('; ')))";

/// Asserts that axe finds no violation on the open page.
pub(super) async fn assert_no_violations(browser: &Browser, page: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(AXE);
    let axe = fs::read_to_string(&file).expect("axe-core must be installed; bash tests/run.sh does that");
    let found = browser.run(&format!("{axe}\nreturn {RUN};")).await;
    assert_eq!(found, Value::Array(Vec::new()), "{page}");
}
