//! `plan`: the forecast of refreshes and consents.

use std::io;
use std::ops::ControlFlow;

use crate::api_types::BacklogView;
use crate::api_types::Plan;
use crate::api_types::Planned;
use crate::cli::api_client::API;
use crate::cli::api_client::ApiClient;
use crate::cli::arguments::PlanArgs;
use crate::cli::commands::people;
use crate::cli::commands::person;
use crate::cli::commands::plan_by_day::PlanByDay;
use crate::cli::commands::plan_by_day::PlannedDay;
use crate::cli::exit::CommandError;
use crate::cli::format;
use crate::cli::json_stream::JsonStream;
use crate::cli::output;
use crate::cli::output::Terminal;
use crate::cli::output::print_stderr;
use crate::cli::table;
use crate::cli::table::Cell;
use crate::cli::table::Color;
use crate::cli::table::Column;
use crate::cli::table::TableStream;

const COLUMNS: [Column; 5] =
    [("who", 0), ("state", 1), ("next refresh", 0), ("refreshes", 2), ("consent again by", 0)];

const DAY_COLUMNS: [Column; 3] = [("day", 0), ("refreshes", 0), ("must consent again", 0)];

pub(super) fn plan(handle: &mut ApiClient, asked: &PlanArgs, terminal: Terminal) -> Result<(), CommandError> {
    let days = ("days", asked.days.into());
    if asked.json.json && !asked.by_day {
        let mut list = JsonStream::new(&[days], "people")?;
        pages(handle, asked.days, |plan| Ok(list.write(&plan.people)?))?;
        return Ok(list.end()?);
    }
    // The backlog explains why the next refresh of a person who is due is not now.
    let backlog = if asked.json.json { None } else { people::backlog(handle) };
    let (mut table, mut sums) = (TableStream::new(&COLUMNS, terminal), PlanSums::default());
    let mut by_day = PlanByDay::default();
    pages(handle, asked.days, |plan| {
        let now = format::now();
        for planned in &plan.people {
            sums.add(planned);
            if asked.by_day {
                by_day.add(planned, now);
            }
        }
        let shown = if asked.by_day { &[] } else { plan.people.as_slice() };
        let rows: Vec<Vec<Cell>> =
            shown.iter().map(|planned| plan_row(planned, backlog.as_ref(), now)).collect();
        if rows.is_empty() { Ok(()) } else { Ok(output::write_line(&table.lines(&rows).join("\n"))?) }
    })?;
    if asked.by_day {
        print_days(&by_day.days(), asked, terminal)?;
    }
    sums.print(asked);
    Ok(())
}

fn print_days(days: &[PlannedDay], asked: &PlanArgs, terminal: Terminal) -> io::Result<()> {
    if asked.json.json {
        let mut list = JsonStream::new(&[("days", asked.days.into())], "by_day")?;
        list.write(days)?;
        return list.end();
    }
    let row = |day: &PlannedDay| -> Vec<Cell> {
        let consents = if day.consents > 0 { Color::Attention } else { Color::Plain };
        vec![
            day.day.as_str().into(),
            day.refreshes.to_string().into(),
            Cell::new(&day.consents.to_string(), consents),
        ]
    };
    if days.is_empty() {
        return Ok(());
    }
    let rows: Vec<Vec<Cell>> = days.iter().map(row).collect();
    output::write_line(&table::lines(&DAY_COLUMNS, &rows, terminal).join("\n"))
}

/// What is said of all persons at the end.
#[derive(Default)]
struct PlanSums {
    persons: u64,
    refreshes: u64,
    consents: u64,
}

impl PlanSums {
    fn add(&mut self, planned: &Planned) {
        self.persons += 1;
        self.refreshes += u64::from(planned.refreshes);
        self.consents += u64::from(planned.consent_by.is_some());
    }

    fn print(&self, asked: &PlanArgs) {
        let Self { persons, refreshes, consents } = self;
        if asked.json.json {
            return;
        }
        if *persons == 0 {
            return print_stderr("no person is stored; `webex-tokend login` gets a consent");
        }
        print_stderr(&format!(
            "{} in {}: {}, {consents} must consent again",
            format::counted(persons, "person", "persons"),
            format::counted(asked.days, "day", "days"),
            format::counted(refreshes, "refresh", "refreshes"),
        ));
    }
}

fn plan_row(planned: &Planned, backlog: Option<&BacklogView>, now: i64) -> Vec<Cell> {
    let consent = planned.consent_by.as_deref().unwrap_or("-");
    let color = if planned.consent_by.is_some() { Color::Attention } else { Color::Plain };
    vec![
        planned.email.as_deref().unwrap_or(&planned.person_id).into(),
        Cell::new(&planned.state, format::state_color(&planned.state)),
        people::next_refresh(planned.next_refresh_at.as_deref(), backlog, now).into(),
        planned.refreshes.to_string().into(),
        Cell::new(consent, color),
    ]
}

/// Calls `each` with every page.
fn pages(
    handle: &mut ApiClient,
    days: u32,
    mut each: impl FnMut(Plan) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let path = format!("{API}/plan?days={days}");
    let next = |plan: &mut Plan| plan.next.take();
    person::parts(handle, &path, next, |_, plan| each(plan).map(ControlFlow::Continue))
}
