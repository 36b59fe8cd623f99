//! New TLS connections, each with one small request.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use tokio::task::JoinSet;

use crate::Size;
use crate::bare::Bare;
use crate::client::Tls;
use crate::client::Way;
use crate::client::all;
use crate::daemon::Home;
use crate::figures::Table;
use crate::figures::Times;
use crate::figures::Turns;
use crate::persons;

const AT_ONCE: usize = 8;

pub(crate) async fn measure(table: &mut Table, size: Size) {
    let sim = persons::sim(1, Duration::ZERO).await;
    let home = Home::new(&sim);
    let _daemon = home.start(&[]).await;
    let tls = |port: u16, resumes: bool| Tls::new(port, &home.certificate_pem, "http/1.1", resumes);
    let like = Way::Http1(tls(home.port, false)).connect().await.get("/healthz", &[]).await;
    let bare = Bare::start(&home, &like);
    let span = if size.small { Duration::from_millis(100) } else { Duration::from_secs(3) };
    for (name, resumes) in [("full", false), ("resumed", true)] {
        let mut turns = Turns::default();
        for _ in 0..size.of(5, 1) {
            turns.add([
                knock(tls(home.port, resumes), resumes, span).await,
                knock(tls(bare.port, resumes), resumes, span).await,
            ]);
        }
        let what = format!("{name} TLS handshakes with one request, {AT_ONCE} at once (p50 / p99 / p99.9)");
        table.add(&what, turns.cells().0, "none set");
    }
}

async fn knock(tls: Tls, resumes: bool, span: Duration) -> (Times, Duration) {
    let way = Arc::new(Way::Http1(tls.clone()));
    let (begun, mut tasks) = (Instant::now(), JoinSet::new());
    for _ in 0..AT_ONCE {
        let way = way.clone();
        tasks.spawn(async move {
            let mut times = Times::default();
            while begun.elapsed() < span {
                let knocked = Instant::now();
                let answered = way.connect().await.get("/healthz", &[]).await;
                times.add(knocked.elapsed());
                assert_eq!(answered.status, 200);
            }
            times
        });
    }
    let (times, took) = (all(tasks).await, begun.elapsed());
    // The first connections have no session to resume.
    let resumed = if resumes { times.count().saturating_sub(AT_ONCE) } else { 0 };
    assert_eq!(tls.resumed().min(resumed), resumed, "of {} handshakes", times.count());
    assert!(resumes || tls.resumed() == 0, "a full handshake each");
    (times, took)
}
