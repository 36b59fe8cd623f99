//! `token`: prints a live access token and nothing else.

use crate::api_types::Token;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::MinTtlArgs;
use crate::cli::arguments::PersonArgument;
use crate::cli::arguments::TokenArgs;
use crate::cli::arguments::TokenFormat;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;

pub(super) fn run(handle: &mut ApiClient, asked: &TokenArgs) -> Result<(), CommandError> {
    let token = get(handle, &asked.subject, asked.life)?;
    let written = match asked.format {
        TokenFormat::Raw => output::write_line(&token.access_token),
        TokenFormat::Json => output::write_json(&token),
        TokenFormat::Env => {
            output::write_line(&format!("WEBEX_ACCESS_TOKEN={}", quoted(&token.access_token)))
        }
        TokenFormat::Header => output::write_line(&format!("Authorization: Bearer {}", token.access_token)),
    };
    Ok(written?)
}

/// The token. A warning about a shorter lifetime than requested goes to stderr.
pub(super) fn get(
    handle: &mut ApiClient,
    subject: &PersonArgument,
    life: MinTtlArgs,
) -> Result<Token, CommandError> {
    let path = person::path(handle, subject)?;
    of(handle, &path, life)
}

/// The token of the person at `path`.
fn of(handle: &mut ApiClient, path: &str, life: MinTtlArgs) -> Result<Token, CommandError> {
    let asked = life.min_ttl.map(|seconds| format!("?min_ttl={seconds}")).unwrap_or_default();
    let token: Token = handle.get(&format!("{path}/token{asked}"))?;
    // No other character may get into a header, a variable or a line.
    if token.access_token.is_empty() || !token.access_token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CommandError::new(Exit::Failed, "the daemon returned an invalid token; look at its log"));
    }
    if let Some(text) = &token.note {
        print_stderr(&format!("webex-tokend: {}", printable(text)));
    }
    Ok(token)
}

/// Prints the token of the person at `path`, however long it lives: as JSON, or as a block of text.
pub(super) fn print(handle: &mut ApiClient, path: &str, json: bool) -> Result<(), CommandError> {
    let token = of(handle, path, MinTtlArgs { min_ttl: Some(0) })?;
    let written =
        if json { output::write_json(&token) } else { output::write_line(&format::token_block(&token)) };
    Ok(written?)
}

/// Quotes a value for shells and `.env` files, only if necessary.
fn quoted(text: &str) -> String {
    if text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~' | b'+' | b'/' | b'='))
    {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unusual_tokens_are_quoted() {
        assert_eq!(quoted("NmNm-x_PF84_1eb6.a+/="), "NmNm-x_PF84_1eb6.a+/=");
        assert_eq!(quoted("a$b'c"), r"'a$b'\''c'");
    }
}
