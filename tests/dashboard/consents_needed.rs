//! How the pages answer the operator's question "Who must consent, and what do I send them?".

use std::time::Duration;

use webex_tokend::clock::Clock;
use webex_tokend::domain::grant::Grant;
use webex_tokend::domain::grant::GrantStatus;
use webex_tokend::domain::person::Email;
use webex_tokend::domain::schedule::Schedule;
use webex_tokend::domain::time::UnixTime;
use webex_tokend::domain::verdict::Outcome;

use super::harness::DashboardServer;
use super::harness::HTTPS_REDIRECT_URI;
use super::harness::OperatorBrowser;
use super::people::keep;
use super::people::rows;
use super::people::server_with_people;
use crate::support::many_grants;
use crate::support::time::DAY;

/// Internal terms, which an operator need not know.
const JARGON: [&str; 14] = [
    "breaker",
    "no-op",
    "noop",
    "safety margin",
    "floor",
    "survival",
    "forbids a refresh",
    "asks for a refresh",
    "control socket",
    "refresh token",
    "outcome",
    "by itself",
    "unchanged",
    "due",
];

/// The visible text of a page, in lower case.
fn words(page: &str) -> String {
    let (_, body) = page.split_once("<body").unwrap();
    let texts = body.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text);
    texts.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The position of a text on a page.
fn place(page: &str, text: &str) -> usize {
    page.find(text).unwrap_or_else(|| panic!("no {text:?} in {page}"))
}

/// The part of a page from one text to the next occurrence of another.
fn between<'a>(page: &'a str, from: &str, to: &str) -> &'a str {
    let (start, inner) = (place(page, from), place(page, from) + from.len());
    let end = page[inner..].find(to).map_or(page.len(), |at| inner + at);
    &page[start..end]
}

fn with_consent_needed(n: usize, now: UnixTime, ends: UnixTime) -> Grant {
    let mut grant = many_grants::nth_grant(n, now);
    grant.status = GrantStatus::ConsentNeeded;
    (grant.failures, grant.last.outcome) = (1, Outcome::ConsentNeeded);
    (grant.tokens.expires_at, grant.next) = (ends, Schedule::NEVER);
    grant
}

fn ending(n: usize, now: UnixTime, days: u32) -> Grant {
    let mut grant = many_grants::nth_grant(n, now);
    grant.tokens.refresh_token_expires_at = Some(now + DAY * days);
    grant
}

async fn server_with(grants: impl FnOnce(UnixTime) -> Vec<Grant>) -> (DashboardServer, OperatorBrowser) {
    let server = DashboardServer::new_https().await;
    keep(&server, grants(server.clock.now())).await;
    let browser = server.sign_in_operator("op").await;
    (server, browser)
}

/// The numbers of the persons in the list of needed consents.
fn needy(page: &str) -> Vec<usize> {
    let list = between(page, "id=\"needs\"", "</section>");
    let ids = list.split("data-person=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    ids.map(|id| usize::from_str_radix(&id[id.len() - 8..], 16).unwrap()).collect()
}

#[tokio::test]
async fn people_who_need_consent_come_first_with_a_link_and_an_invitation_text() {
    let (_world, mut browser) = server_with(|now| {
        vec![
            many_grants::nth_grant(0, now),
            ending(1, now, 20),
            with_consent_needed(2, now, now + DAY * 5),
            ending(4, now, 31),
            with_consent_needed(6, now, now - DAY),
            ending(8, now, 2),
        ]
    })
    .await;
    let page = browser.get("/dashboard").await.text;
    assert_eq!(needy(&page), [6, 2, 8, 1], "without access first, then by the time left");
    assert!(place(&page, "id=\"needs\"") < place(&page, "id=\"rows\""));
    assert!(page.contains("<h1 id=\"answer\">2 people must consent</h1>"), "{page}");
    let list = between(&page, "id=\"needs\"", "</section>");
    assert_eq!(list.matches(">Copy link<").count(), 4);
    assert_eq!(list.matches(">Copy invitation<").count(), 4);
    assert_eq!(list.matches("href=\"mailto:").count(), 4);
    let first = between(list, "data-person", "</li>");
    assert!(first.contains("Access ended 1d ago"), "{first}");
    let link = "https://tokens.example.com/webex/oauth?person=mary.6%40example.com";
    assert!(first.contains(&format!("data-copy=\"{link}\"")), "{first}");
    let text = between(between(first, "<textarea", "</textarea>"), ">Hello", "\0");
    assert!(text.contains("Hello Mary Lovelace,") && text.contains(link), "{text}");
    assert!(text.contains("as mary.6@example.com"), "{text}");
    let mail = between(first, "href=\"mailto:", "\"");
    assert!(mail.starts_with("href=\"mailto:mary.6%40example.com?subject=") && !mail.contains('+'), "{mail}");
    assert!(mail.contains("Hello%20Mary%20Lovelace%2C%0D%0A"), "{mail}");
    let soon = list.split("data-person").nth(3).unwrap();
    assert!(soon.contains("Consent ends in 2d"), "{soon}");
}

#[tokio::test]
async fn counts_are_filters_and_only_problems_are_highlighted() {
    let (server, mut browser) = server_with_people(120).await;
    let page = browser.get("/dashboard").await.text;
    let tiles: [(&str, usize, &[usize]); 4] = [
        ("consent_needed", 1, &[9]),
        ("consent_ending", 2, &[5, 105]),
        ("retrying", 2, &[7, 107]),
        ("working", 117, &[]),
    ];
    for (tile, count, expected) in tiles {
        let item = between(&page, &format!("id=\"tile-{tile}\""), "</li>");
        assert!(item.contains(&format!("class=\"number\">{count}<")), "{item}");
        assert!(!item.contains("zero"), "{item}");
        let query = format!("/dashboard?state={tile}");
        assert!(item.contains(&format!("href=\"/webex{}\"", browser.path(&query))), "{item}");
        let found = rows(&browser.get(&query).await.text);
        if expected.is_empty() {
            assert!(found.len() == 50 && found.iter().all(|n| ![7, 9].contains(&(n % 100))), "{found:?}");
        } else {
            assert_eq!(found, expected, "{tile}");
        }
    }
    for n in [5, 7, 9, 105, 107] {
        let id = many_grants::nth_grant(n, server.clock.now()).person.id;
        server.services.refresher.forget(&id).await.unwrap();
    }
    let quiet = browser.get("/dashboard").await.text;
    assert!(quiet.contains("<h1 id=\"answer\">All 115 people have access</h1>"), "{quiet}");
    for tile in ["consent_needed", "consent_ending", "retrying"] {
        assert!(quiet.contains(&format!("id=\"tile-{tile}\" class=\"tile zero\"")), "{quiet}");
    }
    assert!(!quiet.contains("id=\"needs\"") && !quiet.contains("class=\"note"), "{quiet}");
    assert!(!quiet.contains("<svg"), "an avatar is not useful to an operator here");
}

#[tokio::test]
async fn a_pause_of_refreshes_is_shown_first_with_advice() {
    let (server, mut browser) = server_with_people(20).await;
    let csrf = browser.get("/dashboard").await.csrf();
    for n in 10..20 {
        let id = many_grants::nth_grant(n, server.clock.now()).person.id;
        browser.post("/dashboard/refresh", &[("id", id.as_str()), ("csrf", &csrf)]).await;
        server.clock.advance(Duration::from_secs(60));
    }
    assert!(server.services.refresher.pause().is_some());
    let page = browser.get("/dashboard").await.text;
    let note = between(&page, "id=\"pause\"", "</p>");
    assert!(note.contains("class=\"note bad\"") && note.contains("All refreshes are paused."), "{note}");
    assert!(note.contains("Webex or the network has a problem"), "{note}");
    assert!(place(&page, "id=\"pause\"") < place(&page, "id=\"tile-all\""));
    for word in JARGON {
        assert!(!words(&page).contains(word), "{word:?} in {}", words(&page));
    }
}

#[tokio::test]
async fn the_dashboard_uses_no_internal_terms() {
    let (server, mut browser) = server_with_people(120).await;
    let now = server.clock.now();
    let mut lacking = many_grants::nth_grant(11, now);
    lacking.tokens.scope = Some("spark:kms".to_owned());
    keep(&server, [lacking]).await;
    let mut pages = vec![
        browser.get("/dashboard/nothing").await,
        server.browser().get("/dashboard/sign-in?ended").await,
        server.browser().get("/dashboard/open?link=x").await,
    ];
    for query in ["", "?state=working", "?state=retrying", "?state=consent_needed", "?q=ada", "?q=xyz"] {
        pages.push(browser.get(&format!("/dashboard{query}")).await);
    }
    for n in [0, 3, 5, 7, 9, 11] {
        let id = many_grants::nth_grant(n, now).person.id;
        pages.push(browser.get(&format!("/dashboard/person?id={id}")).await);
        pages.push(browser.get(&format!("/dashboard/forget?id={id}")).await);
        for done in ["renewed", "unchanged", "skipped", "failed", "consent_needed", "unavailable", "unknown"]
        {
            pages.push(browser.get(&format!("/dashboard?done={done}&who={id}")).await);
        }
    }
    let (_, link) = server.link().await;
    let (_, link) = link["url"].as_str().unwrap().split_once('?').unwrap();
    let mut terminal = server.browser();
    pages.push(terminal.get(&format!("/dashboard/open?{link}")).await);
    for page in pages {
        let words = words(&page.text);
        for word in JARGON {
            assert!(!words.contains(word), "{word:?} in {words}");
        }
    }
}

#[tokio::test]
async fn a_session_from_a_link_is_labelled_as_opened_from_the_terminal() {
    let server = DashboardServer::new_https().await;
    let (_, link) = server.link().await;
    let (_, id) = link["url"].as_str().unwrap().split_once("?link=").unwrap();
    let mut browser = server.browser();
    browser.post("/dashboard/open", &[("link", id), ("code", link["code"].as_str().unwrap())]).await;
    let page = browser.get("/dashboard").await.text;
    assert!(page.contains("<strong id=\"name\">the terminal</strong>"), "{page}");
    assert!(!words(&page).contains("control socket"), "{page}");
}

#[tokio::test]
async fn a_grant_that_needs_consent_shows_no_other_expiry() {
    let (server, mut browser) = server_with(|now| vec![with_consent_needed(2, now, now + DAY * 5)]).await;
    let id = many_grants::nth_grant(2, server.clock.now()).person.id;
    for path in [
        "/dashboard".to_owned(),
        "/dashboard?q=katherine".to_owned(),
        "/dashboard?state=consent_needed".to_owned(),
        format!("/dashboard/person?id={id}"),
    ] {
        let page = browser.get(&path).await.text;
        let said = words(&page);
        assert!(!said.contains("in 89d") && !said.contains("in 90d"), "{path}: {said}");
        assert!(said.contains("access ends in 5d"), "{path}: {said}");
    }
}

#[tokio::test]
async fn after_forgetting_the_page_names_the_person() {
    let (server, mut browser) = server_with_people(3).await;
    let person = many_grants::nth_grant(1, server.clock.now()).person;
    let csrf = browser.get("/dashboard").await.csrf();
    let gone = browser.post("/dashboard/forget", &[("id", person.id.as_str()), ("csrf", &csrf)]).await;
    let to = gone.header("location").trim_start_matches("/webex").to_owned();
    assert!(!to.contains("grace"), "{to}");
    for _ in 0..2 {
        let page = browser.get(&to).await.text;
        let said = between(&page, "id=\"said\"", "</p>");
        assert!(said.contains("Grace Lovelace"), "{said}");
        assert!(!said.contains(person.id.as_str()), "{said}");
    }
    // Another session did not forget that person, and sees no name.
    let mut other = server.sign_in_operator("other").await;
    let (_, query) = to.split_once('?').unwrap();
    let page = other.get(&format!("/dashboard?{query}")).await.text;
    assert!(!page.contains("Grace Lovelace"), "{page}");
}

#[tokio::test]
async fn the_logo_links_to_the_dashboard_on_every_page() {
    let (server, mut browser) = server_with_people(3).await;
    let id = many_grants::nth_grant(1, server.clock.now()).person.id;
    let brand = |page: &str| between(page, "class=\"brand\" href=\"", "\">").to_owned();
    let home = format!("class=\"brand\" href=\"/webex{}", browser.path("/dashboard"));
    for path in [
        "/dashboard".to_owned(),
        "/dashboard/nothing".to_owned(),
        "/dashboard/person?id=none".to_owned(),
        format!("/dashboard/person?id={id}"),
        format!("/dashboard/forget?id={id}"),
    ] {
        let page = browser.get(&path).await.text;
        assert_eq!(brand(&page), home, "{path}");
        if page.contains("id=\"problem\"") {
            assert!(page.contains(">Go to the dashboard</a>"), "{page}");
        }
    }
    let refused = browser.post("/dashboard/forget", &[("csrf", "wrong")]).await.text;
    assert_eq!(brand(&refused), home);
    for path in ["/dashboard/sign-in", "/dashboard/open?link=x"] {
        let page = server.browser().get(path).await.text;
        assert_eq!(brand(&page), "class=\"brand\" href=\"/webex/dashboard", "{path}");
    }
}

#[tokio::test]
async fn an_invitation_link_is_shown_for_any_number_of_people() {
    for people in [0, 1, 60] {
        let (_world, mut browser) = server_with_people(people).await;
        let page = browser.get("/dashboard").await.text;
        let invite = between(&page, "id=\"invite\"", "</details>");
        assert!(invite.contains("value=\"https://tokens.example.com/webex/\""), "{people}: {invite}");
        assert!(invite.contains("data-copy=\"https://tokens.example.com/webex/\""), "{people}: {invite}");
        let text = between(invite, "<textarea", "</textarea>");
        assert!(text.contains(">Hello,") && text.contains("\nhttps://tokens.example.com/webex/\n"), "{text}");
    }
}

#[tokio::test]
async fn an_invitation_names_the_operator_the_purpose_and_a_contact() {
    let settings = [
        ("TOKEND_STORE_URL", "memory:"),
        ("TOKEND_OPERATOR", "Example <IT>"),
        ("TOKEND_PURPOSE", "Booking rooms"),
        ("TOKEND_CONTACT", "it@example.com"),
    ];
    let server = DashboardServer::with_settings(HTTPS_REDIRECT_URI, &settings).await;
    let now = server.clock.now();
    let mut nameless = with_consent_needed(2, now, now - DAY);
    nameless.person.display_name = Some("Line\nbreak".to_owned());
    nameless.person.email = Email::parse("o'neil+x@example.com").ok();
    keep(&server, [nameless]).await;
    let mut browser = server.sign_in_operator("op").await;
    let page = browser.get("/dashboard").await.text;
    for section in
        [between(&page, "id=\"needs\"", "</section>"), between(&page, "id=\"invite\"", "</details>")]
    {
        let text = between(section, "<textarea", "</textarea>");
        for part in ["Example &#60;IT&#62;", "Booking rooms", "it@example.com", "Hello,\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert!(page.contains("href=\"mailto:o%27neil%2Bx%40example.com?"), "{page}");
}

#[tokio::test]
async fn a_persons_page_shows_the_link_to_send_first_and_ids_last() {
    let (server, mut browser) = server_with_people(10).await;
    for n in [0, 7, 9] {
        let person = many_grants::nth_grant(n, server.clock.now()).person;
        let page = browser.get(&format!("/dashboard/person?id={}", person.id)).await.text;
        let name = place(&page, "<h1 id=\"person\"");
        let link = place(&page, "id=\"link\"");
        let invitation = place(&page, "id=\"invitation\"");
        let facts = place(&page, "class=\"facts\"");
        let shown_id = place(&page, &format!("<code>{}</code>", person.id));
        assert!(name < link && link < invitation && invitation < facts && facts < shown_id, "{page}");
        let behind = page.get(shown_id..).unwrap();
        assert!(!behind.contains("<form") && !behind.contains("<h2"), "{behind}");
        assert!(place(behind, "Organization") < place(behind, "</main>"), "{behind}");
    }
}

#[tokio::test]
async fn the_sign_in_page_explains_how_to_get_a_key() {
    let server = DashboardServer::new_https().await;
    let page = server.browser().get("/dashboard/sign-in").await.text;
    assert!(page.contains("<code>webex-tokend key create NAME --can admin</code>"), "{page}");
    assert!(page.contains("<code>webex-tokend dashboard</code>"), "{page}");
}

#[tokio::test]
async fn with_many_consents_needed_the_first_page_shows_the_most_urgent_and_links_to_all() {
    let (_world, mut browser) = server_with(|now| {
        let needed = (0..70).map(|n| with_consent_needed(n, now, now + DAY * (70 - n as u32)));
        needed.chain((70..130).map(|n| ending(n, now, 1 + n as u32 % 29))).collect()
    })
    .await;
    let page = browser.get("/dashboard").await.text;
    let shown = needy(&page);
    assert_eq!(shown.len(), 20);
    assert_eq!(shown[..10], [69, 68, 67, 66, 65, 64, 63, 62, 61, 60]);
    for (id, said, all) in [("consent_needed", "All 70", 70), ("consent_ending", "All 60", 60)] {
        let more = between(&page, &format!("id=\"more-{id}\""), "</a>");
        assert!(more.contains(said) && more.contains(&format!("?state={id}\"")), "{more}");
        let first = browser.get(&format!("/dashboard?state={id}")).await.text;
        assert_eq!(rows(&first).len(), 50);
        let (_, next) = first.split_once("id=\"next\"").unwrap();
        let next = between(next, "href=\"", "\">").trim_start_matches("href=\"").replace("&#38;", "&");
        let second = browser.get(next.trim_start_matches("/webex")).await.text;
        assert_eq!(rows(&first).len() + rows(&second).len(), all);
    }
}

#[tokio::test]
async fn a_person_who_lacks_a_requested_scope_is_shown_with_a_consent_link() {
    let server = DashboardServer::with_settings(
        HTTPS_REDIRECT_URI,
        &[("TOKEND_STORE_URL", "memory:"), ("MY_APP_SCOPES", "spark:all spark:kms")],
    )
    .await;
    let mut lacking = many_grants::nth_grant(0, server.clock.now());
    lacking.tokens.scope = Some("spark:kms".to_owned());
    let id = lacking.person.id.clone();
    keep(&server, [lacking, many_grants::nth_grant(1, server.clock.now())]).await;
    let mut browser = server.sign_in_operator("op").await;
    let list = browser.get("/dashboard").await.text;
    let rows: Vec<&str> = list.split("data-person").collect();
    assert!(rows[1].contains("spark:all") && rows[1].contains("Copy link"), "{}", rows[1]);
    assert!(!rows[2].contains("spark:all") && !rows[2].contains("Copy link"), "{}", rows[2]);
    let page = browser.get(&format!("/dashboard/person?id={id}")).await.text;
    assert!(words(&page).contains("the consent lacks spark:all"), "{}", words(&page));
}
