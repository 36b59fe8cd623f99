//! Whether Webex answers, and whether the clock agrees with Webex's.

use crate::cli::commands::doctor::Finding;
use crate::cli::commands::doctor::Mark;
use crate::cli::show;
use crate::config::Config;
use crate::house;

/// Less is a matter of the way the answer takes.
const CLOCK_WARN_SECONDS: i64 = 60;

/// From here on tokens are thought alive or dead that are not.
const CLOCK_BAD_SECONDS: i64 = 600;

pub(super) async fn findings(config: &Config) -> Vec<Finding> {
    let base = &config.integration.base;
    let finding = |mark, says: String| Finding::new(mark, "webex", says);
    let knocked = match house::knock(config).await {
        Ok(Ok(knocked)) => knocked,
        Ok(Err(e)) => {
            let says = format!("{base} cannot be reached: {e}; check the network, proxies and WEBEX_CA_FILE");
            return vec![finding(Mark::Unreachable, says)];
        }
        Err(e) => return vec![finding(Mark::Bad, e.to_string())],
    };
    let answers = match knocked.status {
        401 => finding(Mark::Ok, format!("{base} answers")),
        status => {
            let says = format!(
                "{base} answers with status {status} where 401 was expected; is it Webex (WEBEX_API_BASE_URL, a proxy)?"
            );
            finding(Mark::Warn, says)
        }
    };
    vec![answers, clock(knocked.date.as_deref(), show::now())]
}

fn clock(date: Option<&str>, now: i64) -> Finding {
    let finding = |mark, says: String| Finding::new(mark, "clock", says);
    let theirs = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let Some(theirs) = theirs else {
        return finding(Mark::Warn, "Webex did not say what time it is".to_owned());
    };
    let off = now - theirs.timestamp().as_second();
    let direction = if off > 0 { "ahead of" } else { "behind" };
    let says = format!("{} {direction} Webex's", show::span(off.abs()));
    match off.abs() {
        0..=CLOCK_WARN_SECONDS => finding(Mark::Ok, says),
        ..=CLOCK_BAD_SECONDS => finding(Mark::Warn, format!("{says}; set it by NTP")),
        _ => finding(
            Mark::Bad,
            format!("{says}; tokens are taken for alive or dead that are not: set it by NTP"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_judged_by_the_size_of_its_error() {
        let at = |now| clock(Some("Sun, 06 Nov 1994 08:49:37 GMT"), now).mark;
        let right = 784_111_777;
        assert_eq!([at(right), at(right - 61), at(right + 601)], [Mark::Ok, Mark::Warn, Mark::Bad]);
        assert_eq!(clock(Some("yesterday"), right).mark, Mark::Warn);
        assert_eq!(clock(None, right).mark, Mark::Warn);
    }
}
