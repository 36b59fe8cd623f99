//! Tables that fit the terminal. The first column is shortened first; then the least important columns are
//! omitted.

use unicode_width::UnicodeWidthChar;
use unicode_width::UnicodeWidthStr;

use crate::cli::output::Terminal;
use crate::cli::output::printable;

const GAP: usize = 2;

/// Minimum width of the first column at which names stay distinguishable.
const NAME_MIN: usize = 22;

/// Minimum useful width of the first column.
const LAST_MIN: usize = 6;

/// The colour of a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Color {
    #[default]
    Plain,
    Good,
    Attention,
    Bad,
}

impl Color {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Good => Some("32"),
            Self::Attention => Some("33"),
            Self::Bad => Some("31"),
        }
    }

    /// Colours `text`, if the terminal supports it.
    pub(super) fn paint(self, text: &str, terminal: Terminal) -> String {
        match self.code() {
            Some(code) if terminal.colour => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// A cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    color: Color,
}

impl Cell {
    pub(super) fn new(text: &str, color: Color) -> Self {
        Self { text: printable(text), color }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(&text, Color::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Color::Plain)
    }
}

/// A column: its title, and its priority for omission if there is no room (higher first, 0: never).
pub(super) type Column = (&'static str, u8);

/// The lines of a table. The first column is shortened if there is no room.
pub(super) fn lines(columns: &[Column], rows: &[Vec<Cell>], terminal: Terminal) -> Vec<String> {
    TableStream::new(columns, terminal).lines(rows)
}

/// A table that is printed part by part. A part may be wider than the one before it, never narrower.
pub(super) struct TableStream<'a> {
    columns: &'a [Column],
    /// The width of the widest cell so far.
    widths: Vec<usize>,
    terminal: Terminal,
    begun: bool,
}

impl<'a> TableStream<'a> {
    pub(super) fn new(columns: &'a [Column], terminal: Terminal) -> Self {
        let widths = columns.iter().map(|(title, _)| title.width()).collect();
        Self { columns, widths, terminal, begun: false }
    }

    /// The lines of the next rows, the first time with the header.
    pub(super) fn lines(&mut self, rows: &[Vec<Cell>]) -> Vec<String> {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        let mut widths = self.widths.clone();
        let shown = fit(self.columns, &mut widths, self.terminal.width);
        let line = |row: &Vec<Cell>| {
            let mut line = String::new();
            let mut room = 0;
            for ((cell, width), _) in row.iter().zip(&widths).zip(&shown).filter(|(_, shown)| **shown) {
                line.extend(std::iter::repeat_n(' ', room));
                let text = cut(&cell.text, *width);
                room = width.saturating_sub(text.width()) + GAP;
                line.push_str(&cell.color.paint(&text, self.terminal));
            }
            line
        };
        let header: Vec<Cell> =
            self.columns.iter().map(|(title, _)| Cell::from(title.to_uppercase())).collect();
        let header = (!std::mem::replace(&mut self.begun, true)).then_some(&header);
        header.into_iter().chain(rows).map(line).collect()
    }
}

/// Shortens the first column to [`NAME_MIN`], then omits columns, then shortens the first column further.
fn fit(columns: &[Column], widths: &mut [usize], room: usize) -> Vec<bool> {
    let mut shown = vec![true; columns.len()];
    loop {
        let used: usize =
            widths.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(width, _)| width + GAP).sum();
        let over = used.saturating_sub(GAP).saturating_sub(room);
        let Some(first) = widths.first_mut().filter(|_| over > 0) else { return shown };
        if *first > NAME_MIN {
            *first = first.saturating_sub(over).max(NAME_MIN);
            continue;
        }
        let soonest = columns.iter().zip(&mut shown).filter(|((_, order), shown)| **shown && *order > 0);
        match soonest.max_by_key(|((_, order), _)| *order) {
            Some((_, shown)) => *shown = false,
            None => {
                *first = first.saturating_sub(over).max(LAST_MIN.min(*first));
                return shown;
            }
        }
    }
}

/// `text` in at most `width` cells, with a mark where it was cut.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [("who", 0), ("state", 0), ("age", 2), ("next", 1)];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |who: &str| vec![who.into(), "fresh".into(), "2h 1m".into(), "in 3h".into()];
        vec![row("ada@example.com (Ada Lovelace, Countess)"), row("李雷李雷李雷李雷李雷李雷李雷 (عمر)")]
    }

    fn at(width: usize) -> Vec<String> {
        lines(&COLUMNS, &rows(), Terminal { width, colour: false })
    }

    #[test]
    fn a_table_fits_every_width() {
        for width in 20..100 {
            assert!(at(width).iter().all(|line| line.width() <= width), "{width}: {:#?}", at(width));
        }
    }

    #[test]
    fn a_table_in_parts_has_one_header_and_never_gets_narrower() {
        let mut table = TableStream::new(&COLUMNS, Terminal { width: 80, colour: false });
        let [long, short] = [rows(), vec![vec!["eve".into(), "due".into(), "1h".into(), "now".into()]]];
        let [first, second] = [table.lines(&long), table.lines(&short)];
        assert_eq!((first.len(), second.len()), (3, 1));
        assert_eq!(first[1].find("fresh"), second[0].find("due"), "{first:#?} {second:#?}");
    }

    #[test]
    fn the_name_is_shortened_first_then_columns_are_omitted() {
        let [wide, narrow, slim] = [80, 45, 40].map(|width| at(width).join("\n"));
        assert!(wide.contains("Countess)") && wide.contains("AGE"));
        assert!(narrow.contains("ada@example.com (Ada") && narrow.contains('…') && narrow.contains("AGE"));
        assert!(!slim.contains("AGE") && slim.contains("NEXT"), "{slim}");
    }

    #[test]
    fn columns_are_aligned_in_any_script() {
        let column = |line: &str| line.split("fresh").next().map(UnicodeWidthStr::width);
        let lines = at(80);
        assert_eq!(column(&lines[1]), column(&lines[2]));
    }

    #[test]
    fn colours_are_used_only_if_the_terminal_supports_them() {
        let row = vec![vec![Cell::new("no", Color::Bad)]];
        assert_eq!(lines(&[("x", 0)], &row, Terminal { width: 9, colour: true })[1], "\x1b[31mno\x1b[0m");
        assert_eq!(lines(&[("x", 0)], &row, Terminal { width: 9, colour: false })[1], "no");
    }
}
