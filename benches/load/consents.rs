//! Whole consents: a request to `/oauth`, a decision at Webex without delay, and the callback, which is
//! answered after the grant is stored. A bare client sends the same requests to Webex and stores nothing,
//! which shows the limit of webex-sim.

use std::sync::Arc;
use std::time::Duration;

use webex_sim::Consent;
use webex_sim::Sim;
use webex_sim::model::Request;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::store::GrantQueries;

use crate::Size;
use crate::client::Client;
use crate::client::Tls;
use crate::client::Way;
use crate::client::share;
use crate::daemon::Home;
use crate::figures::Table;
use crate::figures::Turns;
use crate::figures::float;
use crate::figures::spoken;
use crate::persons;

const CONNECTIONS: usize = 64;
const REDIRECT: &str = "https://localhost/oauth";

pub(crate) async fn measure(table: &mut Table, size: Size) {
    for people in [size.of(5_000, 50), size.of(20_000, 100)] {
        let mut turns = Turns::default();
        for _ in 0..size.of(3, 1) {
            let sim = Arc::new(persons::sim(people, Duration::ZERO).await);
            let home = Home::new(&sim);
            let daemon = home.start(&[]).await;
            let way = Way::Http1(Tls::new(home.port, &home.certificate_pem, "http/1.1", false));
            let webex = sim.clone();
            let ours = share(&way, CONNECTIONS, people, move |client, person| {
                let webex = webex.clone();
                async move { consent(client, &webex, person).await }
            });
            let ours = ours.await;
            drop(daemon);
            let kept = home.store(UnixTime(sim.now_ms())).totals().await.unwrap().people;
            assert_eq!(kept, u64::try_from(people).unwrap());
            let (way, webex) = (Way::Plain(sim.address()), sim.clone());
            let bare = share(&way, CONNECTIONS, people, move |client, person| {
                let webex = webex.clone();
                async move { bare_consent(client, &webex, person).await }
            });
            turns.add([ours, bare.await]);
        }
        let (cells, each) = turns.cells();
        let what = format!(
            "{people} consents, {CONNECTIONS} connections (p50 / p99 / p99.9); bare: webex-sim alone, nothing stored"
        );
        table.add(&what, cells, "at least 2,000/s");
        table.grows("consents, all together", people, each * float(people), spoken(each * float(people)));
    }
}

async fn consent(mut client: Client, sim: &Sim, person: usize) -> Client {
    let begun = client.get("/oauth", &[]).await;
    assert_eq!(begun.status, 302);
    let to_webex = begun.headers["location"].to_str().unwrap();
    let cookie = begun.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let back = accepted(sim, person, &to_webex[to_webex.find("/v1").unwrap()..]);
    let back = &back[back.find("/oauth").unwrap()..];
    let done = client.get(back, &[("cookie", cookie)]).await;
    assert_eq!(done.status, 200, "{}", String::from_utf8_lossy(&done.body));
    client
}

/// Accepts the consent as the person; returns the URL that the browser is sent to.
fn accepted(sim: &Sim, person: usize, path: &str) -> String {
    let now_ms = sim.now_ms();
    sim.with(|webex| {
        webex.settings_mut().consent = Consent::AcceptAs(person);
        let answer = webex.answer(now_ms, &Request::get(path));
        webex.left(answer.visit);
        answer.header("location").unwrap().to_owned()
    })
}

async fn bare_consent(mut client: Client, sim: &Sim, person: usize) -> Client {
    let [id, secret] =
        sim.with(|webex| [&webex.settings().client_id, &webex.settings().client_secret].map(Clone::clone));
    let path = format!(
        "/v1/authorize?response_type=code&client_id={id}&redirect_uri={REDIRECT}&scope=spark:all&state=s"
    );
    let back = url::Url::parse(&accepted(sim, person, &path)).unwrap();
    let code = back.query_pairs().find(|(name, _)| name == "code").unwrap().1;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", &id),
        ("client_secret", &secret),
        ("code", &code),
        ("redirect_uri", REDIRECT),
    ];
    let answered = client.post("/v1/access_token", &form).await;
    assert_eq!(answered.status, 200, "{}", String::from_utf8_lossy(&answered.body));
    let tokens: serde_json::Value = serde_json::from_slice(&answered.body).unwrap();
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let who = client.get("/v1/people/me", &[("authorization", &bearer)]).await;
    assert_eq!(who.status, 200);
    client
}
