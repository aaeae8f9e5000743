use textwrap::{Options, WordSplitter, wrap};
use unicode_width::UnicodeWidthStr;

use super::format::one_line;
use super::speak::columns;

/// What stands between two columns.
const GAP: usize = 2;

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

    /// The table as text. Cells go on in more lines where a line would be too long for the terminal.
    pub fn render(&self) -> String {
        self.within(columns())
    }

    fn within(&self, edge: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| self.cells(column).map(UnicodeWidthStr::width).max().unwrap_or(0);
        let mut widths: Vec<usize> = (0..columns).map(widest).collect();
        self.narrow(&mut widths, edge.saturating_sub(GAP * columns.saturating_sub(1)));
        let mut out = String::new();
        for row in &self.rows {
            let cells: Vec<Vec<_>> = row.iter().zip(&widths).map(|(cell, &width)| wrap(cell, by_words(width))).collect();
            for nth in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
                let mut line = String::new();
                for (cell, &width) in cells.iter().zip(&widths) {
                    let part = cell.get(nth).map(AsRef::as_ref).unwrap_or_default();
                    line.push_str(part);
                    line.push_str(&" ".repeat((width + GAP).saturating_sub(part.width())));
                }
                out.push_str(line.trim_end());
                out.push('\n');
            }
        }
        out
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| row.get(column)).map(String::as_str)
    }

    /// Makes the widest columns narrower, until all of them have room or none can be without breaking a word.
    fn narrow(&self, widths: &mut [usize], room: usize) {
        if widths.iter().sum::<usize>() <= room {
            return;
        }
        let word = |column: usize| self.cells(column).flat_map(str::split_whitespace).map(UnicodeWidthStr::width).max().unwrap_or(0);
        let least: Vec<usize> = (0..widths.len()).map(word).collect();
        while widths.iter().sum::<usize>() > room {
            // Of equals the last one: there stands what is longest to read.
            let Some(widest) = (0..widths.len()).filter(|&column| widths[column] > least[column]).max_by_key(|&column| widths[column]) else {
                return;
            };
            widths[widest] -= 1;
        }
    }
}

/// Words of names stay whole, those with hyphens too.
fn by_words(width: usize) -> Options<'static> {
    Options::new(width.max(1)).word_splitter(WordSplitter::NoHyphenation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_go_on_below_where_the_terminal_ends() {
        let mut table = Table::new(&["stage", "result"]);
        table.row(["chat".into(), "1,790 train, 193 validation, 208 test".into()]);
        table.row(["a".into(), "é".into()]);
        table.row([String::new(), "up-to-date".into()]);
        let narrow = "STAGE  RESULT\nchat   1,790 train, 193\n       validation, 208 test\na      é\n       up-to-date\n";
        assert_eq!(table.within(31), narrow);
        assert_eq!(table.within(80), "STAGE  RESULT\nchat   1,790 train, 193 validation, 208 test\na      é\n       up-to-date\n");
        assert!(table.within(5).lines().any(|line| line.ends_with("validation,")), "no word is broken");
        let mut two = Table::new(&["what", "model", "baseline"]);
        two.row(["perplexity".into(), "35,324 [32,528, 38,387]".into(), "738 [686, 794]".into()]);
        assert!(two.within(44).lines().all(|line| line.width() <= 44), "{}", two.within(44));
    }
}
