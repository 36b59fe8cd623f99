//! Settings that are files: `.env`, the client secret, PEM files.

use std::fs;

use tempfile::TempDir;

use super::*;

struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn environment(&self) -> Result<Source, Mistakes> {
        Source::environment(self.0.path())
    }
}

/// A variable that no real environment has.
const UNHEARD_OF: &str = "TOKEND_TESTS_SET_NO_SUCH_THING";

fn with_dotenv(content: impl AsRef<[u8]>) -> Result<Source, Mistakes> {
    let dir = Dir::new();
    dir.file(".env", content);
    dir.environment()
}

/// What is told of a broken `.env`.
fn told_of(content: impl AsRef<[u8]>) -> String {
    let mistakes = with_dotenv(content).map(|_| ()).unwrap_err();
    assert_eq!((mistakes.0.len(), mistakes.0[0].variable), (1, ".env"));
    mistakes.to_string()
}

#[test]
fn a_dotenv_file_lies_under_the_real_environment() {
    let real = Dir::new().environment().unwrap();
    let path = real.get("PATH").expect("tests run with a PATH").to_owned();
    let source = with_dotenv(format!("PATH=/nowhere\n{UNHEARD_OF}=file\n")).unwrap();
    assert_eq!(source.get("PATH"), Some(path.as_str()), "real variables win");
    assert_eq!(source.get(UNHEARD_OF), Some("file"));
    assert_eq!(real.get(UNHEARD_OF), None, "no file is no mistake");
}

#[test]
fn a_dotenv_file_may_be_a_copy_of_the_sample_or_of_another_editor() {
    for content in [
        format!("# a comment\n\nexport {UNHEARD_OF}=\"two words\"\n"),
        format!("{UNHEARD_OF}='two words' # a comment\r\n"),
        format!("\u{feff}{UNHEARD_OF}=\"two words\""),
    ] {
        assert_eq!(with_dotenv(&content).unwrap().get(UNHEARD_OF), Some("two words"), "{content:?}");
    }
    assert!(with_dotenv(include_str!("../../../sample_environ_vars.sh")).is_ok());
}

#[test]
fn a_broken_dotenv_names_the_variable_and_not_its_value() {
    for line in [
        "MY_APP_SECRET_ID=s3cr3t in two words",
        "MY_APP_SECRET_ID=s3cr3t=x in two words",
        "export MY_APP_SECRET_ID=s3cr3t in two words",
        "MY_APP_SECRET_ID = s3cr3t in two words",
        "MY_APP_SECRET_ID=\"s3cr3t",
        "MY_APP_SECRET_ID='s3cr3t",
        "MY_APP_SECRET_ID=s3cr3t\\q",
        "MY_APP_SECRET_ID s3cr3t",
        "MY_APP_SECRET_ID: s3cr3t",
        "MY_APP_SECRET_ID=\"s3cr3t\nMORE=s3cr3t",
    ] {
        let told = told_of(format!("MY_APP_PORT=8000\n{line}\n"));
        assert!(told.contains("MY_APP_SECRET_ID") && told.contains("line 2"), "{line:?}: {told}");
        assert!(!told.contains("s3cr3t") && !told.contains("words"), "{line:?}: {told}");
    }
}

#[test]
fn a_broken_dotenv_quotes_no_line_that_is_not_understood() {
    for content in ["s3cr3t", "=s3cr3t", "s3cr3t=a b", "A=1\n-s3cr3t\n"] {
        let told = told_of(content);
        assert!(!told.to_lowercase().contains("s3cr3t") && told.contains("line"), "{content:?}: {told}");
    }
    assert!(told_of(b"MY_APP_SECRET_ID=s3cr3t\xff\n").contains("UTF-8"));
}

#[test]
fn a_dotenv_that_is_no_file_is_told() {
    let dir = Dir::new();
    fs::create_dir(dir.0.path().join(".env")).unwrap();
    assert!(dir.environment().is_err());
}

#[test]
fn the_client_secret_may_be_in_a_file() {
    let dir = Dir::new();
    let file = dir.file("secret", "  s3cr3t-in-a-file\n");
    let source = [("MY_APP_SECRET_ID", ""), ("MY_APP_SECRET_ID_FILE", file.as_str())];
    let config = read(source);
    assert_eq!(config.integration.client_secret.expose(), "s3cr3t-in-a-file");
    assert!(!format!("{config:?}").contains("s3cr3t"));
    let both = read([("MY_APP_SECRET_ID_FILE", file.as_str())]);
    assert_eq!(both.integration.client_secret.expose(), SECRET, "the variable wins");
}

#[test]
fn a_secret_file_that_is_missing_empty_or_unreadable_is_told_by_its_variable() {
    let dir = Dir::new();
    let (empty, binary) = (dir.file("empty", " \n"), dir.file("binary", b"s3cr3t\xff"));
    let folder = dir.0.path().to_str().unwrap();
    for file in [empty.as_str(), binary.as_str(), folder, "/nowhere/secret"] {
        let found = mistakes(&with([("MY_APP_SECRET_ID", ""), ("MY_APP_SECRET_ID_FILE", file)]));
        assert_eq!((found.len(), found[0].variable), (1, "MY_APP_SECRET_ID_FILE"), "{file}");
        assert!(found[0].found.contains(file) && !found[0].found.contains("s3cr3t"));
    }
}

#[test]
fn a_certificate_and_its_key_come_together() {
    let dir = Dir::new();
    let (cert, key) = (dir.file("cert.pem", "c"), dir.file("key.pem", "k"));
    let both = read([("TOKEND_TLS_CERT", &*cert), ("TOKEND_TLS_KEY", &*key)]);
    assert_eq!(both.door.pem, Some((PathBuf::from(&cert), PathBuf::from(&key))));
    assert_eq!(wrong([("TOKEND_TLS_CERT", &*cert)]), ["TOKEND_TLS_KEY"]);
    assert_eq!(wrong([("TOKEND_TLS_KEY", &*key)]), ["TOKEND_TLS_CERT"]);
}

#[test]
fn a_file_that_cannot_be_read_is_told_once() {
    let dir = Dir::new();
    let good = dir.file("good.pem", "c");
    let folder = dir.0.path().to_str().unwrap();
    for bad in ["/nowhere.pem", folder] {
        assert_eq!(wrong([("WEBEX_CA_FILE", bad)]), ["WEBEX_CA_FILE"]);
        assert_eq!(wrong([("TOKEND_TLS_CERT", bad), ("TOKEND_TLS_KEY", &good)]), ["TOKEND_TLS_CERT"]);
        assert_eq!(wrong([("TOKEND_TLS_CERT", &good), ("TOKEND_TLS_KEY", bad)]), ["TOKEND_TLS_KEY"]);
    }
    assert_eq!(read([("WEBEX_CA_FILE", &*good)]).ca_file, Some(PathBuf::from(&good)));
}
