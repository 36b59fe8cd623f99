//! The owner of a token in responses of `people/me`.

use super::*;

const BASE: &str = "https://webexapis.com/v1";

fn met(body: &str) -> Person {
    owner(&raw(200, body), BASE).unwrap().person
}

fn unknown(status: u16, body: &str) -> OwnerUnknown {
    owner(&raw(status, body), BASE).unwrap_err()
}

#[test]
fn a_person_is_read() {
    let ada = met(r#"{"id":"Y2lz1","emails":["Ada@Example.com","b@example.com"],"displayName":" Ada L. ",
            "orgId":"Y2lzORG","created":"2015","status":"active","type":"person"}"#);
    assert_eq!(ada.id.as_str(), "Y2lz1");
    assert_eq!(ada.email.unwrap().as_str(), "ada@example.com");
    assert_eq!(ada.display_name.as_deref(), Some("Ada L."));
    assert_eq!(ada.org_id.as_deref(), Some("Y2lzORG"));
}

#[test]
fn a_picture_is_accepted_only_from_webex() {
    let at = |avatar: &str| {
        let body = format!(r#"{{"id":"1","avatar":{avatar}}}"#);
        owner(&raw(200, &body), BASE).unwrap().picture.map(|picture| picture.address)
    };
    let webexs = "https://avatar.webexcontent.com/a~80";
    assert_eq!(at(&format!("{webexs:?}")).as_deref(), Some(webexs));
    for other in ["null", "7", r#""""#, r#""https://example.com/a""#, r#""avatar.png""#] {
        assert_eq!(at(other), None, "{other}");
    }
}

#[test]
fn every_field_but_the_id_may_be_missing_or_invalid() {
    for body in [
        r#"{"id":"Y2lz1"}"#,
        r#"{"id":"Y2lz1","emails":[],"displayName":"","orgId":""}"#,
        r#"{"id":"Y2lz1","emails":"a@b","displayName":7,"orgId":null}"#,
        r#"{"id":"Y2lz1","emails":[null,"no address"],"displayName":"\n\t"}"#,
    ] {
        assert_eq!(met(body), Person::known_by(PersonId::parse("Y2lz1").unwrap()), "{body}");
    }
}

#[test]
fn the_first_valid_address_is_used_and_a_name_is_one_line() {
    let odd = met(r#"{"id":"1","emails":[7,"no address","c@d"],"displayName":"A\nB\u0000"}"#);
    assert_eq!(odd.email.unwrap().as_str(), "c@d");
    assert_eq!(odd.display_name.as_deref(), Some("AB"));
    let long = met(&format!(r#"{{"id":"1","displayName":"{}"}}"#, "é".repeat(1000)));
    assert_eq!(long.display_name.unwrap().chars().count(), SHOWN_MAX);
}

#[test]
fn a_response_without_a_person_is_final_and_an_unreadable_one_is_not() {
    for body in ["{}", "[]", r#"{"id":""}"#, r#"{"id":7}"#, r#"{"id":"two words"}"#] {
        assert!(!unknown(200, body).transient, "{body}");
    }
    assert!(unknown(200, "<html>").transient);
    assert!(unknown(200, r#"{"id":"Y2l"#).transient);
}

#[test]
fn a_rejection_has_its_text_and_says_whether_to_retry() {
    for status in [408, 423, 429, 500, 502, 503, 504] {
        assert!(unknown(status, "").transient, "{status}");
    }
    for status in [204, 400, 401, 403, 404] {
        assert!(!unknown(status, "").transient, "{status}");
    }
    // A portal or a proxy answers, which says nothing about the token.
    for (status, body) in [(302, ""), (401, "<html>"), (403, "blocked"), (404, "<html>"), (407, "<html>")] {
        let unknown = unknown(status, body);
        assert!(unknown.transient && !unknown.is_dead() && !unknown.is_forbidden(), "{status}");
    }
    let forbidden = unknown(403, r#"{"message":"Invalid access token","trackingId":"ROUTER_9"}"#);
    assert_eq!(forbidden.why, "HTTP 403: Invalid access token");
    assert_eq!(forbidden.tracking_id.as_deref(), Some("ROUTER_9"));
}
