//! Tests of the table of replies, with Webex's exact texts where they are known (webex-api, "Errors").

use super::*;

fn held() -> Secret {
    Secret::new("held-access".to_owned())
}

fn granted(access_token: &str) -> Verdict {
    let issued = TokenSet {
        access_token: Secret::new(access_token.to_owned()),
        refresh_token: None,
        expires_in: Duration::from_secs(60),
        refresh_token_expires_in: None,
        token_type: None,
        scope: None,
    };
    Verdict::from_response(TokenResponse::Granted(issued), &held())
}

fn refused(status: u16, text: &str) -> Verdict {
    let fact = TokenResponse::Refused { status, text: text.to_owned(), shown: format!("shown of {status}") };
    Verdict::from_response(fact, &held())
}

/// Asserts that each row of (status, error text) has the same outcome.
fn assert_all(outcome: Outcome, rows: &[(u16, &str)]) {
    for (status, text) in rows {
        assert_eq!(refused(*status, text).outcome(), outcome, "{status} {text:?}");
    }
}

#[test]
fn a_new_access_token_is_renewed_and_the_held_one_is_unchanged() {
    assert_eq!(granted("another").outcome(), Outcome::Renewed);
    assert_eq!(granted("held-access").outcome(), Outcome::Unchanged);
    assert_eq!(granted("Held-Access").outcome(), Outcome::Renewed, "tokens are case-sensitive");
}

#[test]
fn only_a_refused_refresh_token_or_scope_ends_a_consent() {
    assert_all(
        Outcome::ConsentNeeded,
        &[
            (400, "invalid_request The refresh token provided is expired, revoked, malformed, or invalid."),
            (400, "The refresh token provided is expired"),
            (400, "THE REFRESH TOKEN PROVIDED IS EXPIRED"),
            (400, "The requested scope is invalid"),
            (400, "invalid_scope"),
            (400, "invalid_grant"),
            (400, "Invalid_Grant"),
            (400, "invalid_refresh_token"),
            (400, "POST failed: HTTP/1.1 400 Bad Request (url = https://idbroker, error = 'invalid_grant')"),
        ],
    );
}

#[test]
fn a_refused_client_ends_no_consent() {
    assert_all(
        Outcome::ClientRefused,
        &[
            (401, ""),
            (401, "The request requires a valid access token set in the Authorization request header."),
            (401, "invalid_client"),
            (401, "invalid_grant The refresh token provided is expired, revoked, malformed, or invalid."),
            (400, "invalid_client"),
            (400, "INVALID_CLIENT"),
            (400, "unauthorized_client"),
            (403, "unauthorized_client"),
            (400, "invalid_client while the refresh token was looked up"),
            (
                400,
                "The request could not be understood by the server due to malformed syntax. Client Id is invalid",
            ),
        ],
    );
}

#[test]
fn the_token_limit_has_its_own_verdict_and_its_own_text() {
    assert_all(
        Outcome::TokenLimit,
        &[
            (400, "tokenlimit_reached"),
            (400, "TokenLimit_Reached"),
            (400, "invalid_request tokenlimit_reached for this refresh token"),
            (403, "tokenlimit_reached"),
        ],
    );
    assert!(refused(400, "tokenlimit_reached").detail().contains("https://idbroker.webex.com/idb/profile"));
}

#[test]
fn the_statuses_423_and_429_mean_busy_whatever_the_text() {
    assert_all(
        Outcome::Busy,
        &[(429, ""), (423, ""), (429, "invalid_grant"), (423, "temporarily unavailable")],
    );
}

#[test]
fn every_other_reply_is_transient() {
    assert_all(
        Outcome::Transient,
        &[
            (400, ""),
            (400, "invalid_request"),
            (400, "Invalid access token"),
            (400, "unsupported_grant_type"),
            (400, "unsupported_grant_type: refresh_token is not supported"),
            (400, "access_denied"),
            (400, "authorization_pending"),
            (400, "slow_down"),
            (400, "something new"),
            (403, ""),
            (403, "Failed to get activity."),
            (403, "invalid_grant"),
            (404, "invalid_grant"),
            (405, ""),
            (407, "proxy authentication required"),
            (408, ""),
            (410, "the refresh token is gone"),
            (302, ""),
            (201, ""),
            (304, ""),
            (500, "invalid_grant"),
            (502, "invalid response from an upstream"),
            (503, "overloaded, the refresh token could not be read"),
            (504, "invalid_client"),
            (599, ""),
            (0, ""),
        ],
    );
}

#[test]
fn a_missing_or_unreadable_reply_is_transient() {
    for fact in [
        TokenResponse::Unreadable("invalid_grant".to_owned()),
        TokenResponse::Unreachable("invalid_client".to_owned()),
    ] {
        assert_eq!(Verdict::from_response(fact, &held()).outcome(), Outcome::Transient);
    }
}

#[test]
fn only_the_text_for_display_becomes_the_detail() {
    for (status, text) in [(400, "invalid_grant"), (401, ""), (429, ""), (500, ""), (404, "")] {
        assert_eq!(refused(status, text).detail(), format!("shown of {status}"));
    }
    assert_eq!(granted("another").detail(), "");
    assert_eq!(granted("held-access").detail(), "");
}

#[test]
fn outcome_names_round_trip() {
    for outcome in Outcome::VARIANTS {
        assert_eq!(outcome.to_string(), outcome.as_str());
        assert_eq!(Outcome::parse(outcome.as_str()), Some(*outcome));
    }
    assert_eq!(Outcome::ConsentNeeded.as_str(), "consent_needed");
    for unknown in ["", "Renewed", "renewed ", "dead"] {
        assert_eq!(Outcome::parse(unknown), None, "{unknown:?}");
    }
}

#[test]
fn a_verdict_prints_no_token() {
    assert!(!format!("{:?}", granted("s3cr3t-access")).contains("s3cr3t"));
}
