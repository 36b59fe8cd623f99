//! Requests a live token from the daemon over its control socket, and asks Webex for its owner. Prints no
//! token.
//!
//! ```text
//! TOKEND_CONTROL_SOCKET=/run/webex-tokend/control.sock cargo run --example live_token -- ada@example.com
//! ```

#![expect(clippy::print_stdout, reason = "the example prints its result")]
#![expect(clippy::disallowed_methods, reason = "an example has no settings of its own to read")]

use std::error::Error;
use std::time::Duration;

use reqwest::Client;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use serde::Deserialize;

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// The daemon's error (RFC 9457); `detail` says what to do.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    display_name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // With the default features of reqwest this line is not needed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let person = std::env::args().nth(1).ok_or("whose token? name a person by id or e-mail address")?;
    let socket = std::env::var("TOKEND_CONTROL_SOCKET")?;
    let webex = std::env::var("WEBEX_API_BASE_URL").unwrap_or_else(|_| "https://webexapis.com/v1".to_owned());
    let tokend = Client::builder().unix_socket(socket).timeout(Duration::from_secs(120)).build()?;

    let token = live_token(&tokend, &person).await?;
    let me = Client::new().get(format!("{webex}/people/me")).bearer_auth(token).send().await?;
    let me: Person = me.error_for_status()?.json().await?;
    println!("{}", me.display_name);
    Ok(())
}

/// Requests the token whenever it is needed. Do not store it: the daemon refreshes it in time.
async fn live_token(tokend: &Client, person: &str) -> Result<String, Box<dyn Error>> {
    // A Unix socket ignores the host name.
    let url = format!("http://localhost/api/v1/people/{person}/token?min_ttl=60");
    loop {
        let answer = tokend.get(&url).send().await?;
        let status = answer.status();
        let wait = answer.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
        match (status, wait) {
            (StatusCode::OK, _) => return Ok(answer.json::<Token>().await?.access_token),
            // There is no live token at the moment, for example because Webex does not answer.
            (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, Some(wait)) => {
                tokio::time::sleep(Duration::from_secs(wait)).await;
            }
            _ => return Err(answer.json::<Problem>().await?.detail.into()),
        }
    }
}
