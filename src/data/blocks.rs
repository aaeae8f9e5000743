use std::io::{self, Read};

use memchr::{memchr_iter, memrchr};

/// What is read at once, in bytes; a line may be longer.
const BLOCK: usize = 2 << 20;

/// A text in blocks of whole lines, whatever its size.
#[derive(Debug)]
pub struct Blocks<R> {
    reader: R,
    block: Vec<u8>,
    /// The end of the whole lines that were handed out last.
    end: usize,
    /// The number of the line that comes next, from 1.
    line: u64,
    is_over: bool,
}

/// Lines with their numbers.
pub type Numbered<'a> = Vec<(u64, &'a [u8])>;

impl<R: Read> Blocks<R> {
    /// The blocks of a text.
    pub fn new(reader: R) -> Self {
        Self { reader, block: Vec::with_capacity(BLOCK), end: 0, line: 1, is_over: false }
    }

    /// Where the text comes from.
    pub const fn reader(&self) -> &R {
        &self.reader
    }

    /// The next lines, without their line feeds. What follows the last line feed of the text is a line if there is anything of it.
    ///
    /// # Errors
    /// When the text cannot be read.
    pub fn further(&mut self) -> io::Result<Option<Numbered<'_>>> {
        if self.is_over {
            return Ok(None);
        }
        self.block.drain(..std::mem::take(&mut self.end));
        let mut wanted = BLOCK.max(self.block.len() * 2);
        loop {
            let before = self.block.len();
            self.reader.by_ref().take((wanted - before) as u64).read_to_end(&mut self.block)?;
            if self.block.len() < wanted {
                self.is_over = true;
                self.end = self.block.len();
                break;
            }
            if let Some(last) = memrchr(b'\n', &self.block) {
                self.end = last + 1;
                break;
            }
            wanted *= 2;
        }
        let block = &self.block[..self.end];
        let (mut lines, mut from, mut line) = (Vec::with_capacity(block.len() / 256), 0, self.line);
        for end in memchr_iter(b'\n', block) {
            lines.push((line, &block[from..end]));
            (from, line) = (end + 1, line + 1);
        }
        if from < block.len() {
            lines.push((line, &block[from..]));
        }
        self.line = line;
        Ok(Some(lines))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_and_counted_wherever_blocks_end() {
        for (count, length) in [(0, 0), (3, 5), (100_000, 60), (3, BLOCK), (2, 3 * BLOCK + 1)] {
            for ending in ["", "\n", "rest"] {
                let text = format!("{}\n", "a".repeat(length)).repeat(count) + ending;
                let mut blocks = Blocks::new(text.as_bytes());
                let mut seen = Vec::new();
                while let Some(lines) = blocks.further().expect("it is in memory") {
                    seen.extend(lines.into_iter().map(|(number, line)| (number, line.len())));
                }
                let wanted: Vec<(u64, usize)> = (1..).zip(text.lines().map(str::len)).collect();
                assert_eq!(seen, wanted, "{count} {length} {ending:?}");
            }
        }
    }
}
