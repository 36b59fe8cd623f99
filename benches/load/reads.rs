//! Reads of live tokens over persistent connections, compared with a bare server's constant response of the
//! same size.

use std::sync::Arc;
use std::time::Duration;

use webex_tokend::domain::time::UnixTime;

use crate::Size;
use crate::bare::Bare;
use crate::client::Tls;
use crate::client::Way;
use crate::client::hammer;
use crate::daemon::Home;
use crate::figures::Table;
use crate::figures::Turns;
use crate::figures::rate;
use crate::figures::spoken;
use crate::persons;
use crate::sample_grants;

/// A server's processor time and the number of responses in it. Other load on the machine hardly affects it.
#[derive(Default)]
struct Work {
    took: Duration,
    answers: usize,
}

impl Work {
    fn add(&mut self, took: Duration, answers: usize) {
        self.took += took;
        self.answers += answers;
    }

    /// Seconds for one response.
    fn each(self) -> f64 {
        1.0 / rate(self.answers, self.took)
    }
}

pub(crate) async fn measure(table: &mut Table, size: Size) {
    let sim = persons::sim(1, Duration::ZERO).await;
    let home = Home::new(&sim);
    let now = UnixTime(sim.now_ms());
    let grants: Vec<_> = (0..size.of(1_000, 20)).map(|number| sample_grants::stored(number, now)).collect();
    sample_grants::keep(&Arc::new(home.store(now)), grants.iter().cloned()).await;
    let daemon = home.start(&[]).await;
    let key = home.run(&["key", "create", "load"]);
    let key = key.split_whitespace().find(|word| word.starts_with("wtk_")).unwrap();

    let tls = |port: u16, protocol: &str| Tls::new(port, &home.certificate_pem, protocol, false);
    let bearer = format!("Bearer {key}");
    let mut one = Way::Http1(tls(home.port, "http/1.1")).connect().await;
    let (mut paths, mut like) = (Vec::new(), None);
    for grant in &grants {
        let path = format!("/api/v1/people/{}/token", grant.person.id);
        let answered = one.get(&path, &[("authorization", &bearer)]).await;
        let text = String::from_utf8_lossy(&answered.body);
        assert!(text.contains(grant.tokens.access_token.expose()), "{path} gives the person's own token");
        paths.push(path);
        like = Some(answered);
    }
    let bare = Bare::start(&home, &like.unwrap());

    let ways = [
        ("HTTP/1.1 over TLS", Way::Http1(tls(home.port, "http/1.1")), Way::Http1(tls(bare.port, "http/1.1"))),
        ("HTTP/2 over TLS", Way::Http2(tls(home.port, "h2")), Way::Http2(tls(bare.port, "h2"))),
        ("the control socket", Way::Unix(home.control_socket()), Way::Unix(home.path("bare.sock"))),
    ];
    let connections: &[usize] = if size.small { &[1, 8] } else { &[1, 16, 64, 256] };
    let span = if size.small { Duration::from_millis(50) } else { Duration::from_secs(2) };
    for (name, ours, theirs) in &ways {
        for connections in connections.iter().copied() {
            // The control socket is for scripts on this machine and may accept fewer connections.
            if connections > 64 && matches!(ours, Way::Unix(_)) {
                continue;
            }
            let (mut turns, mut work) = (Turns::default(), [Work::default(), Work::default()]);
            for _ in 0..size.of(5, 1) {
                let before = [daemon.cpu(), bare.cpu()];
                let turn = [
                    hammer(ours, connections, &paths, key, span).await,
                    hammer(theirs, connections, &paths, key, span).await,
                ];
                let after = [daemon.cpu(), bare.cpu()];
                for side in [0, 1] {
                    work[side].add(after[side] - before[side], turn[side].0.count());
                }
                turns.add(turn);
            }
            let (cells, each) = turns.cells();
            let [own, least] = work.map(Work::each);
            let what = format!("processor time of a token read, {name}, {connections} connections");
            let times = format!("{:.2}x the time", own / least);
            table.add(&what, [spoken(own), spoken(least), times], "");
            let what = format!("token reads, {name}, {connections} connections (p50 / p99 / p99.9)");
            table.add(&what, cells, "at least 0.8x");
            if connections > 1 {
                let what = format!("a token read, {name}, by connections");
                table.grows(&what, connections, each, spoken(each));
            }
        }
    }
}
