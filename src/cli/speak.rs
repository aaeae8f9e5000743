//! Words for people and scripts: results to stdout, everything else to stderr. A reader that closes early (`head`) is no error;
//! a disk that is full is one.

use std::fmt;
use std::io::{ErrorKind, Write};

/// Writes a line of a result.
macro_rules! say {
    ($($part:tt)*) => {
        crate::cli::speak::result(format_args!("{}\n", format_args!($($part)*)))
    };
}

/// Writes a line about what goes on.
macro_rules! complain {
    ($($part:tt)*) => {
        crate::cli::speak::about(format_args!("{}\n", format_args!($($part)*)))
    };
}

pub(crate) use {complain, say};

/// How many columns a line of a result has: those of the terminal, or of `COLUMNS` where it goes elsewhere; as many as it takes
/// where nobody says.
pub fn columns() -> usize {
    let of_terminal = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    of_terminal.or_else(|| std::env::var("COLUMNS").ok()?.parse().ok()).filter(|&width| width > 0).unwrap_or(usize::MAX)
}

/// A line of a result, in as many as the terminal needs: those that follow are set in by as many blanks.
pub fn filled(line: &str, indent: usize) -> String {
    let blanks = " ".repeat(indent);
    textwrap::fill(line, textwrap::Options::new(columns()).subsequent_indent(&blanks).word_splitter(textwrap::WordSplitter::NoHyphenation))
}

/// Writes a result as it is.
pub fn result(text: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        about(format_args!("cannot write the result: {error}\n"));
        std::process::exit(1);
    }
}

/// Writes what goes on as it is, in one piece: stderr has no buffer, and others may write there too. Where that cannot be written
/// there is nobody to tell.
pub fn about(text: fmt::Arguments<'_>) {
    let _ = std::io::stderr().lock().write_all(text.to_string().as_bytes());
}
