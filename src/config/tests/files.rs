//! Settings in files: `.env`, the client secret, PEM files.

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

    fn environment(&self) -> Result<SettingsSource, ConfigErrors> {
        SettingsSource::environment(EnvFile::In(self.0.path()))
    }
}

/// A variable that is not in any real environment.
const UNHEARD_OF: &str = "TOKEND_TESTS_SET_NO_SUCH_THING";

/// A source with this environment and file.
fn layered(real: &[(&str, &str)], file: EnvFile<'_>) -> Result<SettingsSource, ConfigErrors> {
    SettingsSource::layered(real.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), file)
}

fn with_dotenv(content: impl AsRef<[u8]>) -> Result<SettingsSource, ConfigErrors> {
    let dir = Dir::new();
    dir.file(".env", content);
    dir.environment()
}

/// The errors in the settings with this `.env` and the required settings.
fn told_of(content: impl AsRef<[u8]>) -> ConfigErrors {
    let mut source = with_dotenv(content).unwrap();
    source.extend([("HOME".to_owned(), "/home/ada".to_owned())]);
    Config::read(&source).map(|_| ()).unwrap_err()
}

#[test]
fn the_environment_overrides_a_dotenv_file() {
    let dir = Dir::new();
    dir.file(".env", "ORG_ID=file\nFROM=file\nPATH=/nowhere\nBROWSER=sh\nLD_PRELOAD=x.so\n");
    let source = layered(&[("ORG_ID", "real"), ("PATH", "/bin")], EnvFile::In(dir.0.path())).unwrap();
    assert_eq!(source.get("ORG_ID"), Some("real"), "real variables win");
    assert_eq!(source.get("FROM"), Some("file"));
    assert_eq!(source.get("PATH"), Some("/bin"));
    assert_eq!((source.get("BROWSER"), source.get("LD_PRELOAD")), (None, None), "no settings of ours");
    let real = layered(&[], EnvFile::In(Dir::new().0.path())).unwrap();
    assert_eq!(real.get("FROM"), None, "no file is no mistake");
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
fn an_invalid_line_is_named_and_hides_no_other_error() {
    for line in [
        "MY_APP_SECRET_ID=\"s3cr3t",
        "MY_APP_SECRET_ID='s3cr3t",
        "MY_APP_SECRET_ID='s3cr3t'x",
        "MY_APP_SECRET_ID s3cr3t",
        "MY_APP_SECRET_ID: s3cr3t",
        "export MY_APP_SECRET_ID",
        "MY_APP_SECRET_ID=\"s3cr3t\nMORE=s3cr3t",
    ] {
        let errors = told_of(format!("EVENT_LOOP_DAYS=soon\n{line}\n"));
        let told = errors.to_string();
        let names: Vec<_> = errors.0.iter().map(|error| error.variable).collect();
        assert_eq!(names, ["MY_APP_SECRET_ID", "MY_APP_CLIENT_ID", "EVENT_LOOP_DAYS"], "{line:?}: {told}");
        assert!(told.contains("line 2 of ") && !told.contains("s3cr3t"), "{line:?}: {told}");
    }
    let errors = told_of(b"MY_APP_CLIENT_ID=C\nMY_APP_SECRET_ID=s3cr3t\xff\n");
    assert!(errors.to_string().contains("UTF-8") && errors.0.len() == 1, "{errors}");
}

#[test]
fn a_line_that_the_environment_overrides_need_not_be_valid() {
    let dir = Dir::new();
    dir.file(".env", "MY_APP_SECRET_ID='s3cr3t\n");
    let real = [("MY_APP_CLIENT_ID", "C"), ("MY_APP_SECRET_ID", "s"), ("HOME", "/home/ada")];
    Config::read(&layered(&real, EnvFile::In(dir.0.path())).unwrap()).unwrap();
}

#[test]
fn lines_that_set_no_setting_are_ignored() {
    let text =
        b"GREETING=hello \"world\nC:\\logs\nmysql://u:p w@h/x\nNAME=\xfc\n- s3cr3t\nMY_APP_CLIENT_ID=C$1\n";
    assert_eq!(with_dotenv(text).unwrap().get("MY_APP_CLIENT_ID"), Some("C$1"));
}

#[test]
fn values_of_a_dotenv_file_are_literal() {
    let phrase = "correct$horse-battery-staple\\n";
    for text in [format!("PASSPHRASE={phrase}\n"), format!("PASSPHRASE=\"{phrase}\"\n")] {
        assert_eq!(with_dotenv(text).unwrap().get("PASSPHRASE"), Some(phrase));
    }
}

#[test]
fn a_file_that_other_users_can_write_is_rejected_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let dir = Dir::new();
    let file = PathBuf::from(dir.file(".env", "MY_APP_CLIENT_ID=evil\n"));
    for bad in [0o666, 0o620, 0o602] {
        mode(&file, bad);
        let told = dir.environment().map(|_| ()).unwrap_err().to_string();
        assert!(told.contains(&format!("{bad:04o}")) && told.contains("chmod go-w"), "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
    for good in [0o600, 0o644, 0o640] {
        mode(&file, good);
        assert_eq!(dir.environment().unwrap().get("MY_APP_CLIENT_ID"), Some("evil"));
    }
    for (bad, sticky) in [(0o777, 0o1777), (0o775, 0o1775), (0o770, 0o1770)] {
        mode(dir.0.path(), bad);
        let told = dir.environment().map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("its directory has mode") && told.contains("chmod go-w"), "{told}");
        mode(dir.0.path(), sticky);
        dir.environment().unwrap();
    }
    mode(dir.0.path(), 0o777);
    fs::remove_file(file).unwrap();
    dir.environment().unwrap();
}

#[test]
fn a_link_is_followed_to_a_file_that_other_users_cannot_change() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::fs::symlink;
    let (dir, elsewhere) = (Dir::new(), Dir::new());
    let target = PathBuf::from(elsewhere.file("settings", "MY_APP_CLIENT_ID=linked\n"));
    symlink(&target, dir.0.path().join(".env")).unwrap();
    assert_eq!(dir.environment().unwrap().get("MY_APP_CLIENT_ID"), Some("linked"));
    fs::set_permissions(&target, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(dir.environment().is_err());
    fs::set_permissions(&target, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(elsewhere.0.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(dir.environment().is_err(), "another file may be put into the target's place");
    fs::remove_file(&target).unwrap();
    assert!(dir.environment().is_err(), "a link to nothing is a mistake");
}

#[test]
fn a_file_of_another_user_is_rejected_unless_that_user_owns_the_state_directory() {
    let dir = Dir::new();
    let file = dir.file(".env", "MY_APP_CLIENT_ID=theirs\n");
    let stranger = Some(65_534);
    if let Err(e) = std::os::unix::fs::chown(&file, stranger, stranger) {
        eprintln!("SKIPPED: only root can give a file away: {e}");
        return;
    }
    let state_dir = [("TOKEND_STATE_DIR", dir.0.path().to_str().unwrap())];
    let told = dir.environment().map(|_| ()).unwrap_err().to_string();
    assert!(told.contains("65534") && told.contains("the settings file: found"), "{told}");
    assert!(layered(&state_dir, EnvFile::InStateDirectory).is_err());
    std::os::unix::fs::chown(dir.0.path(), stranger, stranger).unwrap();
    let source = layered(&state_dir, EnvFile::InStateDirectory).unwrap();
    assert_eq!(source.get("MY_APP_CLIENT_ID"), Some("theirs"));
    assert!(dir.environment().is_err(), "the working directory may be another user's");
}

#[test]
fn a_settings_file_that_is_not_a_file_is_an_error() {
    let dir = Dir::new();
    fs::create_dir(dir.0.path().join(".env")).unwrap();
    assert!(dir.environment().is_err());
    let named =
        |path: &str| layered(&[], EnvFile::Named(Path::new(path))).map(|_| ()).unwrap_err().to_string();
    assert!(named("/nowhere/env").contains("there is no such file"));
    assert!(named("/dev/null").contains("not a regular file"));
}

#[test]
fn a_secret_file_may_start_with_a_byte_order_mark() {
    let dir = Dir::new();
    for content in ["\u{feff}s3cr3t", "\u{feff} s3cr3t\r\n"] {
        let file = dir.file("secret", content);
        let config = read([("MY_APP_SECRET_ID", ""), ("MY_APP_SECRET_ID_FILE", file.as_str())]);
        assert_eq!(config.integration.client_secret.expose(), "s3cr3t");
    }
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
fn a_missing_empty_or_unreadable_secret_file_is_reported_by_its_variable() {
    let dir = Dir::new();
    let (empty, binary) = (dir.file("empty", " \n"), dir.file("binary", b"s3cr3t\xff"));
    let folder = dir.0.path().to_str().unwrap();
    let found = |file: &str| {
        let found = errors(&with([("MY_APP_SECRET_ID", ""), ("MY_APP_SECRET_ID_FILE", file)]));
        assert_eq!((found.len(), found[0].variable), (1, "MY_APP_SECRET_ID_FILE"), "{file}");
        assert!(!found[0].found.contains("s3cr3t"));
        found[0].found.clone()
    };
    for file in [empty.as_str(), binary.as_str(), folder, "/nowhere/secret"] {
        assert!(found(file).contains(file));
    }
    assert!(found(&dir.file("marked", "\u{feff}\n")).contains("empty"));
    assert!(found(&dir.file("two", "s3cr3t words")).contains("white space"));
    assert!(found(&dir.file("long", "s3cr3t".repeat(20_000))).contains("longer than 64 KiB"));
}

#[test]
fn a_certificate_and_its_key_require_each_other() {
    let dir = Dir::new();
    let (cert, key) = (dir.file("cert.pem", "c"), dir.file("key.pem", "k"));
    let both = read([("TOKEND_TLS_CERT", &*cert), ("TOKEND_TLS_KEY", &*key)]);
    assert_eq!(both.http.pem, Some((PathBuf::from(&cert), PathBuf::from(&key))));
    assert_eq!(wrong([("TOKEND_TLS_CERT", &*cert)]), ["TOKEND_TLS_KEY"]);
    assert_eq!(wrong([("TOKEND_TLS_KEY", &*key)]), ["TOKEND_TLS_CERT"]);
}

#[test]
fn a_file_that_cannot_be_read_is_reported_once() {
    let dir = Dir::new();
    let good = dir.file("good.pem", "c");
    let folder = dir.0.path().to_str().unwrap();
    for bad in ["/nowhere.pem", folder] {
        assert_eq!(wrong([("WEBEX_CA_FILE", bad)]), ["WEBEX_CA_FILE"]);
        assert_eq!(wrong([("TOKEND_TLS_CERT", bad), ("TOKEND_TLS_KEY", &good)]), ["TOKEND_TLS_CERT"]);
        assert_eq!(wrong([("TOKEND_TLS_CERT", &good), ("TOKEND_TLS_KEY", bad)]), ["TOKEND_TLS_KEY"]);
    }
    // Reading a pipe may wait for ever, and reading a device may never end.
    for name in ["WEBEX_CA_FILE", "TOKEND_TLS_CERT"] {
        let found = errors(&with([(name, "/dev/null"), ("TOKEND_TLS_KEY", &good)]));
        let told: Vec<&str> = found.iter().filter(|m| m.variable == name).map(|m| &*m.found).collect();
        assert!(told.len() == 1 && told[0].contains("not a regular file"), "{found:?}");
    }
    assert_eq!(wrong([("WEBEX_CA_FILE", &*good)]), ["WEBEX_CA_FILE"], "there is no certificate in it");
    let key = rcgen::KeyPair::generate().unwrap();
    let roots = rcgen::CertificateParams::new(["ca".to_owned()]).unwrap().self_signed(&key).unwrap();
    let good = dir.file("roots.pem", roots.pem());
    assert_eq!(read([("WEBEX_CA_FILE", &*good)]).ca_file, Some(PathBuf::from(&good)));
}
