//! `why` and `plan`: the explanation of a person's schedule, and the forecast.

use std::ops::ControlFlow;

use crate::api_types::Plan;
use crate::api_types::Planned;
use crate::api_types::RuleReport;
use crate::api_types::Why;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::PlanArgs;
use crate::cli::arguments::WhyArgs;
use crate::cli::commands::person;
use crate::cli::exit::CommandError;
use crate::cli::format;
use crate::cli::json_stream::JsonStream;
use crate::cli::output;
use crate::cli::output::Terminal;
use crate::cli::output::printable;
use crate::cli::table::Cell;
use crate::cli::table::Color;
use crate::cli::table::Column;
use crate::cli::table::TableStream;

pub(super) fn why(handle: &mut ApiClient, asked: &WhyArgs, terminal: Terminal) -> Result<(), CommandError> {
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

const COLUMNS: [Column; 5] =
    [("who", 0), ("state", 1), ("next refresh", 0), ("refreshes", 2), ("consent again by", 0)];

pub(super) fn plan(handle: &mut ApiClient, asked: &PlanArgs, terminal: Terminal) -> Result<(), CommandError> {
    if asked.json.json {
        let mut list: Option<JsonStream> = None;
        parts(handle, asked.days, |plan| {
            let list = list.get_or_insert_with(|| JsonStream::new(&[("days", plan.days.into())], "people"));
            Ok(list.write(&plan.people)?)
        })?;
        return Ok(list.map_or(Ok(()), JsonStream::end)?);
    }
    let (mut table, mut persons, mut refreshes, mut consents) =
        (TableStream::new(&COLUMNS, terminal), 0_u64, 0_u64, 0_u64);
    parts(handle, asked.days, |plan| {
        let now = format::now();
        for planned in &plan.people {
            persons += 1;
            refreshes += u64::from(planned.refreshes);
            consents += u64::from(planned.consent_by.is_some());
        }
        let rows: Vec<Vec<Cell>> = plan.people.iter().map(|planned| plan_row(planned, now)).collect();
        if rows.is_empty() { Ok(()) } else { Ok(output::write_line(&table.lines(&rows).join("\n"))?) }
    })?;
    if persons == 0 {
        output::print_stderr("no person is stored; `webex-tokend login` gets a consent");
        return Ok(());
    }
    let word = if persons == 1 { "person" } else { "persons" };
    output::print_stderr(&format!(
        "{persons} {word} in {} days: {refreshes} refreshes, {consents} must consent again",
        asked.days
    ));
    Ok(())
}

fn plan_row(planned: &Planned, now: i64) -> Vec<Cell> {
    let consent = planned.consent_by.as_deref().unwrap_or("-");
    let color = if planned.consent_by.is_some() { Color::Attention } else { Color::Plain };
    vec![
        planned.email.as_deref().unwrap_or(&planned.person_id).into(),
        Cell::new(&planned.state, format::state_color(&planned.state)),
        format::time_left(planned.next_refresh_at.as_deref(), now, "now").into(),
        planned.refreshes.to_string().into(),
        Cell::new(consent, color),
    ]
}

/// Calls `each` with every page.
fn parts(
    handle: &mut ApiClient,
    days: u32,
    mut each: impl FnMut(Plan) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let path = format!("{API}/plan?days={days}");
    let next = |plan: &mut Plan| plan.next.take();
    person::parts(handle, &path, next, |_, plan| each(plan).map(ControlFlow::Continue))
}
