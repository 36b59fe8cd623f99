use tokio::task::JoinSet;

use super::*;

#[tokio::test(start_paused = true)]
async fn starts_are_spaced_evenly_without_a_burst() {
    let starts = StartSchedule::new(RateLimits { concurrency: 64, per_second: 20.0 });
    let begin = Instant::now();
    for n in 0..100 {
        starts.next(StartReason::Due).await;
        let earliest = Duration::from_millis(50) * n;
        assert!(begin.elapsed() >= earliest, "start {n} after {:?}", begin.elapsed());
    }
    assert!(begin.elapsed() < Duration::from_millis(5100));
}

#[tokio::test(start_paused = true)]
async fn a_pace_finer_than_the_timer_is_kept() {
    let starts = Arc::new(StartSchedule::new(RateLimits { concurrency: 64, per_second: 4000.0 }));
    let begin = Instant::now();
    let mut waiting = wait_in_line(&starts, StartReason::Due, 4000).await;
    while waiting.join_next().await.is_some() {}
    assert!(begin.elapsed() <= Duration::from_millis(1100), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn idle_time_is_not_saved_up_for_a_burst() {
    let starts = StartSchedule::new(RateLimits { concurrency: 64, per_second: 10.0 });
    starts.next(StartReason::Due).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let begin = Instant::now();
    for _ in 0..11 {
        starts.next(StartReason::Due).await;
    }
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

/// Lets `many` refreshes wait for a start.
async fn wait_in_line(starts: &Arc<StartSchedule>, reason: StartReason, many: usize) -> JoinSet<()> {
    let mut waiting = JoinSet::new();
    for _ in 0..many {
        let starts = starts.clone();
        waiting.spawn(async move { starts.next(reason).await });
    }
    tokio::task::yield_now().await;
    waiting
}

/// How long five starts take while a hundred refreshes of the other reason wait.
async fn five_starts(few: StartReason, many: StartReason) -> Duration {
    let starts = Arc::new(StartSchedule::new(RateLimits { concurrency: 16, per_second: 1.0 }));
    let _waiting = wait_in_line(&starts, many, 100).await;
    let begin = Instant::now();
    for _ in 0..5 {
        starts.next(few).await;
    }
    begin.elapsed()
}

#[tokio::test(start_paused = true)]
async fn three_requested_refreshes_start_for_each_due_one() {
    let due = five_starts(StartReason::Due, StartReason::Requested).await;
    assert!(due <= Duration::from_secs(20), "a flood of requests leaves a quarter: {due:?}");
    // One after the other, as here, each waits for one due refresh at most.
    let requested = five_starts(StartReason::Requested, StartReason::Due).await;
    assert!(requested <= Duration::from_secs(10), "{requested:?}");
    let starts = Arc::new(StartSchedule::new(RateLimits { concurrency: 16, per_second: 1.0 }));
    let _due = wait_in_line(&starts, StartReason::Due, 100).await;
    let begin = Instant::now();
    let mut requested = wait_in_line(&starts, StartReason::Requested, 30).await;
    while requested.join_next().await.is_some() {}
    assert!(begin.elapsed() <= Duration::from_secs(41), "{:?} for 30 requests", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_bulk_command_takes_turns_with_due_refreshes_and_readers_go_first() {
    let due = five_starts(StartReason::Due, StartReason::Bulk).await;
    assert!(due <= Duration::from_secs(10), "{due:?}");
    let requested = five_starts(StartReason::Requested, StartReason::Bulk).await;
    assert!(requested <= Duration::from_secs(10), "{requested:?}");
    let starts = Arc::new(StartSchedule::new(RateLimits { concurrency: 16, per_second: 1.0 }));
    let _due = wait_in_line(&starts, StartReason::Due, 100).await;
    let _bulk = wait_in_line(&starts, StartReason::Bulk, 100).await;
    let begin = Instant::now();
    let mut requested = wait_in_line(&starts, StartReason::Requested, 30).await;
    while requested.join_next().await.is_some() {}
    assert!(begin.elapsed() <= Duration::from_secs(53), "{:?} for 30 requests", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_requested_refreshes_is_known() {
    let starts = Arc::new(StartSchedule::new(RateLimits { concurrency: 16, per_second: 2.0 }));
    assert_eq!(starts.requested_wait(), Duration::ZERO);
    let expected: Vec<ExpectedStart> = (0..30).map(|_| starts.expect_requested()).collect();
    assert_eq!(starts.requested_wait(), Duration::from_secs(15));
    let _due = wait_in_line(&starts, StartReason::Due, 100).await;
    assert_eq!(starts.requested_wait(), Duration::from_secs(20), "every fourth start is of a due refresh");
    drop(expected);
    assert_eq!(starts.requested_wait(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn only_claimed_refreshes_count_as_ahead_and_those_that_are_dropped_do_not() {
    let starts = Arc::new(StartSchedule::new(RateLimits { concurrency: 16, per_second: 1.0 }));
    let requested = wait_in_line(&starts, StartReason::Requested, 50).await;
    assert_eq!(starts.backlog(), Duration::ZERO);
    let due = wait_in_line(&starts, StartReason::Due, 4).await;
    assert_eq!(starts.backlog(), Duration::from_secs(16), "requested refreshes take three of four starts");
    drop((requested, due));
    tokio::task::yield_now().await;
    assert_eq!(starts.backlog(), Duration::ZERO);
}

/// How many refreshes start within ten seconds.
async fn started(starts: &StartSchedule, not_urgent: bool) -> usize {
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(10) {
        starts.next(StartReason::Due).await;
        if not_urgent {
            starts.next_not_urgent(StartReason::Due).await;
        }
        count += 1;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn refreshes_that_are_not_urgent_keep_to_the_configured_rate_at_a_higher_pace() {
    for (pace, total) in [(20.0, 200_usize), (100.0, 1000), (5.0, 200)] {
        let starts = StartSchedule::new(RateLimits { concurrency: 16, per_second: 20.0 });
        starts.set_pace(pace);
        let (not_urgent, urgent) = tokio::join!(started(&starts, true), started(&starts, false));
        assert!((total - 10..=total + 10).contains(&(not_urgent + urgent)), "{pace}: {not_urgent} {urgent}");
        assert!((90..=210).contains(&not_urgent), "{pace}: {not_urgent} {urgent}");
    }
}

async fn start_not_urgent(starts: Arc<StartSchedule>) {
    starts.next_at_pace(StartReason::Due, false).await;
}

#[tokio::test(start_paused = true)]
async fn refreshes_that_are_not_urgent_keep_to_the_configured_rate_when_a_higher_pace_ends() {
    let starts = Arc::new(StartSchedule::new(RateLimits { concurrency: 16, per_second: 1.0 }));
    starts.set_pace(10.0);
    let begin = Instant::now();
    let mut waiting = JoinSet::new();
    for _ in 0..40 {
        waiting.spawn(start_not_urgent(starts.clone()));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    starts.set_pace(1.0);
    while waiting.join_next().await.is_some() {}
    assert!(begin.elapsed() >= Duration::from_secs(38), "{:?} for 40 starts", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_refresh_stops_waiting_is_not_lost() {
    let starts = Arc::new(StartSchedule::new(RateLimits { concurrency: 16, per_second: 0.1 }));
    starts.next(StartReason::Due).await;
    let begin = Instant::now();
    let mut joined = wait_in_line(&starts, StartReason::Due, 1).await;
    joined.shutdown().await;
    starts.next(StartReason::Requested).await;
    assert_eq!(begin.elapsed().as_secs(), 10);
}
