//! The persons who may consent, and the operator.

use super::*;
use crate::domain::operator::Contact;

#[test]
fn every_invalid_item_of_the_allow_list_is_named() {
    assert!(read([]).allow.is_none(), "every person");
    assert!(read([("TOKEND_ALLOW", "ada@example.com, @example.org")]).allow.is_some());
    let bad = errors(&with([("TOKEND_ALLOW", "ada@example.com,example.org,@,1234")]));
    let found: Vec<_> = bad.iter().map(|error| error.found.as_str()).collect();
    assert_eq!(found, [r#"the item "example.org""#, r#"the item "@""#, r#"the item "1234""#]);
    assert!(bad.iter().all(|error| error.variable == "TOKEND_ALLOW"), "{bad:?}");
    assert_eq!(wrong([("TOKEND_ALLOW", ",")]), ["TOKEND_ALLOW"], "a list that allows no person is a mistake");
}

#[test]
fn settings_about_the_operator_are_bounded_and_one_line() {
    let config = read([
        ("TOKEND_OPERATOR", "Example Ltd"),
        ("TOKEND_CONTACT", "https://example.com/help"),
        ("TOKEND_PURPOSE", "Weekly reports"),
    ]);
    let operator = config.http.operator;
    assert_eq!(operator.name.as_deref(), Some("Example Ltd"));
    assert_eq!(operator.contact, Some(Contact::Page("https://example.com/help".to_owned())));
    assert_eq!(operator.purpose.as_deref(), Some("Weekly reports"));
    let long = "x".repeat(501);
    for (name, value) in [
        ("TOKEND_OPERATOR", &long[..101]),
        ("TOKEND_OPERATOR", "a\nb"),
        ("TOKEND_PURPOSE", &long),
        ("TOKEND_CONTACT", "javascript:alert(1)"),
        ("TOKEND_CONTACT", "call me"),
    ] {
        assert_eq!(wrong([(name, value)]), [name], "{value:?}");
    }
}

#[test]
fn plain_http_that_other_machines_reach_causes_a_warning() {
    let told = |settings: &[(&'static str, &'static str)]| {
        let mut source = with([("TOKEND_ALLOW", "@example.com")]);
        source.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Config::read(&source).unwrap().warnings
    };
    let (bind, plain) = (("TOKEND_BIND", "0.0.0.0"), ("MY_APP_REDIRECT_URI", "http://localhost:8000/oauth"));
    let warnings = told(&[plain, bind]);
    assert!(
        matches!(&*warnings, [one] if one.contains("plain HTTP is served at 0.0.0.0:8000")),
        "{warnings:?}"
    );
    for settings in [vec![plain], vec![bind]] {
        assert_eq!(told(&settings), [""; 0], "{settings:?}");
    }
}

#[test]
fn a_redirect_uri_that_other_machines_reach_without_an_allow_list_causes_a_warning() {
    let open = ("MY_APP_REDIRECT_URI", "https://tokens.example.com/oauth");
    let warnings = read([open]).warnings.concat();
    assert!(
        warnings.contains("every person with a Webex account may consent at tokens.example.com"),
        "{warnings}"
    );
    assert!(warnings.contains("TOKEND_ALLOW"), "{warnings}");
    let wide = read([("TOKEND_BIND", "127.0.0.1,0.0.0.0:9000")]).warnings.concat();
    assert!(wide.contains("may consent at 0.0.0.0:9000:"), "{wide}");
    let here = ("TOKEND_BIND", "127.0.0.2,::1,[::ffff:127.0.0.1]:8001");
    for settings in [vec![], vec![here], vec![open, ("TOKEND_ALLOW", "@example.com")]] {
        let mut source = with([]);
        source.extend(settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(Config::read(&source).unwrap().warnings, [""; 0]);
    }
}
