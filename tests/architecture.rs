//! Checks the module map in `src/lib.rs`: import rules, file lengths, and rules for single modules.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

/// Module, and the modules that it may import beside itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("bounded_map", &[]),
    ("log_throttle", &[]),
    ("clock", &["domain"]),
    ("tasks", &[]),
    ("hardening", &[]),
    ("api_types", &[]),
    ("store", &["domain"]),
    ("webex", &["domain", "clock"]),
    ("events", &["domain"]),
    ("grant_cache", &["domain", "bounded_map", "store", "events"]),
    ("health", &["store"]),
    ("service_context", &["domain", "clock", "tasks", "grant_cache", "store", "webex"]),
    ("consent", &["domain", "tasks", "service_context", "store", "webex"]),
    (
        "refresh",
        &["domain", "log_throttle", "clock", "grant_cache", "service_context", "health", "store", "webex"],
    ),
    ("notices", &["domain", "clock", "tasks", "grant_cache", "service_context", "store", "webex"]),
    ("api_keys", &["domain", "clock", "store"]),
    (
        "http",
        &[
            "domain",
            "bounded_map",
            "log_throttle",
            "clock",
            "tasks",
            "api_types",
            "events",
            "grant_cache",
            "api_keys",
            "health",
            "consent",
            "refresh",
            "notices",
        ],
    ),
    ("config", &["domain", "consent", "refresh", "notices", "http", "webex"]),
    (
        "services",
        &[
            "domain",
            "clock",
            "tasks",
            "api_types",
            "store",
            "webex",
            "service_context",
            "api_keys",
            "health",
            "consent",
            "refresh",
            "notices",
            "config",
            "http",
        ],
    ),
    ("cli", &["domain", "clock", "tasks", "api_types", "config", "services", "http"]),
    (
        "daemon",
        &[
            "domain", "clock", "tasks", "store", "health", "consent", "refresh", "notices", "http", "config",
            "services",
        ],
    ),
];

const LONGEST_FILE: usize = 400;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(all_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let is_code = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "rs");
    all_below(dir).into_iter().filter(is_code).collect()
}

fn files_of(module: &str) -> Vec<PathBuf> {
    let file = source().join(module).with_extension("rs");
    if file.exists() { vec![file] } else { files_below(&source().join(module)) }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn text_of(file: &Path) -> String {
    fs::read_to_string(file).unwrap()
}

#[test]
fn modules_import_only_what_the_map_allows() {
    let mut broken = Vec::new();
    for (module, allowed) in MAY_IMPORT {
        for file in files_of(module) {
            let text = text_of(&file);
            let targets = text.split("crate::").skip(1).filter_map(|rest| rest.split(|c| !is_name(c)).next());
            let wrong = targets.filter(|target| target != module && !allowed.contains(target));
            broken.extend(wrong.map(|target| format!("{}: crate::{target}", file.display())));
        }
    }
    assert!(broken.is_empty(), "imports that the map forbids:\n{}", broken.join("\n"));
}

#[test]
fn every_module_is_in_the_map_and_in_the_import_rule() {
    let lib = text_of(&source().join("lib.rs"));
    let modules: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    for module in &modules {
        assert!(lib.contains(&format!("| [`{module}`]")), "{module} is missing in the map of lib.rs");
        assert!(MAY_IMPORT.iter().any(|(name, _)| name == module), "{module} has no import rule");
    }
    assert_eq!(modules.len(), MAY_IMPORT.len());
}

#[test]
fn modules_do_not_bypass_the_import_rule() {
    for file in files_below(&source()) {
        let text = text_of(&file);
        assert!(!text.contains("super::super::"), "{}: use crate::", file.display());
        assert!(!text.contains("use crate::{"), "{}: one path per use", file.display());
    }
}

/// The files of the library by module path, without the files of tests.
fn files_by_module() -> BTreeMap<String, PathBuf> {
    let root = source();
    let named = files_below(&root).into_iter().map(|file| {
        let path = file.strip_prefix(&root).unwrap().with_extension("");
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let parts = parts.strip_suffix(&["mod"]).unwrap_or(&parts);
        (parts.join("::"), file)
    });
    named.filter(|(module, _)| !module.split("::").any(|part| part == "tests")).collect()
}

/// The code of a file, without its unit tests, comments and the paths of visibilities.
fn code_of(file: &Path) -> String {
    let text = text_of(file);
    let is_of_tests = |at: usize| {
        text[at..].lines().nth(1).is_some_and(|line| line.contains("mod ") && line.ends_with('{'))
    };
    let end = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at).find(|at| is_of_tests(*at));
    let code = &text[..end.unwrap_or(text.len())];
    let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    lines.join("\n").replace("pub(in crate::", "pub(in ")
}

/// The modules that `code` declares.
fn declared_modules(code: &str) -> impl Iterator<Item = &str> {
    let items = code.lines().filter(|line| line.starts_with("mod ") || line.starts_with("pub"));
    items.filter_map(|line| line.split_once("mod ")?.1.strip_suffix(';'))
}

/// The paths in `code` that begin with `start`, without that.
fn paths_from<'a>(code: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(start).filter_map(move |(at, _)| {
        let is_inside = code[..at].chars().next_back().is_some_and(|c| is_name(c) || c == ':');
        let path = code[at + start.len()..].split(|c| !is_name(c) && c != ':').next()?;
        (!is_inside).then_some(path)
    })
}

/// The other files that each file names in its code.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let files = files_by_module();
    // The file of the longest part of a path that is a module. The rest of the path are items.
    let file_of = |path: String| {
        let ends = path.match_indices("::").map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| path[..end].to_owned()).filter(|part| files.contains_key(part)).last()
    };
    let of = |(module, file): (&String, &PathBuf)| {
        let code = code_of(file);
        assert!(!code.contains("super::"), "{}: use crate::", file.display());
        let mut paths: Vec<String> = paths_from(&code, "crate::").map(str::to_owned).collect();
        for child in declared_modules(&code) {
            let start = format!("{child}::");
            paths.extend(paths_from(&code, &start).map(|path| format!("{module}::{start}{path}")));
        }
        let mut targets: BTreeSet<String> = paths.into_iter().filter_map(file_of).collect();
        targets.remove(module);
        (module.clone(), targets)
    };
    files.iter().map(of).collect()
}

/// All files that `module` imports directly or through others.
fn reached_from<'a>(imports: &'a BTreeMap<String, BTreeSet<String>>, module: &'a str) -> BTreeSet<&'a str> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![module]);
    while let Some(next) = open.pop() {
        let new = imports[next].iter().map(String::as_str).filter(|target| reached.insert(*target));
        open.extend(new);
    }
    reached
}

/// The files that import themselves through others, with their imports that lead back to them.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> BTreeMap<&str, Vec<&str>> {
    let mut circles = BTreeMap::new();
    for (module, targets) in imports {
        let leads_back = |target: &&str| reached_from(imports, target).contains(module.as_str());
        let back: Vec<&str> = targets.iter().map(String::as_str).filter(leads_back).collect();
        if !back.is_empty() {
            circles.insert(module.as_str(), back);
        }
    }
    circles
}

#[test]
fn no_file_imports_itself_through_others() {
    let imports = imports();
    let number: usize = imports.values().map(BTreeSet::len).sum();
    assert!(number > 1000, "the imports are not recognized: {imports:#?}");
    let circles = circles(&imports);
    assert!(circles.is_empty(), "files that import each other in circles: {circles:#?}");
}

/// The names of the types that `text` declares at its top level.
fn declared_types(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let item = match line.strip_prefix("pub") {
            Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
            Some(rest) => rest.trim_start(),
            None => line,
        };
        let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
        let name = kinds.iter().find_map(|kind| item.strip_prefix(kind))?;
        name.split(|c| !is_name(c)).next()
    })
}

#[test]
fn a_type_name_is_declared_once_in_the_crate() {
    let mut declared: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files_below(&source()) {
        for name in declared_types(&text_of(&file)) {
            declared.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    assert!(declared.len() > 100, "the types are not recognized: {declared:#?}");
    declared.retain(|_, files| files.len() > 1);
    assert!(declared.is_empty(), "type names that are declared more than once: {declared:#?}");
}

#[test]
fn files_have_at_most_the_allowed_length() {
    let sim = Path::new(env!("CARGO_MANIFEST_DIR")).join("webex-sim/src");
    for file in files_below(&source()).into_iter().chain(files_below(&sim)) {
        let lines = text_of(&file).lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", file.display());
    }
}

/// The names in Webex's API have the American spelling, and texts beside them keep to it.
#[test]
fn texts_spell_organization_as_webex_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dirs = ["src", "tests", "benches", "examples", "webex-sim/src", "webex-sim/tests", "docs"];
    let mut texts: Vec<PathBuf> = dirs.iter().flat_map(|dir| all_below(&root.join(dir))).collect();
    texts.extend(
        ["README.md", "CHANGELOG.md", "SECURITY.md", "webex-sim/README.md"].map(|name| root.join(name)),
    );
    for file in texts {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).to_lowercase();
        assert!(!text.contains(concat!("organ", "is")), "{}: write organization", file.display());
    }
}

#[test]
fn only_http_knows_statuses_and_only_webex_knows_its_addresses() {
    for file in files_below(&source()) {
        let (text, path) = (text_of(&file), file.display().to_string());
        assert!(path.contains("/http/") || !text.contains("StatusCode"), "{path} uses HTTP statuses");
        let knows = ["/access_token\"", "/people/me\"", "/authorize?"].iter().any(|part| text.contains(part));
        assert!(path.contains("/webex/") || !knows, "{path} contains Webex's addresses");
    }
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = text_of(&root.join("Cargo.toml"));
    assert!(workspace.contains("[workspace.lints.rust]\nunsafe_code = \"forbid\"\n"));
    for (manifest, lints) in [
        ("Cargo.toml", "[lints]\nworkspace = true\n"),
        ("webex-sim/Cargo.toml", "[lints]\nworkspace = true\n"),
        ("fuzz/Cargo.toml", "[lints.rust]\nunsafe_code = \"forbid\"\n"),
    ] {
        assert!(text_of(&root.join(manifest)).contains(lints), "{manifest} does not forbid unsafe code");
    }
    let manifests = ["Cargo.toml", "fuzz/Cargo.toml", "webex-sim/Cargo.toml"];
    assert_eq!(manifests_below(root), manifests.map(|name| root.join(name)));
    let ours =
        ["src", "tests", "examples", "webex-sim/src", "webex-sim/tests", "fuzz/src", "fuzz/fuzz_targets"];
    for dir in ours {
        for file in files_below(&root.join(dir)) {
            let word = concat!("unsafe", "_code");
            let text = text_of(&file);
            assert!(file.ends_with("tests/architecture.rs") || !text.contains(word), "{}", file.display());
        }
    }
}

fn manifests_below(root: &Path) -> Vec<PathBuf> {
    let dirs = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).chain([root.to_owned()]);
    let mut found: Vec<PathBuf> =
        dirs.map(|dir| dir.join("Cargo.toml")).filter(|file| file.exists()).collect();
    found.sort();
    found
}
