//! Bodies that Webex sends, bodies that it might send, and invalid ones.

mod people;

use proptest::prelude::*;

use super::*;

const SENT: UnixTime = UnixTime(1_795_000_000_000);
/// Texts of Webex that must stay readable for people (webex-api, "Errors").
const TEXTS: [&str; 7] = [
    "The refresh token provided is expired, revoked, malformed, or invalid.",
    "The requested scope is invalid",
    "Invalid access token",
    "The request could not be understood by the server due to malformed syntax.",
    "The request requires a valid access token set in the Authorization request header.",
    "Client Id is invalid",
    "tokenlimit_reached",
];

fn raw(status: u16, body: &str) -> RawResponse {
    RawResponse { status, body: body.as_bytes().to_vec(), ..RawResponse::default() }
}

fn read(raw: &RawResponse) -> TokenReply {
    token_reply(raw, SENT, SENT)
}

fn granted(body: &str) -> TokenSet {
    match read(&raw(200, body)).fact {
        TokenResponse::Granted(issued) => issued,
        other => panic!("{body} is read as {other:?}"),
    }
}

fn unreadable(status: u16, body: &str) -> String {
    match read(&raw(status, body)).fact {
        TokenResponse::Unreadable(why) => why,
        other => panic!("{body} is read as {other:?}"),
    }
}

/// The text for classification, and the text for people.
fn refused(status: u16, body: &str) -> (String, String) {
    match read(&raw(status, body)).fact {
        TokenResponse::Refused { status: same, text, shown } if same == status => (text, shown),
        other => panic!("{body} is read as {other:?}"),
    }
}

fn life_told_as(expires_in: &str) -> u64 {
    granted(&format!(r#"{{"access_token":"a","expires_in":{expires_in}}}"#)).expires_in.as_secs()
}

fn tracked(header: Option<&str>, body: &str) -> Option<String> {
    read(&RawResponse { tracking_id: header.map(str::to_owned), ..raw(400, body) }).tracking_id
}

#[test]
fn a_complete_response_is_read_completely() {
    let issued = granted(
        r#"{"access_token":"ZDI3_PF84_1eb6","expires_in":1209599,"refresh_token":"MDEy_PF84_1eb6",
            "refresh_token_expires_in":7775999,"token_type":"Bearer","scope":"spark:all spark:kms","new":[1]}"#,
    );
    assert_eq!(issued.access_token.expose(), "ZDI3_PF84_1eb6");
    assert_eq!(issued.refresh_token.unwrap().expose(), "MDEy_PF84_1eb6");
    assert_eq!(issued.expires_in, Duration::from_secs(1_209_599));
    assert_eq!(issued.refresh_token_expires_in, Some(Duration::from_secs(7_775_999)));
    assert_eq!(issued.token_type.as_deref(), Some("Bearer"));
    assert_eq!(issued.scope.as_deref(), Some("spark:all spark:kms"));
}

#[test]
fn every_field_but_the_access_token_may_be_missing_or_of_another_type() {
    for body in [
        r#"{"access_token":"a"}"#,
        r#"{"access_token":"a","refresh_token":null,"scope":null,"token_type":null,"refresh_token_expires_in":null}"#,
        r#"{"access_token":"a","refresh_token":"","scope":7,"token_type":[],"refresh_token_expires_in":{}}"#,
        r#"{"access_token":"a","refresh_token":"in\ntwo","token_type":"","refresh_token_expires_in":0}"#,
    ] {
        let issued = granted(body);
        assert_eq!(issued.refresh_token, None, "{body}");
        assert_eq!((issued.scope, issued.token_type), (None, None), "{body}");
        assert_eq!(issued.refresh_token_expires_in, None, "{body}");
        assert_eq!(issued.expires_in, UNTOLD_LIFE, "{body}");
    }
}

#[test]
fn a_lifetime_is_read_from_a_number_or_a_text_and_bounded() {
    for (told, read) in [
        ("43199", 43_199),
        (r#""43199""#, 43_199),
        (r#"" 43199 ""#, 43_199),
        ("43199.9", 43_199),
        ("4.3199e4", 43_199),
        ("1", 1),
        ("0", 0),
        (r#""0""#, 0),
        ("0.5", 0),
        ("18446744073709551615", LONGEST_LIFE),
        ("1e300", LONGEST_LIFE),
    ] {
        assert_eq!(life_told_as(told), read, "{told}");
    }
    for untold in ["-1", "-1e300", r#""""#, r#""soon""#, r#""-5""#, "null", "[]", "true"] {
        assert_eq!(life_told_as(untold), UNTOLD_LIFE.as_secs(), "{untold}");
    }
}

#[test]
fn no_token_is_too_long_or_of_the_wrong_shape() {
    let jwt = format!("eyJ{}.x-_~+/=", "a".repeat(4000));
    assert_eq!(granted(&format!(r#"{{"access_token":"{jwt}"}}"#)).access_token.expose(), jwt);
}

#[test]
fn status_200_without_a_token_is_a_failure() {
    for body in [
        "",
        " ",
        "{}",
        "[]",
        "null",
        "\"a\"",
        r#"{"access_token":"#,
        r#"{"access_token":"a""#,
        r#"{"access_token":null}"#,
        r#"{"access_token":""}"#,
        r#"{"access_token":12}"#,
        r#"{"access_token":"in\ntwo"}"#,
        r#"{"access_token":"with space"}"#,
        r#"{"access_token":"né"}"#,
        r#"{"token":"a"}"#,
        "<html><body>Log in to the hotel's network</body></html>",
    ] {
        assert!(unreadable(200, body).starts_with("HTTP 200 "), "{body}");
    }
}

#[test]
fn an_error_in_a_response_with_status_200_is_shown() {
    let why = unreadable(200, r#"{"error":"invalid_grant"}"#);
    assert_eq!(why, "HTTP 200 without a token: invalid_grant");
}

#[test]
fn an_html_page_with_status_401_does_not_come_from_webex() {
    assert!(unreadable(401, "\n <!DOCTYPE html><p>Log in</p>").contains("HTTP 401"));
    assert_eq!(refused(401, ""), (String::new(), "HTTP 401".to_owned()));
    assert_eq!(refused(429, "<html>"), (String::new(), "HTTP 429".to_owned()));
    for status in [302, 403, 404] {
        let (text, shown) = refused(status, "<html>");
        assert!(text.is_empty() && shown.ends_with("(a captive portal or a proxy?)"), "{shown}");
    }
}

#[test]
fn errors_of_the_api_are_read() {
    let (text, shown) = refused(
        400,
        r#"{"message":"The request could not be understood by the server due to malformed syntax.",
            "errors":[{"description":"Client Id is invalid","errorCode":"E1"},{"errorCode":7},"odd"],
            "trackingId":"ROUTER_1-2"}"#,
    );
    assert_eq!(
        text,
        "The request could not be understood by the server due to malformed syntax.\nClient Id is invalid\nE1"
    );
    assert!(shown.starts_with("HTTP 400: The request could not") && shown.contains(": Client Id is invalid"));
}

#[test]
fn texts_are_not_matched_across_their_boundaries() {
    let (text, _) = refused(400, r#"{"error":"cannot refresh","error_description":"token service is down"}"#);
    assert!(!text.contains("refresh token"), "{text}");
}

#[test]
fn errors_of_the_id_broker_are_read() {
    let (text, shown) = refused(
        400,
        r#"{"error":"invalid_request","trackingID":"IDB_1",
            "error_description":"The refresh token provided is expired, revoked, malformed, or invalid."}"#,
    );
    assert!(text.contains("invalid_request") && text.contains(TEXTS[0]));
    assert_eq!(shown, format!("HTTP 400: invalid_request: {}", TEXTS[0]));
}

#[test]
fn an_error_without_a_readable_body_shows_its_status() {
    for body in ["", "not json", "{", "[]", "{}", r#"{"message":5,"errors":{}}"#] {
        assert_eq!(refused(503, body), (String::new(), "HTTP 503".to_owned()), "{body}");
    }
    for status in [201, 204, 302, 304] {
        assert_eq!(refused(status, r#"{"access_token":"a"}"#).1, format!("HTTP {status}"));
    }
}

#[test]
fn a_repeated_error_text_is_shown_once() {
    let body = r#"{"message":"Invalid access token","errors":[{"description":"Invalid access token"}]}"#;
    assert_eq!(refused(400, body).1, "HTTP 400: Invalid access token");
}

#[test]
fn the_tracking_id_is_taken_from_the_header_first_then_from_either_spelling() {
    let body = r#"{"trackingId":"ROUTER_1-a"}"#;
    assert_eq!(tracked(Some("GTWY_2.b:c"), body).as_deref(), Some("GTWY_2.b:c"));
    assert_eq!(tracked(None, body).as_deref(), Some("ROUTER_1-a"));
    assert_eq!(tracked(None, r#"{"trackingID":"IDB_3"}"#).as_deref(), Some("IDB_3"));
    assert_eq!(tracked(Some(""), body).as_deref(), Some("ROUTER_1-a"));
    assert_eq!(tracked(Some("two words"), body).as_deref(), Some("ROUTER_1-a"));
    for unfit in [r#"{"trackingId":"line\nbreak"}"#, r#"{"trackingId":7}"#, "{}", "<html>"] {
        assert_eq!(tracked(None, unfit), None, "{unfit}");
    }
    assert_eq!(tracked(Some(&"x".repeat(101)), ""), None);
}

#[test]
fn lifetimes_count_from_the_request_and_retry_dates_from_now() {
    let date = "Wed, 18 Nov 2026 11:07:40 GMT";
    let raw = RawResponse { retry_after: Some(date.to_owned()), ..raw(429, "") };
    let reply = token_reply(&raw, SENT - Duration::from_secs(40), SENT);
    assert_eq!(reply.sent_at, SENT - Duration::from_secs(40));
    assert_eq!(reply.retry_after, Some(Duration::from_secs(60)));
}

#[test]
fn retry_after_is_read_leniently() {
    let seconds = |n| Some(Duration::from_secs(n));
    for (text, wait) in [
        ("120", seconds(120)),
        (" 5 ", seconds(5)),
        ("0", seconds(0)),
        ("18446744073709551615", seconds(LONGEST_LIFE)),
        ("Wed, 18 Nov 2026 11:08:40 GMT", seconds(120)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", seconds(0)),
        ("rand(30),add(30)", None),
        ("-1", None),
        ("", None),
        ("1.5", None),
        ("soon", None),
        ("99999999999999999999999999", None),
        ("Wed, 99 Nov 2026 11:08:40 GMT", None),
    ] {
        assert_eq!(retry_after(text, SENT), wait, "{text:?}");
    }
}

#[test]
fn texts_of_webex_stay_readable() {
    for text in TEXTS {
        assert_eq!(show(text), text);
    }
}

#[test]
fn a_token_that_an_error_repeats_is_not_shown() {
    let token = "MDEyYzQ1NjctZDI3ZS00MjM0LTk4N2YtYjZkNGU3ZGY4Y2Q2_PF84_1eb65fdf-9643-417f-9974-ad72cae0e10f";
    for around in ["token TOKEN is invalid", "refresh_token=TOKEN", "\"TOKEN\"", "(TOKEN),", "\u{1b}[1mTOKEN"]
    {
        let body = serde_json::json!({ "message": around.replace("TOKEN", token) }).to_string();
        let (_, shown) = refused(400, &body);
        assert!(!shown.contains("MDEy") && !shown.contains("1eb65fdf") && shown.contains('…'), "{shown}");
    }
}

/// Texts of words, with any characters between, around and inside them.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-zA-Z0-9_.=\"' \n\t\r\u{0}\u{1b}\u{85}\u{2028}\u{202e}-]{0,400}",
        proptest::collection::vec("[A-Za-z0-9_-]{1,110}", 0..20).prop_map(|words| words.join(" ")),
    ]
}

proptest! {
    #[test]
    fn no_bytes_cause_a_panic(status in any::<u16>(), body in any::<Vec<u8>>(), header in any::<Option<String>>()) {
        let raw = RawResponse { status, body, retry_after: header.clone(), tracking_id: header };
        let _ = read(&raw);
        let _ = owner(&RawResponse { status: 200, ..raw }, "https://webexapis.com/v1");
    }

    #[test]
    fn no_json_causes_a_panic_or_a_long_text(status in 100_u16..600, message in any_text(), other in any_text()) {
        let body = serde_json::json!({
            "message": message, "error": other, "errors": [{ "description": other }, message],
            "expires_in": other, "access_token": message, "emails": [other], "id": message,
        });
        let raw = raw(status, &body.to_string());
        let _ = owner(&raw, "https://webexapis.com/v1");
        if let TokenResponse::Refused { shown, .. } = read(&raw).fact {
            prop_assert!(shown.chars().count() <= SHOWN_MAX + "HTTP 400: ".len());
            prop_assert!(shown.split_whitespace().all(|word| word.chars().count() <= WORD_MAX + 1));
        }
    }

    #[test]
    fn a_shown_text_is_one_short_line_without_long_words(text in any_text()) {
        let shown = show(&text);
        prop_assert!(shown.chars().count() <= 200);
        prop_assert!(!shown.chars().any(char::is_control));
        prop_assert!(shown.lines().count() <= 1);
        prop_assert!(shown.split_whitespace().all(|word| word.chars().count() <= 30), "{shown:?}");
        prop_assert_eq!(shown.trim(), shown.as_str());
    }

    #[test]
    fn no_wait_exceeds_the_longest_lifetime(text in any::<String>(), seconds in any::<u64>()) {
        let longest = Duration::from_secs(LONGEST_LIFE);
        prop_assert!(retry_after(&seconds.to_string(), SENT).unwrap() <= longest);
        let _ = retry_after(&text, SENT);
    }
}

#[test]
fn a_device_code_is_polled_neither_too_often_nor_too_rarely() {
    let read = |more: &str| {
        let body = format!(
            "{{\"device_code\":\"d\",\"user_code\":\"1\",\"verification_uri\":\"https://webex.example/\"{more}}}"
        );
        let code = device_code(&raw(200, &body)).unwrap();
        (code.interval.as_secs(), code.expires_in.as_secs())
    };
    assert_eq!(read(""), (5, 300), "missing");
    assert_eq!(read(",\"interval\":0,\"expires_in\":0"), (5, 300), "no times");
    assert_eq!(read(",\"interval\":0.5,\"expires_in\":10"), (5, 10));
    assert_eq!(read(",\"interval\":7,\"expires_in\":600"), (7, 600));
    assert_eq!(read(",\"interval\":999999999,\"expires_in\":999999999"), (60, 1800), "bounded");
}
