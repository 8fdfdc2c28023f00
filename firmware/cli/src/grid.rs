//! Cells in columns: the least needed columns are left out where the terminal is narrow.

use crate::line::{Line, Paint, clean};

/// A column: its caption, its side, and how dearly it is kept on a narrow terminal (1 is kept always, and cut if need be).
#[derive(Debug)]
pub(crate) struct Column {
    pub caption: &'static str,
    pub right: bool,
    pub rank: usize,
}

/// Columns between two columns.
const GAP: usize = 2;

/// How wide each column is, and whether it is shown.
#[derive(Debug)]
pub(crate) struct Grid<'a> {
    columns: &'a [Column],
    widths: Vec<usize>,
    kept: Vec<bool>,
}

impl<'a> Grid<'a> {
    /// A grid that holds `rows` in lines of `width` columns.
    #[must_use]
    pub(crate) fn of<'r>(
        columns: &'a [Column],
        rows: impl Iterator<Item = &'r [String]>,
        width: usize,
    ) -> Self {
        let mut widths: Vec<usize> = columns.iter().map(|column| column.caption.len()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let kept = kept(columns, &widths, width);
        Self { columns, widths, kept }
    }

    /// Whether one of these columns is shown.
    #[must_use]
    pub(crate) fn shows_any(&self, columns: std::ops::RangeInclusive<usize>) -> bool {
        self.kept[columns].contains(&true)
    }

    /// The captions.
    #[must_use]
    pub(crate) fn header(&self) -> Line {
        let captions: Vec<String> = self.columns.iter().map(|column| column.caption.to_owned()).collect();
        self.row(&captions, Paint::Caption, Paint::Caption)
    }

    /// One row; the cell under `STATE` is painted by itself.
    #[must_use]
    pub(crate) fn row(&self, cells: &[String], rest: Paint, state: Paint) -> Line {
        let mut line = Line::default();
        for (i, (cell, column)) in cells.iter().zip(self.columns).enumerate().filter(|(i, _)| self.kept[*i]) {
            let width = self.widths[i];
            let text = if column.right { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            line = line.and(if column.caption == "STATE" { state } else { rest }, &text);
        }
        line
    }
}

/// Which columns fit, the dearest first; one that is too wide makes room for cheaper ones.
fn kept(columns: &[Column], widths: &[usize], width: usize) -> Vec<bool> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|at| columns[*at].rank);
    let mut kept = vec![false; columns.len()];
    // The last column has no space behind it.
    let mut left = width.saturating_add(GAP);
    for at in by_rank {
        let needed = widths[at] + GAP;
        // What a thing is called and how it stands is shown even if it has to be cut.
        kept[at] = needed <= left || columns[at].rank == 1;
        if kept[at] {
            left = left.saturating_sub(needed);
        }
    }
    kept
}

/// What to do, in as many lines as it takes: it is what people came to read.
#[must_use]
pub(crate) fn remedy(text: &str, width: usize) -> Vec<Line> {
    wrapped("  ! ", Paint::Bad, text, width)
}

/// A text in lines of `width` columns, with a mark before the first and space before the others.
#[must_use]
pub(crate) fn wrapped(mark: &str, paint: Paint, text: &str, width: usize) -> Vec<Line> {
    let indent = mark.chars().count();
    let room = width.saturating_sub(indent).max(1);
    let mut parts: Vec<String> = vec![String::new()];
    for word in clean(text).split_whitespace() {
        match parts.last_mut() {
            Some(part) if part.is_empty() => part.push_str(word),
            Some(part) if part.chars().count() + 1 + word.chars().count() <= room => {
                part.push(' ');
                part.push_str(word);
            }
            Some(_) | None => parts.push(word.to_owned()),
        }
    }
    let blank = " ".repeat(indent);
    let line = |(i, part): (usize, &String)| {
        Line::default().and(paint, if i == 0 { mark } else { &blank }).and(Paint::Plain, part)
    };
    parts.iter().enumerate().map(line).collect()
}
