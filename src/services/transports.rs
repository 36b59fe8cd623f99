//! The HTTP clients for Webex and for the receiver of webhooks.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::config::Config;
use crate::http::server::certificate::read_pem;
use crate::services::build_error::BuildError;
use crate::webex::transport::HttpTransport;

/// The way to Webex.
pub(super) fn transport(config: &Config) -> Result<HttpTransport, BuildError> {
    let roots = roots(config)?;
    let roots = roots.as_ref().map(|pem| pem.as_slice());
    let plain = config.integration.base.starts_with("http:");
    Ok(HttpTransport::new(&config.user_agent, roots, plain, config.proxy.as_ref())?)
}

/// A way to the receiver of webhooks, which need not be where Webex is.
pub(super) fn webhook_transport(config: &Config) -> Result<HttpTransport, BuildError> {
    let roots = roots(config)?;
    let roots = roots.as_ref().map(|pem| pem.as_slice());
    let webhook = config.notices.webhook.as_ref();
    let plain = webhook.is_some_and(|webhook| webhook.url.expose().starts_with("http:"));
    // Without a receiver nothing is sent, and no roots need be there.
    let unused = webhook.is_none();
    Ok(HttpTransport::new(&config.user_agent, roots, plain || unused, config.proxy.as_ref())?)
}

fn roots(config: &Config) -> Result<Option<Zeroizing<Vec<u8>>>, BuildError> {
    let read =
        |path: &PathBuf| read_pem(path).map_err(|e| BuildError::File("WEBEX_CA_FILE", path.clone(), e));
    config.ca_file.as_ref().map(read).transpose()
}
