//! The settings of the token service sample's endpoint: the credentials and networks of its callers.

use crate::config::parse::SettingsReader;
use crate::domain::secret::Secret;
use crate::domain::token_service::Network;
use crate::domain::token_service::TokenService;

/// A passphrase with fewer characters causes a warning.
const SHORT: usize = 16;

/// The endpoint's settings; `None` if it is off or a setting is invalid.
pub(super) fn token_service(reader: &mut SettingsReader<'_>) -> Option<TokenService> {
    let passphrase = Secret::new(reader.text("PASSPHRASE")?.to_owned());
    let org_id = reader.required("ORG_ID", "the organization's id, since PASSPHRASE is set");
    let from =
        reader.required("FROM", "what X-From must be, such as an e-mail address, since PASSPHRASE is set");
    let sources = sources(reader);
    Some(TokenService { org_id: org_id?, from: from?, passphrase, sources: sources? })
}

fn sources(reader: &mut SettingsReader<'_>) -> Option<Vec<Network>> {
    let expected = "IP addresses or networks separated by commas, such as 127.0.0.1,10.0.0.0/8";
    let text = reader.required("SOURCE_IP", &format!("{expected}, since PASSPHRASE is set"))?;
    let words = text.split([',', ' ']).filter(|word| !word.is_empty());
    let sources: Option<Vec<Network>> = words.map(Network::parse).collect();
    let sources = sources.filter(|list| !list.is_empty());
    if sources.is_none() {
        reader.wrong("SOURCE_IP", expected);
    }
    sources
}

/// A warning about valid settings that are probably a mistake.
pub(super) fn warning(service: &TokenService) -> Option<String> {
    let short = service.passphrase.expose().chars().count() < SHORT;
    short.then(|| {
        format!(
            "PASSPHRASE has fewer than {SHORT} characters: use a longer one, because this one can be guessed"
        )
    })
}
