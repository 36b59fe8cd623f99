//! Runs `webex-tokend token` repeatedly against a running daemon.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use webex_tokend::domain::time::UnixTime;

use crate::Size;
use crate::daemon::Home;
use crate::figures::Table;
use crate::figures::Times;
use crate::figures::Turns;
use crate::persons;
use crate::sample_grants;

const PEOPLE: usize = 100;

pub(crate) async fn measure(table: &mut Table, size: Size) {
    let sim = persons::sim(1, Duration::ZERO).await;
    let home = Home::new(&sim);
    let now = UnixTime(sim.now_ms());
    sample_grants::keep(
        &Arc::new(home.store(now)),
        (0..PEOPLE).map(|number| sample_grants::stored(number, now)),
    )
    .await;
    let _daemon = home.start(&[]).await;
    let mut turns = Turns::default();
    for _ in 0..size.of(5, 1) {
        let times = size.of(1_000, 5);
        turns.add(tokio::task::block_in_place(|| {
            let ours = repeat(times, |at| {
                let person = at % PEOPLE;
                let token = home.run(&["token", &format!("person{person}@example.com")]);
                assert_eq!(token.trim_end(), sample_grants::stored(person, now).tokens.access_token.expose());
            });
            let bare = repeat(times, |_| {
                assert!(Command::new("/bin/true").output().unwrap().status.success());
            });
            [ours, bare]
        }));
    }
    let what = "`webex-tokend token`, one after another (p50 / p99 / p99.9); bare: `/bin/true`";
    table.add(what, turns.cells().0, "at least 800/s");
}

fn repeat(times: usize, mut run: impl FnMut(usize)) -> (Times, Duration) {
    let (mut all, begun) = (Times::default(), Instant::now());
    for at in 0..times {
        let started = Instant::now();
        run(at);
        all.add(started.elapsed());
    }
    (all, begun.elapsed())
}
