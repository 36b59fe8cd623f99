//! The operator's certificate as the real daemon serves, logs and shows it.

use std::path::Path;

use rcgen::CertificateParams;
use rcgen::KeyPair;
use serde_json::Value;
use time::Duration;
use time::OffsetDateTime;
use tokio::process::Command;

use super::control;
use crate::support::Daemon;
use crate::support::start_sim;

/// Writes a certificate for localhost that expires in so many days, and its key.
fn write_pair(folder: &Path, days: i64) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = OffsetDateTime::now_utc() - Duration::days(30);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days) + Duration::hours(1);
    std::fs::write(folder.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

async fn shown(daemon: &Daemon) -> Value {
    let answer = control(daemon).get("http://localhost/api/v1/status").send().await.unwrap();
    answer.json::<Value>().await.unwrap()["certificate"].take()
}

/// `doctor`'s lines about certificates: of the file if that is bad, and of the served one.
async fn doctor(daemon: &Daemon) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_webex-tokend"));
    let output =
        command.env_clear().env("TOKEND_STATE_DIR", daemon.state_dir()).arg("doctor").output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| line.contains("certificate")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn an_expiring_certificate_is_logged_and_doctor_shows_the_served_one() {
    let (sim, folder) = (start_sim().await, tempfile::tempdir().unwrap());
    write_pair(folder.path(), 5);
    let [certificate, key] =
        ["cert.pem", "key.pem"].map(|name| folder.path().join(name).display().to_string());
    let settings = [("TOKEND_TLS_CERT", certificate.as_str()), ("TOKEND_TLS_KEY", key.as_str())];
    let daemon = Daemon::start(&sim, &settings).await;
    let told = daemon.wait_for_line("the certificate for localhost expires at ").await;
    assert!(told.contains(" WARN ") && told.contains("in 5 days"), "{told}");
    let served = shown(&daemon).await;
    assert_eq!((&served["names"][0], &served["self_signed"]), (&"localhost".into(), &false.into()));
    assert!(served["trouble"].as_str().unwrap().contains("in 5 days"), "{served}");

    // A failed reload does not change what is shown.
    std::fs::write(&certificate, "nonsense").unwrap();
    daemon.wait_for_line("cannot load the new TLS certificate").await;
    assert_eq!(shown(&daemon).await["fingerprint"], served["fingerprint"]);
    let says = doctor(&daemon).await;
    let (file, says) = says.split_once('\n').unwrap();
    assert!(file.starts_with("bad") && file.contains(&certificate), "the next start cannot read it: {file}");
    assert!(says.starts_with("warn") && says.contains(served["fingerprint"].as_str().unwrap()), "{says}");
    assert!(says.contains("for localhost, valid until ") && says.contains("in 5 days"), "{says}");

    write_pair(folder.path(), -2);
    let told = daemon.wait_for_line("the certificate for localhost expired at ").await;
    assert!(told.contains(" ERROR "), "{told}");
    let says = doctor(&daemon).await;
    assert!(says.starts_with("bad") && says.contains("expired at"), "{says}");
}

#[tokio::test]
async fn doctor_shows_a_self_signed_certificate_without_warnings() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let served = shown(&daemon).await;
    assert_eq!((&served["self_signed"], &served["trouble"]), (&true.into(), &Value::Null));
    let says = doctor(&daemon).await;
    assert!(says.starts_with("ok"), "{says}");
}
