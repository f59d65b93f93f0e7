//! Columns: upper-case headers, cells to the left, two spaces between, nothing else to get in awk's way.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr;

/// Rows that are held back to find the widths of their columns. Later rows only widen: a million rows need no more.
const BLOCK_ROWS: usize = 256;

/// Writes rows with aligned columns while they arrive.
pub(crate) struct TableWriter<'w> {
    out: &'w mut dyn Write,
    widths: Vec<usize>,
    rows: Vec<Vec<String>>,
}

impl<'w> TableWriter<'w> {
    /// A table with this many columns.
    pub(crate) fn new(out: &'w mut dyn Write, column_count: usize) -> Self {
        TableWriter {
            out,
            widths: vec![0; column_count],
            rows: Vec::new(),
        }
    }

    /// Adds a row, the header being one as well. An empty cell is shown as `-`, so that every row has every column.
    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = String>) -> io::Result<()> {
        self.rows
            .push(cells.into_iter().map(|cell| printable(&cell)).collect());
        if self.rows.len() >= BLOCK_ROWS {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes what is held back.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        for row in &self.rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        for row in self.rows.drain(..) {
            write_row(self.out, &row, &self.widths)?;
        }
        Ok(())
    }

    /// Writes what is held back, and gives back what it is written to.
    pub(crate) fn finish(mut self) -> io::Result<&'w mut dyn Write> {
        self.flush()?;
        Ok(self.out)
    }
}

fn write_row(out: &mut dyn Write, row: &[String], widths: &[usize]) -> io::Result<()> {
    let last = row.len().saturating_sub(1);
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        out.write_all(cell.as_bytes())?;
        if index < last {
            // By hand: `{:<width$}` counts characters, not the columns they take.
            write!(
                out,
                "{:padding$}  ",
                "",
                padding = width.saturating_sub(cell.width())
            )?;
        }
    }
    out.write_all(b"\n")
}

/// Text that cannot move the cursor or break the line: names and messages come from other machines.
pub(crate) fn printable(text: &str) -> String {
    if text.is_empty() {
        return "-".to_owned();
    }
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            safe.extend(c.escape_default())
        } else {
            safe.push(c)
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(rows: &[&[&str]]) -> String {
        let mut out = Vec::new();
        let mut table = TableWriter::new(&mut out, rows[0].len());
        for row in rows {
            table.push(row.iter().map(|cell| (*cell).to_owned())).unwrap();
        }
        table.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_align_and_lines_have_no_trailing_space() {
        let text = render(&[
            &["NAME", "STATE", "LAST-ERROR"],
            &["Mesh_10_0_0_2", "Idle", "hold timer"],
            &["a", "", ""],
        ]);
        assert_eq!(
            text,
            "NAME           STATE  LAST-ERROR\n\
             Mesh_10_0_0_2  Idle   hold timer\n\
             a              -      -\n"
        );
    }

    #[test]
    fn width_counts_terminal_columns_not_bytes() {
        assert_eq!(render(&[&["名前", "x"], &["é", "x"]]), "名前  x\né     x\n");
    }

    #[test]
    fn control_characters_of_a_peer_do_not_reach_the_terminal() {
        assert_eq!(render(&[&["bye\x1b[2J\nnow"]]), "bye\\u{1b}[2J\\nnow\n");
    }

    #[test]
    fn later_blocks_never_become_narrower() {
        let mut out = Vec::new();
        let mut table = TableWriter::new(&mut out, 2);
        table.push(["a".repeat(10), "x".to_owned()]).unwrap();
        for _ in 0..2 * BLOCK_ROWS {
            table.push(["b".to_owned(), "x".to_owned()]).unwrap();
        }
        table.finish().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| line.find('x') == Some(12)), "{text}");
    }
}
