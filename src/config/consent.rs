//! The settings about who may consent, and about the operator that the consent pages name.

use crate::config::listen::HttpConfig;
use crate::config::parse::SettingsReader;
use crate::domain::allowed_persons;
use crate::domain::allowed_persons::AllowList;
use crate::domain::host::is_loopback;
use crate::domain::operator::Contact;
use crate::domain::operator::NAME_MAX;
use crate::domain::operator::Operator;
use crate::domain::operator::PURPOSE_MAX;
use crate::domain::operator::is_line;

/// The persons who may consent; `None`: every person. Errors are collected in `reader`.
pub(super) fn allow(reader: &mut SettingsReader<'_>) -> Option<AllowList> {
    let text = reader.text("TOKEND_ALLOW")?;
    match AllowList::parse(text) {
        Ok(allow) if !allow.is_empty() => return Some(allow),
        Ok(_) => reader.wrong("TOKEND_ALLOW", allowed_persons::EXPECTED),
        Err(items) => {
            for item in items {
                let item: String = item.chars().take(100).collect();
                reader.add_error("TOKEND_ALLOW", format!("the item {item:?}"), allowed_persons::EXPECTED);
            }
        }
    }
    None
}

/// The settings about the operator. Errors are collected in `reader`.
pub(super) fn operator(reader: &mut SettingsReader<'_>) -> Operator {
    let name = line(reader, "TOKEND_OPERATOR", NAME_MAX);
    let contact = reader.text("TOKEND_CONTACT").and_then(|text| {
        let contact = Contact::parse(text);
        if contact.is_none() {
            reader.wrong(
                "TOKEND_CONTACT",
                "an e-mail address or an http(s) URL without user name and password",
            );
        }
        contact
    });
    Operator { name, contact, purpose: line(reader, "TOKEND_PURPOSE", PURPOSE_MAX) }
}

fn line(reader: &mut SettingsReader<'_>, variable: &'static str, longest: usize) -> Option<String> {
    let text = reader.text(variable)?;
    let fits = is_line(text, longest);
    if !fits {
        reader.wrong(variable, &format!("one line of at most {longest} printable characters"));
    }
    fits.then(|| text.to_owned())
}

/// A warning about valid settings that are probably a mistake.
pub(super) fn warning(reader: &SettingsReader<'_>, http: Option<&HttpConfig>) -> Option<String> {
    let http = http.filter(|http| reader.text("TOKEND_ALLOW").is_none() && !http.is_local())?;
    let host = http.redirect_uri.host_str().filter(|_| !is_loopback(&http.redirect_uri)).map(str::to_owned);
    let place = host.or_else(|| Some(http.wide_address()?.to_string())).unwrap_or_default();
    Some(format!(
        "every person with a Webex account may consent at {place}: name the addresses, @domains or organization ids that \
         may in TOKEND_ALLOW"
    ))
}
