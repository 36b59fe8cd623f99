//! The HTTP clients for Webex and for the receiver of webhooks.

use std::path::PathBuf;

use crate::config::Config;
use crate::http::server::certificate::read_pem;
use crate::services::build_error::BuildError;
use crate::webex::transport::HttpTransport;

/// The client for Webex.
pub(super) fn transport(config: &Config) -> Result<HttpTransport, BuildError> {
    client(config, is_plain(&config.integration.base))
}

/// The client for the receiver of webhooks: the one for Webex, unless only one of the two is reached by plain HTTP.
pub(super) fn webhook_transport(config: &Config, webex: &HttpTransport) -> Result<HttpTransport, BuildError> {
    match &config.notices.webhook {
        Some(webhook) if is_plain(webhook.url.expose()) != is_plain(&config.integration.base) => {
            client(config, is_plain(webhook.url.expose()))
        }
        _ => Ok(webex.clone()),
    }
}

fn is_plain(url: &str) -> bool {
    url.starts_with("http:")
}

fn client(config: &Config, plain: bool) -> Result<HttpTransport, BuildError> {
    let read =
        |path: &PathBuf| read_pem(path).map_err(|e| BuildError::File("WEBEX_CA_FILE", path.clone(), e));
    let roots = config.ca_file.as_ref().map(read).transpose()?;
    let roots = roots.as_ref().map(|pem| pem.as_slice());
    Ok(HttpTransport::new(&config.user_agent, roots, plain, config.proxy.as_ref())?)
}
