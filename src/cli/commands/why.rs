//! `why`: why a person's grant is refreshed or not.

use crate::api_types::RuleReport;
use crate::api_types::Why;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::WhyArgs;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::Terminal;
use crate::cli::output::printable;
use crate::cli::table::Color;

pub(super) fn run(handle: &mut ApiClient, asked: &WhyArgs, terminal: Terminal) -> Result<(), CommandError> {
    let path = person::path(handle, &asked.subject)?;
    let why: Why = handle.get(&format!("{path}/why"))?;
    if asked.list.json.json {
        return Ok(output::write_json(&why)?);
    }
    let person = &why.person;
    let state = format::state_color(&person.state).paint(&printable(&person.state), terminal);
    let mut lines =
        vec![format!("{}: {state}", format::person_line(person)), printable(&why.summary), String::new()];
    let widest = why.rules.iter().map(|rule| rule.rule.len()).max().unwrap_or(0);
    lines.extend(why.rules.iter().map(|rule| rule_line(rule, widest, terminal)));
    lines.push(String::new());
    let detail = why.last_detail.as_deref().map(|text| format!(" ({})", printable(text))).unwrap_or_default();
    let tried = format::age(&person.last_attempt_at, format::now());
    lines.push(format!("last attempt   {tried} ago: {}{detail}", printable(&person.last_outcome)));
    lines.push(match why.next_refresh_at.as_deref() {
        Some(_) if why.place.is_some() => queue_line(&why),
        Some(at) => format!("next refresh   {} ({})", left(at), printable(at)),
        None => "next refresh   none, unless it is asked for".to_owned(),
    });
    Ok(output::write_line(&lines.join("\n"))?)
}

/// The next refresh of a person who waits for others.
fn queue_line(why: &Why) -> String {
    let turn = why.turn_at.as_deref().map(|at| format!(", at about {} ({})", printable(at), left(at)));
    let ahead = why.place.unwrap_or_default();
    format!("next refresh   after about {ahead} others{}", turn.unwrap_or_default())
}

fn left(at: &str) -> String {
    match format::time_left(Some(at), format::now(), "now").as_str() {
        "now" => "now".to_owned(),
        span => format!("in {span}"),
    }
}

fn rule_line(rule: &RuleReport, widest: usize, terminal: Terminal) -> String {
    let (word, color) = match rule.refresh {
        Some(true) => ("refresh", Color::Good),
        Some(false) => ("wait", Color::Attention),
        None => ("-", Color::Plain),
    };
    let at = rule.at.as_deref().map(|at| format!(" [until {}]", printable(at))).unwrap_or_default();
    let word = color.paint(&format!("{word:<7}"), terminal);
    format!("  {:<widest$}  {word}  {}{at}", printable(&rule.rule), printable(&rule.says))
}
