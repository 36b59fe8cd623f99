use std::collections::BTreeMap;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn network(number: u32) -> ClientNetwork {
    Some(IpAddr::V4(number.into()))
}

/// Begins an exchange, if it need not wait.
fn begin(exchanges: &mut CodeExchanges, network: ClientNetwork, now: Duration) -> Option<ExchangePermit> {
    let number = exchanges.join(network, now).ok()?;
    match exchanges.turn(network, number, now) {
        ExchangeTurn::Begin(permit) => Some(permit),
        ExchangeTurn::Wait(_) => {
            exchanges.leave(network, number);
            None
        }
        ExchangeTurn::Asked(_) => None,
    }
}

/// Counts the exchanges that `networks` begin within `span` if each of them fails immediately.
fn failures(exchanges: &mut CodeExchanges, networks: u32, from: Duration, span: Duration) -> u64 {
    let (mut count, step) = (0, Duration::from_millis(10));
    let mut now = from;
    while now < from + span {
        for number in 0..networks {
            while let Some(permit) = begin(exchanges, network(number), now) {
                exchanges.end(permit, ExchangeEnd::Failed, now);
                count += 1;
            }
        }
        now += step;
    }
    count
}

#[test]
fn failures_of_one_network_are_a_burst_and_then_a_few_a_second() {
    let mut exchanges = CodeExchanges::new(Some(20.0));
    assert_eq!(failures(&mut exchanges, 1, Duration::ZERO, SECOND / 100), 10);
    let later = failures(&mut exchanges, 1, SECOND / 100, 20 * SECOND);
    assert!((59..=61).contains(&later), "{later}");
}

#[test]
fn failures_of_all_networks_together_are_a_few_a_second_and_far_fewer_than_refreshes() {
    for (rate, most) in [(Some(20.0), 6.0), (Some(1.0), 0.3), (Some(10_000.0), 6.0), (None, 6.0)] {
        let mut exchanges = CodeExchanges::new(rate);
        failures(&mut exchanges, 100, Duration::ZERO, 5 * SECOND);
        let later = failures(&mut exchanges, 100, 5 * SECOND, 30 * SECOND);
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let per_second = later as f64 / 30.0;
        assert!(per_second <= most + 0.1, "{rate:?}: {per_second}");
        assert!(per_second >= most / 3.0, "{rate:?}: {per_second}");
    }
}

/// A full budget does not limit a wave of exchanges, but all their failures are charged to it.
#[test]
fn waves_of_failures_do_not_escape_the_rate() {
    let mut exchanges = CodeExchanges::new(None);
    let (mut count, mut now) = (0_u32, Duration::ZERO);
    while now < 600 * SECOND {
        let wave: Vec<ExchangePermit> =
            (0..200).map_while(|_| begin(&mut exchanges, network(1), now)).collect();
        count += u32::try_from(wave.len()).unwrap();
        wave.into_iter().for_each(|permit| exchanges.end(permit, ExchangeEnd::Failed, now));
        now += 4 * SECOND;
    }
    assert!(count < 64 + 10 + 600 * 6, "{count}");
}

#[test]
fn successes_use_no_budget() {
    let mut exchanges = CodeExchanges::new(None);
    for _ in 0..100_000 {
        let permit = begin(&mut exchanges, network(1), SECOND).unwrap();
        exchanges.end(permit, ExchangeEnd::Succeeded, SECOND);
    }
    // A network with failures is not slowed down while its exchanges succeed.
    failures(&mut exchanges, 1, SECOND, SECOND / 1000);
    let now = 2 * SECOND;
    for _ in 0..100_000 {
        let permit = begin(&mut exchanges, network(1), now).unwrap();
        exchanges.end(permit, ExchangeEnd::Succeeded, now);
    }
}

#[test]
fn a_network_gets_a_slot_whatever_others_hold() {
    let mut exchanges = CodeExchanges::new(None);
    let mut taken = BTreeMap::new();
    for number in 0..20 {
        while begin(&mut exchanges, network(number), SECOND).is_some() {
            *taken.entry(number).or_insert(0) += 1;
        }
    }
    assert_eq!((taken[&0], taken[&1], taken[&2]), (64, 32, 16), "{taken:?}");
    assert_eq!(taken.values().sum::<usize>(), AT_ONCE, "{taken:?}");
    // Networks without failures do not wait for a network with failures.
    let mut exchanges = CodeExchanges::new(None);
    failures(&mut exchanges, 1, Duration::ZERO, 10 * SECOND);
    failures(&mut exchanges, 1, 10 * SECOND, SECOND / 1000);
    assert!(begin(&mut exchanges, network(0), 10 * SECOND).is_none());
    assert!((1..30).all(|number| begin(&mut exchanges, network(number), 10 * SECOND).is_some()));
}

#[test]
fn exchanges_of_one_network_begin_in_order_of_arrival() {
    let mut exchanges = CodeExchanges::new(None);
    failures(&mut exchanges, 1, Duration::ZERO, SECOND / 10);
    let (now, here) = (SECOND / 10, network(0));
    let line: Vec<u64> = (0..10).map(|_| exchanges.join(here, now).unwrap()).collect();
    exchanges.leave(here, line[0]);
    let mut began = Vec::new();
    for step in 0..6_000 {
        let now = now + step * Duration::from_millis(1);
        for number in line.iter().rev().filter(|number| **number != line[0]) {
            if let ExchangeTurn::Begin(permit) = exchanges.turn(here, *number, now) {
                began.push(*number);
                exchanges.end(permit, ExchangeEnd::Failed, now);
            }
        }
    }
    assert_eq!(began, line[1..]);
    assert_eq!(exchanges.first_in_line().count(), 0);
}

#[test]
fn an_exchange_begins_after_the_reported_wait() {
    let mut exchanges = CodeExchanges::new(None);
    let mut now = SECOND;
    failures(&mut exchanges, 1, now, SECOND);
    now += SECOND;
    for _ in 0..50 {
        let number = exchanges.join(network(0), now).unwrap();
        let permit = loop {
            match exchanges.turn(network(0), number, now) {
                ExchangeTurn::Begin(permit) => break permit,
                ExchangeTurn::Wait(wait) => {
                    assert!(wait <= SECOND, "{wait:?}");
                    now += wait;
                }
                ExchangeTurn::Asked(_) => panic!("Webex did not ask to wait"),
            }
        };
        exchanges.end(permit, ExchangeEnd::Failed, now);
    }
}

#[test]
fn the_queue_is_bounded_and_one_network_cannot_fill_it() {
    let mut exchanges = CodeExchanges::new(None);
    failures(&mut exchanges, 1, Duration::ZERO, SECOND);
    let mut joined = 0;
    while exchanges.join(network(0), SECOND).is_ok() {
        joined += 1;
    }
    assert_eq!(joined, 256);
    assert!(matches!(exchanges.join(network(0), SECOND), Err(Hold::Crowded(wait)) if wait >= SECOND));
    assert!(exchanges.join(network(1), SECOND).is_ok());
}

#[test]
fn while_webex_asks_to_wait_nothing_begins_and_the_wait_is_bounded() {
    for (asked, expected) in
        [(60 * SECOND, 60 * SECOND), (Duration::ZERO, SECOND), (Duration::MAX, 300 * SECOND)]
    {
        let mut exchanges = CodeExchanges::new(None);
        // The first request to wait may be about one account, so it counts for at most a minute.
        let first = begin(&mut exchanges, network(1), SECOND).unwrap();
        exchanges.end(first, ExchangeEnd::AskedToWait(Duration::MAX), SECOND);
        assert_eq!(exchanges.join(network(1), SECOND), Err(Hold::Asked(60 * SECOND)));
        let now = 61 * SECOND;
        let permit = begin(&mut exchanges, network(1), now).unwrap();
        let waiting = exchanges.join(network(2), now).unwrap();
        exchanges.end(permit, ExchangeEnd::AskedToWait(asked), now);
        assert_eq!(exchanges.join(network(1), now), Err(Hold::Asked(expected)));
        assert_eq!(exchanges.turn(network(2), waiting, now), ExchangeTurn::Asked(expected));
        let late = now + expected - Duration::from_millis(1);
        assert!(matches!(exchanges.join(network(3), late), Err(Hold::Asked(_))));
        assert!(begin(&mut exchanges, network(1), now + expected).is_some());
    }
}

#[test]
fn idle_networks_are_removed() {
    let mut exchanges = CodeExchanges::new(None);
    for number in 0..10_000 {
        let permit = begin(&mut exchanges, network(number), SECOND).unwrap();
        exchanges.end(permit, ExchangeEnd::Succeeded, SECOND);
    }
    assert!(exchanges.networks.len() <= SWEEP_AT, "{}", exchanges.networks.len());
    failures(&mut exchanges, 1_000, 2 * SECOND, SECOND / 10);
    assert!(exchanges.networks.len() <= 3_000, "{}", exchanges.networks.len());
    for number in 0..10_000 {
        let permit = begin(&mut exchanges, network(number), 60 * SECOND).unwrap();
        exchanges.end(permit, ExchangeEnd::Succeeded, 60 * SECOND);
    }
    assert!(exchanges.networks.len() <= SWEEP_AT, "{}", exchanges.networks.len());
}
