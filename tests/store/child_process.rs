//! Tests that need a separate process: to crash, to be another owner, to run on a full or read-only disk.
//!
//! The child process is this test binary; its environment says which role to play.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use webex_tokend::store::Committed;
use webex_tokend::store::GrantCommands;
use webex_tokend::store::GrantQueries;
use webex_tokend::store::StoreError;
use webex_tokend::store::StoreMetadata;
use webex_tokend::store::sqlite::SqliteStore;

use crate::store::fixtures::INTEGRATION;
use crate::store::fixtures::at;
use crate::store::fixtures::claim_one;
use crate::store::fixtures::found;
use crate::store::fixtures::grant;
use crate::store::fixtures::keep;
use crate::store::fixtures::open_in;
use crate::store::fixtures::renewed;

const ROLE_VARIABLE: &str = "TOKEND_TEST_PART";
const DIR_VARIABLE: &str = "TOKEND_TEST_DIR";

/// Printed by the child process when it has finished its role.
const DONE_LINE: &str = "PART-PLAYED";

/// A command that runs this binary in `dir` with the role `part`.
pub(super) fn child(part: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    cast(&mut command, part, dir);
    command
}

/// The same in its own mount namespace, after `setup` (a shell script, with the directory as `$0`). `None` if the
/// system permits no such namespace.
pub(super) fn child_in_namespace(part: &str, dir: &Path, setup: &str) -> Option<Command> {
    let in_namespace = |script: String| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", &script]).arg(dir);
        command
    };
    let probe = in_namespace(setup.to_owned()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = in_namespace(format!("{setup}\nexec \"$@\""));
    command.arg(std::env::current_exe().unwrap());
    cast(&mut command, part, dir);
    Some(command)
}

fn cast(command: &mut Command, part: &str, dir: &Path) {
    command
        .args(["--exact", "store::child_process::child_process_entry", "--ignored", "--nocapture"])
        .env(ROLE_VARIABLE, part)
        .env(DIR_VARIABLE, dir)
        .stdin(Stdio::piped());
}

/// Runs the command, and asserts that it finished its role.
pub(super) fn assert_child_succeeds(mut command: Command) {
    let output = command.stderr(Stdio::piped()).stdout(Stdio::piped()).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(DONE_LINE), "{}\n{said}\n{complained}", output.status);
}

/// Makes the command run as an unprivileged user if this process is root, which no file mode restricts.
pub(super) fn without_rights(command: &mut Command) {
    if running_as_root() {
        command.uid(UNPRIVILEGED_USER).gid(UNPRIVILEGED_USER);
    }
}

pub(super) const UNPRIVILEGED_USER: u32 = 65_534;

pub(super) fn running_as_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

#[tokio::test]
#[ignore = "a part that other tests give to a process of its own"]
async fn child_process_entry() {
    #[expect(clippy::disallowed_methods, reason = "set by the test that started this process")]
    let (part, dir) =
        (std::env::var(ROLE_VARIABLE).unwrap(), PathBuf::from(std::env::var(DIR_VARIABLE).unwrap()));
    match part.as_str() {
        "dies" => dies(&dir).await,
        "owns" => owns(&dir).await,
        "goes elsewhere" => goes_elsewhere(&dir).await,
        "fills its disk" => fills_its_disk(&dir, |e| *e == StoreError::Full).await,
        "reaches the file size limit" => {
            fills_its_disk(&dir, |e| matches!(e, StoreError::Disk(_))).await;
        }
        "may not write" => may_not_write(&dir),
        "may write again" => drop(open_in(&dir, INTEGRATION, 0).unwrap()),
        "may not own" => may_not_own(&dir.join("alone")),
        "finds a read-only disk" => finds_a_read_only_disk(&dir),
        other => panic!("there is no role {other:?}"),
    }
    println!("{DONE_LINE}");
}

/// Stores two consents, a claim and an outcome, then aborts.
async fn dies(dir: &Path) {
    let store = open_in(dir, INTEGRATION, 0).unwrap();
    keep(&store, [grant("ada")]).await;
    let claim = claim_one(&store, 0).await;
    assert_eq!(store.commit(claim.fence, renewed(&claim.grant, 1)).await, Ok(Committed::Kept));
    keep(&store, [grant("eve")]).await;
    claim_one(&store, 2).await;
    println!("{DONE_LINE}");
    std::process::abort();
}

/// Owns the store until its standard input ends.
async fn owns(dir: &Path) {
    let store = open_in(dir, INTEGRATION, 0).unwrap();
    keep(&store, [grant("ada")]).await;
    println!("{DONE_LINE}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Opens a store by a relative path that SQLite would take for an in-memory store, and changes the directory.
async fn goes_elsewhere(dir: &Path) {
    std::env::set_current_dir(dir).unwrap();
    let (db, key) = (Path::new(":memory:"), Path::new("key"));
    let (store, _) = SqliteStore::open(db, key, INTEGRATION, at(0)).unwrap();
    std::env::set_current_dir("/").unwrap();
    keep(&store, [grant("ada")]).await;
    assert_eq!(found(&store, "ada").await, grant("ada"));
}

/// Stores consents until the disk is full, then frees space.
async fn fills_its_disk(dir: &Path, expected: fn(&StoreError) -> bool) {
    let store = open_in(dir, INTEGRATION, 0).unwrap();
    keep(&store, [grant("ada")]).await;
    let claim = claim_one(&store, 0).await;
    let mut kept = 0;
    let refusal = loop {
        let mut bulky = grant(&format!("p{kept}"));
        bulky.last.detail = "long ".repeat(2000);
        match store.save_consent(bulky).await {
            Ok(_) => kept += 1,
            Err(refusal) => break refusal,
        }
        assert!(kept < 1000, "this disk never gets full");
    };
    assert!(expected(&refusal), "{refusal:?}");
    let outcome = renewed(&claim.grant, 1);
    let mut bulky = outcome.clone();
    bulky.last.detail = "long ".repeat(20_000);
    assert_eq!(store.commit(claim.fence, bulky).await, Err(refusal), "and the next write fails as well");
    assert_eq!(store.check_readable().await, Ok(()), "it can still be read");
    assert_eq!(store.find(crate::store::fixtures::person(&format!("p{kept}"))).await, Ok(None));
    assert_eq!(found(&store, "ada").await.tokens, grant("ada").tokens);

    // A file size limit cannot be lifted like a full disk: opening the store again checkpoints the WAL.
    let ballast = dir.join("ballast");
    let store = if ballast.exists() {
        std::fs::remove_file(ballast).unwrap();
        assert_eq!(
            store.commit(claim.fence, outcome.clone()).await,
            Ok(Committed::Kept),
            "without opening the store again"
        );
        assert_eq!(found(&store, "ada").await, outcome);
        store
    } else {
        drop(store);
        open_in(dir, INTEGRATION, 5).unwrap()
    };
    assert_eq!(store.totals().await.unwrap().people, kept + 1, "everything stored is still there");
    drop(store);
    let again = open_in(dir, INTEGRATION, 5).unwrap();
    assert_eq!(again.totals().await.unwrap().people, kept + 1);
}

fn may_not_write(dir: &Path) {
    assert_eq!(open_in(dir, INTEGRATION, 0).unwrap_err(), StoreError::ReadOnly);
}

/// Another name of a file that another process owns, in a directory without its other files.
fn may_not_own(dir: &Path) {
    let refusal = open_in(dir, INTEGRATION, 0).unwrap_err();
    assert!(matches!(refusal, StoreError::InUse(_)), "{refusal:?}");
}

fn finds_a_read_only_disk(dir: &Path) {
    let refusal = open_in(dir, INTEGRATION, 0).unwrap_err();
    let text = refusal.to_string();
    assert!(matches!(refusal, StoreError::File { .. }), "{text}");
    assert!(text.contains("tokend.db") && text.contains("TOKEND_STATE_DIR"), "{text}");
}
