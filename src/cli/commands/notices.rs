//! `notices` and `history`: lists notices with their deliveries, sends tests, repeats deliveries, and lists past events.

use crate::api_types::HistoryItem;
use crate::api_types::HistoryList;
use crate::api_types::NoticeDelivery;
use crate::api_types::NoticeItem;
use crate::api_types::NoticeList;
use crate::api_types::NoticeResent;
use crate::api_types::NoticeTestRequest;
use crate::api_types::NoticeTests;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::api_client::CommandContext;
use crate::cli::api_client::in_process::StoreAccess;
use crate::cli::api_client::segment;
use crate::cli::arguments::HistoryArgs;
use crate::cli::arguments::NoticesAction;
use crate::cli::arguments::NoticesArgs;
use crate::cli::exit::CommandError;
use crate::cli::exit::Exit;
use crate::cli::format;
use crate::cli::output;
use crate::cli::output::Terminal;
use crate::cli::output::print_stderr;
use crate::cli::output::printable;
use crate::cli::table;
use crate::cli::table::Cell;
use crate::cli::table::Column;

const COLUMNS: [Column; 7] =
    [("id", 0), ("type", 0), ("who", 1), ("age", 2), ("sink", 0), ("state", 0), ("why", 3)];

const HISTORY: [Column; 4] = [("at", 0), ("who", 1), ("what", 0), ("detail", 2)];

pub(super) fn run(
    surroundings: &CommandContext,
    asked: &NoticesArgs,
    paper: Terminal,
) -> Result<(), CommandError> {
    match &asked.action {
        None => list(&mut ApiClient::open(surroundings, StoreAccess::Existing)?, asked, paper),
        // Only the daemon has the settings of the sinks, so these two need it.
        Some(NoticesAction::Test { sink, .. }) => {
            test(&mut ApiClient::connect(surroundings)?, sink.as_deref())
        }
        Some(NoticesAction::Resend { ids, .. }) => resend(&mut ApiClient::connect(surroundings)?, ids),
    }
}

fn list(handle: &mut ApiClient, asked: &NoticesArgs, paper: Terminal) -> Result<(), CommandError> {
    let list: NoticeList = handle.get(&format!("{API}/notices?failed={}", asked.failed))?;
    if asked.list.json.json {
        return Ok(output::write_json(&list)?);
    }
    let now = format::now();
    for sink in list.sinks.iter().filter(|sink| sink.is_off || sink.given_up > 0) {
        let off = if sink.is_off { "; its receiver has turned it off (410)" } else { "" };
        print_stderr(&format!(
            "{}: {} waiting, {} given up{off}",
            printable(&sink.sink),
            sink.waiting,
            sink.given_up
        ));
    }
    if list.notices.is_empty() {
        print_stderr(if list.sinks.is_empty() {
            "no sink is set; docs/notices.md says how"
        } else {
            "there is no notice"
        });
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = list.notices.iter().flat_map(|notice| rows(notice, now)).collect();
    output::write_line(&table::lines(&COLUMNS, &rows, paper).join("\n"))?;
    if list.next.is_some() {
        print_stderr("there are more; the API lists them all (GET /api/v1/notices)");
    }
    Ok(())
}

fn rows(notice: &NoticeItem, now: i64) -> Vec<Vec<Cell>> {
    let who = notice.person.as_ref().map_or("", |person| person.email.as_deref().unwrap_or(&person.id));
    let row = |delivery: &NoticeDelivery| -> Vec<Cell> {
        vec![
            notice.id.as_str().into(),
            notice.kind.as_str().into(),
            who.into(),
            format::age(&notice.at, now).into(),
            delivery.sink.as_str().into(),
            delivery.state.as_str().into(),
            delivery.why.as_deref().unwrap_or_default().into(),
        ]
    };
    notice.deliveries.iter().map(row).collect()
}

fn test(handle: &mut ApiClient, sink: Option<&str>) -> Result<(), CommandError> {
    let asked = NoticeTestRequest { sink: sink.map(str::to_owned) };
    let tests: NoticeTests = handle.post(&format!("{API}/notices/test"), &asked)?;
    let mut failed = 0;
    for test in &tests.tests {
        let said = match &test.why {
            None => "delivered".to_owned(),
            Some(why) => format!("not delivered: {}", printable(why)),
        };
        failed += usize::from(test.why.is_some());
        output::write_line(&format!("{}: {said}", printable(&test.sink)))?;
    }
    if failed > 0 { Err(CommandError::Silent(Exit::Failed)) } else { Ok(()) }
}

fn resend(handle: &mut ApiClient, ids: &[String]) -> Result<(), CommandError> {
    for id in ids {
        let resent: NoticeResent = handle.post_nothing(&format!("{API}/notices/{}/resend", segment(id)))?;
        let sinks = format::counted(resent.sinks, "sink", "sinks");
        output::write_line(&format!("{}: sent again to {sinks}", printable(&resent.id)))?;
    }
    Ok(())
}

pub(super) fn history(
    handle: &mut ApiClient,
    asked: &HistoryArgs,
    paper: Terminal,
) -> Result<(), CommandError> {
    let path = match &asked.person {
        Some(person) => format!("{API}/people/{}/history?limit={}", segment(person), asked.limit),
        None => format!("{API}/history?limit={}", asked.limit),
    };
    let list: HistoryList = handle.get(&path)?;
    if asked.list.json.json {
        return Ok(output::write_json(&list)?);
    }
    if list.entries.is_empty() {
        print_stderr("the history is empty");
    }
    let row = |entry: &HistoryItem| -> Vec<Cell> {
        let who = entry.person_id.as_deref().unwrap_or_default();
        vec![entry.at.as_str().into(), who.into(), entry.what.as_str().into(), entry.detail.as_str().into()]
    };
    if !list.entries.is_empty() {
        let rows: Vec<Vec<Cell>> = list.entries.iter().map(row).collect();
        output::write_line(&table::lines(&HISTORY, &rows, paper).join("\n"))?;
    }
    for day in &list.days {
        let refreshes = format::counted(day.refreshes, "refresh", "refreshes");
        output::write_line(&format!("{}: {refreshes} {}", day.day, printable(&day.outcome)))?;
    }
    Ok(())
}
