//! The operator's certificate expires, has expired, is not valid yet, or is for another host.

use std::sync::Arc;

use log::Level;
use rcgen::CertificateParams;
use rcgen::KeyPair;
use time::OffsetDateTime;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::http::server::certificate::CertificatePair;
use webex_tokend::http::server::tls::ExpiryWarning;

use crate::support::capture_thread_logs;
use crate::support::captured_logs;
use crate::support::manual_clock::ManualClock;
use crate::support::time::DAY_SECONDS;

const BEGINS: i64 = 1_800_000_000;
const ENDS: i64 = BEGINS + 90 * DAY_SECONDS;

fn pair() -> CertificatePair {
    let (folder, key) = (tempfile::tempdir().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(["tokens.example.com".to_owned()]).unwrap();
    params.not_before = OffsetDateTime::from_unix_timestamp(BEGINS).unwrap();
    params.not_after = OffsetDateTime::from_unix_timestamp(ENDS).unwrap();
    let [certificate, private] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&private, key.serialize_pem()).unwrap();
    CertificatePair::read(&certificate, &private).unwrap()
}

/// The lines that checks at these times log, for a certificate that is served as `host`.
fn told(host: &str, times: impl IntoIterator<Item = i64>) -> Vec<(Level, String)> {
    let (clock, pair) = (Arc::new(ManualClock::new(UnixTime::from_seconds(0))), pair());
    let mut alarm = ExpiryWarning::new(host, clock.clone());
    capture_thread_logs();
    for time in times {
        clock.set(UnixTime::from_seconds(time));
        alarm.check(&pair);
    }
    captured_logs()
}

#[test]
fn certificate_expiry_is_logged_daily_from_three_weeks_before_and_then_as_an_error() {
    let told = told("tokens.example.com", (BEGINS..ENDS + 2 * DAY_SECONDS).step_by(600));
    let count = |level| told.iter().filter(|(at, _)| *at == level).count();
    assert_eq!((count(Level::Warn), count(Level::Error)), (21, 2), "{told:?}");
    let (_, first) = &told[0];
    assert!(first.contains("for tokens.example.com expires at ") && first.contains("in 21 days"), "{first}");
    let (_, last) = told.last().unwrap();
    assert!(last.contains("for tokens.example.com expired at ") && last.contains("replace it"), "{last}");
}

#[test]
fn a_valid_certificate_is_not_logged() {
    assert_eq!(told("tokens.example.com", [BEGINS, BEGINS + 60 * DAY_SECONDS]), []);
    assert!(pair().to_string().starts_with("for tokens.example.com, good until 2027-04-15T08:00:00Z, key "));
}

#[test]
fn a_certificate_from_the_future_or_for_another_host_is_logged() {
    let future = told("tokens.example.com", [BEGINS - 1]);
    assert!(
        future.len() == 1 && future[0].0 == Level::Error && future[0].1.contains("is not valid before"),
        "{future:?}"
    );
    let other = told("localhost", [BEGINS, BEGINS + 60]);
    assert!(other.len() == 1 && other[0].0 == Level::Warn, "{other:?}");
    assert!(
        other[0].1.contains("is for tokens.example.com, but the redirect URI has the host localhost"),
        "{other:?}"
    );
}
