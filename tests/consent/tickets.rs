//! Invalid and expired tickets: an error page, and nothing is changed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;
use webex_tokend::consent::cookie_suffix;
use webex_tokend::domain::ticket::TICKET_TTL;
use webex_tokend::domain::ticket::Ticket;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::key_file;
use webex_tokend::store::seal::Sealer;

use super::GRANTED;
use super::REFUSED;
use super::STALE;
use super::page;
use crate::support::BrowserClient;
use crate::support::Daemon;
use crate::support::counters;
use crate::support::start_sim;

/// `back` with another query.
fn asking(back: &Url, query: &str) -> Url {
    let mut url = back.clone();
    url.set_query(Some(query));
    url
}

#[tokio::test]
async fn a_callback_that_does_not_match_its_ticket_is_refused_and_changes_nothing() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let back = visitor.come_back(&daemon, 0).await;
    let good = back.query().unwrap();
    let (code, state) = good.split_once('&').unwrap();
    let wrong_state = format!("state={}", "A".repeat(43));
    let other_end = format!("{}{}", &state[..state.len() - 1], if state.ends_with('A') { 'B' } else { 'A' });
    for query in [
        format!("{code}&{wrong_state}"),
        format!("{code}&{other_end}"),
        format!("{code}&{}", &state[..state.len() - 20]),
        format!("{code}&{state}x"),
        format!("{code}&state="),
        format!("code=&{state}"),
        code.to_owned(),
        state.to_owned(),
        format!("{good}&{code}"),
        format!("{good}&{state}"),
        format!("{good}&code=another"),
        format!("{wrong_state}&{good}"),
        format!("{good}&error=a&error=b"),
        format!("{code}&state=%00%0d%0aSet-Cookie:x"),
    ] {
        // A copy of the cookies is used, so that the visitor's own cookies do not change.
        let copy = BrowserClient::new();
        for pair in visitor.cookie_header().unwrap().split("; ") {
            let (name, value) = pair.split_once('=').unwrap();
            copy.plant(name, value);
        }
        page(&copy.get(asking(&back, &query)).await, 400, STALE);
    }
    assert_eq!(counters(&sim).calls.access_token, 0, "Webex was asked");
    assert!(daemon.stored_grants().is_empty());
    page(&visitor.get(back).await, 200, GRANTED);
}

#[tokio::test]
async fn a_callback_works_only_in_the_browser_that_started_the_consent() {
    let sim = start_sim().await;
    let daemon = Daemon::start(&sim, &[]).await;
    let elsewhere = Daemon::start(&sim, &[]).await;
    let (visitor, other, stranger) = (BrowserClient::new(), BrowserClient::new(), BrowserClient::new());
    let back = visitor.come_back(&daemon, 0).await;
    let (name, sealed) = visitor.cookie_header().unwrap().split_once('=').map(own).unwrap();

    page(&stranger.get(back.clone()).await, 400, STALE);
    other.begin(&daemon).await;
    let (_, foreign) = other.cookie_header().unwrap().split_once('=').map(own).unwrap();
    page(&other.get(back.clone()).await, 400, STALE);
    other.begin(&elsewhere).await;
    let cut = sealed[..sealed.len() - 4].to_owned();
    let flipped = format!("{}{}", if sealed.starts_with('A') { 'B' } else { 'A' }, &sealed[1..]);
    for wrong in [foreign.as_str(), &cut, &flipped, "", "%%%", "AAAA", &sealed.repeat(2)] {
        stranger.plant(&name, wrong);
        page(&stranger.get(back.clone()).await, 400, STALE);
    }
    // The plain cookie name is valid over plain HTTP only: over TLS, a network attacker could have planted it.
    let planted = BrowserClient::new();
    planted.plant(name.strip_prefix("__Host-").unwrap(), &sealed);
    page(&planted.get(back.clone()).await, 400, STALE);

    assert_eq!(counters(&sim).calls.access_token, 0, "Webex was asked");
    page(&visitor.get(back).await, 200, GRANTED);
}

fn own((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_state_works_only_once() {
    let sim = start_sim().await;
    let (mut daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let back = visitor.come_back(&daemon, 0).await;
    page(&visitor.get(back.clone()).await, 200, GRANTED);
    let kept = daemon.stored_grants();

    page(&visitor.get(back.clone()).await, 200, GRANTED);
    page(&BrowserClient::new().get(back.clone()).await, 400, STALE);
    assert_eq!(counters(&sim).calls.access_token, 1, "Webex was asked again");
    assert_eq!(daemon.stored_grants(), kept);

    // Used states are forgotten at a restart; the code itself works only once.
    daemon.restart(&[]).await;
    page(&visitor.get(back).await, 502, REFUSED);
    assert_eq!(daemon.stored_grants(), kept);
}

#[tokio::test]
async fn a_ticket_expires_at_its_deadline() {
    let sim = start_sim().await;
    let (daemon, visitor) = (Daemon::start(&sim, &[]).await, BrowserClient::new());
    let key = key_file::read(&daemon.state_dir().join("key")).unwrap().unwrap();
    let sealer = Sealer::new(&key).unwrap();
    let now = UnixTime(jiff::Timestamp::now().as_millisecond());
    let minute = std::time::Duration::from_secs(60);
    // Sealed as by the daemon, but begun at another time. An unknown code shows whether Webex was asked.
    for (number, begun, status, heading) in [
        (1, now - TICKET_TTL - minute, 400, STALE),
        (2, now - TICKET_TTL + minute, 502, REFUSED),
        (3, now + minute, 400, STALE),
    ] {
        let ticket = Ticket::new([number; 32], [9; 32], begun);
        let sealed = URL_SAFE_NO_PAD.encode(sealer.seal(&ticket.to_text(), "ticket").unwrap());
        visitor.plant(&format!("__Host-ticket-{}", cookie_suffix(ticket.state())), &sealed);
        let url = daemon.url(&format!("/oauth?code=unknown&state={}", ticket.state().expose()));
        page(&visitor.get(url).await, status, heading);
    }
    assert_eq!(counters(&sim).calls.access_token, 1);
}
