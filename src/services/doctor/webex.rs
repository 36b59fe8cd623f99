//! Checks that Webex answers, that it accepts the client id and secret, and that the clock agrees with
//! Webex's.

use std::sync::Arc;

use crate::api_types::Finding;
use crate::api_types::FindingStatus;
use crate::clock::Clock as _;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::domain::time::human_duration;
use crate::domain::verdict::ClientVerdict;
use crate::domain::verdict::client_refused;
use crate::services::transports::transport;
use crate::webex;
use crate::webex::Webex;
use crate::webex::transport::HttpTransport;

/// A smaller difference may come from network latency.
const CLOCK_WARN_SECONDS: u64 = 60;

/// From this difference on, the daemon misjudges which tokens are still valid.
const CLOCK_BAD_SECONDS: u64 = 600;

pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let base = &config.integration.base;
    let finding = |mark, says: String| Finding::new(mark, "webex", says);
    let transport = match transport(config) {
        Ok(transport) => transport,
        Err(e) => return vec![finding(FindingStatus::Bad, e.to_string())],
    };
    let knocked = match webex::ping(base, &transport).await {
        Ok(knocked) => knocked,
        Err(e) => {
            let says = format!("{base} cannot be reached: {e}; check the network, proxies and WEBEX_CA_FILE");
            return vec![finding(FindingStatus::Unreachable, says)];
        }
    };
    let answers = match knocked.status {
        401 => finding(FindingStatus::Ok, format!("{base} answers")),
        status => {
            let says = format!(
                "{base} answers with status {status} where 401 was expected; is it Webex (WEBEX_API_BASE_URL, a proxy)?"
            );
            finding(FindingStatus::Warn, says)
        }
    };
    let now = SystemClock.now().seconds();
    vec![answers, client(config, transport).await, clock(knocked.date.as_deref(), now)]
}

async fn client(config: &Config, transport: HttpTransport) -> Finding {
    let webex = Webex::new(config.integration.clone(), Arc::new(transport), Arc::new(SystemClock));
    let (mark, says) = match webex.check_client().await {
        ClientVerdict::Known => {
            (FindingStatus::Ok, "Webex accepts MY_APP_CLIENT_ID and MY_APP_SECRET_ID".to_owned())
        }
        ClientVerdict::Refused(why) => (FindingStatus::Bad, client_refused(&why)),
        ClientVerdict::Unclear(why) => (
            FindingStatus::Warn,
            format!(
                "Webex did not say whether it accepts the client id and the secret ({why}); try again later"
            ),
        ),
    };
    Finding::new(mark, "client", says)
}

fn clock(date: Option<&str>, now: i64) -> Finding {
    let finding = |mark, says: String| Finding::new(mark, "clock", says);
    let theirs = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let Some(theirs) = theirs else {
        return finding(
            FindingStatus::Warn,
            "Webex's answer has no date, so the clock cannot be checked".to_owned(),
        );
    };
    let off = now - theirs.timestamp().as_second();
    let direction = if off > 0 { "ahead of" } else { "behind" };
    let off = off.unsigned_abs();
    let says = format!("{} {direction} Webex's", human_duration(std::time::Duration::from_secs(off)));
    if off <= CLOCK_WARN_SECONDS {
        return finding(FindingStatus::Ok, says);
    }
    if off <= CLOCK_BAD_SECONDS {
        return finding(FindingStatus::Warn, format!("{says}; set it by NTP"));
    }
    finding(FindingStatus::Bad, format!("{says}; the daemon misjudges which tokens are valid: set it by NTP"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_judged_by_the_size_of_its_error() {
        let at = |now| clock(Some("Sun, 06 Nov 1994 08:49:37 GMT"), now).mark;
        let right = 784_111_777;
        assert_eq!(
            [at(right), at(right - 61), at(right + 601)],
            [FindingStatus::Ok, FindingStatus::Warn, FindingStatus::Bad]
        );
        assert_eq!(clock(Some("yesterday"), right).mark, FindingStatus::Warn);
        assert_eq!(clock(None, right).mark, FindingStatus::Warn);
    }
}
