//! The files in `contrib/` and `examples/`, and the documents that show them.

use std::collections::BTreeSet;
use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use webex_tokend::config::Config;
use webex_tokend::config::EnvFile;
use webex_tokend::config::SettingsSource;
use webex_tokend::config::VARIABLES;

/// The documents that show files.
const DOCUMENTS: [&str; 4] =
    ["docs/contact-center.md", "docs/install.md", "docs/scopes.md", "docs/tokens.md"];

const UNIT: &str = "contrib/systemd/webex-tokend.service";
const DROP_INS: [&str; 3] = [
    "contrib/systemd/certificate.conf",
    "contrib/systemd/contact-center.conf",
    "contrib/systemd/socket-group.conf",
];
const SETTINGS: &str = "contrib/systemd/webex-tokend.env";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// The files of `contrib/` and `examples/`, by their paths from here.
fn files() -> BTreeSet<String> {
    let dirs = ["contrib", "examples"].map(|dir| files_below(&root().join(dir)));
    let name = |path: PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    dirs.into_iter().flatten().map(name).collect()
}

/// The files of `contrib/` and `examples/` that a document links to.
fn linked(text: &str) -> BTreeSet<String> {
    let targets = text.split("](../").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    let ours = targets.filter(|target| target.starts_with("contrib/") || target.starts_with("examples/"));
    ours.map(str::to_owned).collect()
}

/// What a document shows as a file: a line that is a link and a colon, an empty line, and a block of code.
fn shown(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let is_link = |line: &str| line.starts_with("[`") && line.ends_with("):");
    (0..lines.len())
        .filter(|n| is_link(lines[*n]) && lines.get(n + 2).is_some_and(|line| line.starts_with("```")))
        .map(|n| {
            let file = linked(lines[n]).pop_first().unwrap_or_else(|| panic!("no file: {}", lines[n]));
            let block = lines[n + 3..].iter().take_while(|line| **line != "```");
            (file, block.map(|line| format!("{line}\n")).collect())
        })
        .collect()
}

#[test]
fn the_documents_name_every_recipe_file_and_no_other() {
    let texts = DOCUMENTS.map(text_of);
    let linked: BTreeSet<String> = texts.iter().flat_map(|text| linked(text)).collect();
    let files = files();
    let missing: Vec<&String> = linked.difference(&files).collect();
    assert!(missing.is_empty(), "linked, but not there: {missing:?}");
    let read_elsewhere =
        ["contrib/Dockerfile.dockerignore", "examples/many_persons.rs", "examples/sandbox.rs"];
    let unnamed: Vec<&String> =
        files.difference(&linked).filter(|file| !read_elsewhere.contains(&file.as_str())).collect();
    assert!(unnamed.is_empty(), "no document of {DOCUMENTS:?} names {unnamed:?}");
}

#[test]
fn files_shown_in_the_documents_equal_the_recipe_files() {
    let mut count = 0;
    for document in DOCUMENTS {
        for (file, block) in shown(&text_of(document)) {
            assert_eq!(block, text_of(&file), "{document} shows {file}");
            count += 1;
        }
    }
    assert!(count >= 6, "{count} files are shown");
}

/// The variables that a file of systemd or Docker sets.
fn set_by(text: &str) -> BTreeSet<&str> {
    let names = |words: &'static str| {
        let values = text.lines().filter_map(move |line| line.strip_prefix(words));
        values.flat_map(str::split_whitespace).filter_map(|word| Some(word.split_once('=')?.0))
    };
    names("Environment=").chain(names("ENV ")).collect()
}

#[test]
fn recipe_files_set_no_unknown_variable() {
    let known = BTreeSet::from(VARIABLES);
    let mut count = 0;
    for file in DROP_INS.into_iter().chain([UNIT, "contrib/Dockerfile"]) {
        let text = text_of(file);
        let set = set_by(&text);
        let unknown: Vec<&&str> = set.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} sets what is no setting: {unknown:?}");
        count += set.len();
    }
    assert_eq!(count, 7, "the variables are found");
}

/// With the settings of the systemd unit.
#[test]
fn the_settings_of_the_service_are_valid_except_for_the_placeholders() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("webex-tokend.env");
    fs::write(&file, text_of(SETTINGS)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let secret = dir.path().join("client-secret");
    fs::write(&secret, "51155ec2e7\n").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let mut source = SettingsSource::environment(EnvFile::Named(&file)).unwrap();
    let unit = [
        ("MY_APP_SECRET_ID_FILE", secret.to_str().unwrap()),
        ("TOKEND_STATE_DIR", "/var/lib/webex-tokend"),
        ("TOKEND_CONTROL_SOCKET", "/run/webex-tokend/control.sock"),
        ("TOKEND_SOCKET_GROUP", "0"),
    ];
    source.extend(unit.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let config = Config::read(&source).unwrap();
    assert!(config.allow.is_some() && config.socket_group.is_some());
    let warnings = config.warnings.join("\n");
    assert!(warnings.starts_with("MY_APP_CLIENT_ID is the sample's placeholder"), "{warnings}");
    assert_eq!(config.warnings.len(), 1, "{warnings}");
}

/// The output of `systemd-analyze verify` for these units. `None` if it is not installed.
fn verified(dir: &Path, units: &[(&str, String)]) -> Option<Vec<String>> {
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no"]);
    for (name, text) in units {
        fs::write(dir.join(name), text).unwrap();
        command.arg(dir.join(name));
    }
    let Ok(output) = command.output() else {
        eprintln!("SKIPPED: systemd-analyze is not there");
        return None;
    };
    // It checks other units of this machine as well.
    let told = String::from_utf8(output.stderr).unwrap();
    Some(told.lines().filter(|line| line.contains("webex-")).map(str::to_owned).collect())
}

#[test]
fn systemd_accepts_the_unit_with_its_drop_ins() {
    let dir = tempfile::tempdir().unwrap();
    let drop_ins = dir.path().join("webex-tokend.service.d");
    fs::create_dir(&drop_ins).unwrap();
    for file in DROP_INS {
        fs::write(drop_ins.join(Path::new(file).file_name().unwrap()), text_of(file)).unwrap();
    }
    // The program that the unit starts is not installed here.
    let unit = text_of(UNIT).replace("/usr/local/bin/webex-tokend", "/bin/true");
    let verify = |unit: String| verified(dir.path(), &[("webex-tokend.service", unit)]);
    let Some(told) = verify(unit.clone()) else { return };
    assert!(told.is_empty(), "{told:?}");
    let told = verify(unit.replace("PrivateTmp=yes", "PrivateTemp=yes")).unwrap();
    assert!(told.join("\n").contains("PrivateTemp"), "a mistake is told: {told:?}");
    fs::write(drop_ins.join("wrong.conf"), "[Service]\nRuntimeDirectoryMode=no\n").unwrap();
    let told = verify(unit).unwrap();
    assert!(told.join("\n").contains("wrong.conf"), "also one in a drop-in: {told:?}");
}

#[test]
fn systemd_accepts_the_timer_and_its_job() {
    let dir = tempfile::tempdir().unwrap();
    let unit = |name: &str| {
        text_of(&format!("examples/systemd/{name}")).replace("/usr/local/bin/webex-report", "/bin/true")
    };
    let units = ["webex-report.service", "webex-report.timer"].map(|name| (name, unit(name)));
    let told = verified(dir.path(), &units).unwrap_or_default();
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn the_shell_scripts_are_executable_and_parse() {
    let scripts: Vec<String> = files().into_iter().filter(|file| file.ends_with(".sh")).collect();
    assert_eq!(scripts.len(), 3, "{scripts:?}");
    for script in scripts {
        let path = root().join(&script);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert!(mode & 0o100 != 0, "{script} is not executable");
        assert!(Command::new("sh").arg("-n").arg(&path).status().unwrap().success(), "{script}");
    }
}
