use textwrap::wrap;
use unicode_width::UnicodeWidthStr;

use super::format::one_line;
use super::speak::columns;

/// The last column is never narrower than this: what does not fit beside the others then goes over the edge.
const NARROWEST: usize = 24;

/// Rows of cells under a heading, in columns as wide as they must be.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a heading.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| cell.to_uppercase()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // A name may hold anything; a row is one line.
        self.rows.push(cells.into_iter().map(one_line).collect());
    }

    /// The table as text. The last column goes on in more lines where a line is too long for the terminal.
    pub fn render(&self) -> String {
        self.within(columns())
    }

    fn within(&self, edge: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let mut out = String::new();
        let before: usize = widths.iter().take(columns.saturating_sub(1)).map(|width| width + 2).sum();
        let room = edge.saturating_sub(before).max(NARROWEST);
        for row in &self.rows {
            let mut line = String::new();
            for (cell, &width) in row.iter().zip(&widths[..columns - 1]) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width - cell.width() + 2));
            }
            let last = row.get(columns - 1).map(|cell| wrap(cell, room)).unwrap_or_default();
            line.push_str(last.first().map(AsRef::as_ref).unwrap_or_default());
            out.push_str(line.trim_end());
            out.push('\n');
            for more in last.iter().skip(1) {
                out.push_str(&" ".repeat(before));
                out.push_str(more);
                out.push('\n');
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_goes_on_below_where_the_terminal_ends() {
        let mut table = Table::new(&["stage", "result"]);
        table.row(["chat".into(), "1,790 train, 193 validation, 208 test".into()]);
        table.row(["a".into(), "é".into()]);
        let narrow = "STAGE  RESULT\nchat   1,790 train, 193\n       validation, 208 test\na      é\n";
        assert_eq!(table.within(31), narrow);
        assert_eq!(table.within(5), narrow, "it is never narrower");
        assert_eq!(table.within(80), "STAGE  RESULT\nchat   1,790 train, 193 validation, 208 test\na      é\n");
    }
}
