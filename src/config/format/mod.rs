//! The formatter: one way to lay out a pipeline file, which keeps comments, blank lines between groups, and all that is written.

mod tree;

use kdl::{KdlDocument, KdlEntry, KdlNode};
use unicode_width::UnicodeWidthStr;

use super::error::ConfigError;
use super::lex::{Token, tokens};
use super::parse;
use tree::{Block, Line, Piece, lines};

/// Lines are not made longer than this.
const WIDTH: usize = 100;
const INDENT: &str = "    ";

/// A text as it should be laid out.
///
/// # Errors
/// All that keeps it from being KDL.
pub fn format(text: &str) -> Result<String, Vec<ConfigError>> {
    let before = parse::nodes(text, 0)?;
    let mut layout = Layout::default();
    layout.block(&lines(&tokens(text)), 0);
    let formatted = layout.text();
    // What would mean something else is left as it is.
    let is_same = parse::nodes(&formatted, 0).is_ok_and(|after| same(&before, &after));
    Ok(if is_same { formatted } else { text.to_owned() })
}

/// Whether nodes mean the same: names, values and what is inside, without regard to how they are written.
fn same(one: &[KdlNode], other: &[KdlNode]) -> bool {
    let inside = |node: &KdlNode| node.children().map(KdlDocument::nodes).unwrap_or_default().to_vec();
    let entry = |entry: &KdlEntry| (entry.name().map(|name| name.value().to_owned()), entry.ty().map(|ty| ty.value().to_owned()), entry.value().clone());
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            one.name().value() == other.name().value()
                && one.ty().map(|ty| ty.value()) == other.ty().map(|ty| ty.value())
                && one.entries().iter().map(entry).eq(other.entries().iter().map(entry))
                && same(&inside(one), &inside(other))
        })
}

/// A line that is laid out.
#[derive(Debug, Default)]
struct Out {
    text: String,
    comment: Option<String>,
}

#[derive(Debug, Default)]
struct Layout {
    out: Vec<Out>,
    /// Whether blocks that were written in one line stay in it however long it is. Who asks how long it is throws the answer away
    /// where it is too long, and must not have tried both ways at every depth.
    is_flat: bool,
}

impl Layout {
    fn block(&mut self, lines: &[Line<'_>], depth: usize) {
        for line in lines {
            if line.is_apart {
                self.out.push(Out::default());
            }
            self.out.push(Out { text: INDENT.repeat(depth), comment: None });
            self.line(line, depth);
            self.last().comment = line.comment.map(str::to_owned);
        }
    }

    fn last(&mut self) -> &mut Out {
        if self.out.is_empty() {
            self.out.push(Out::default());
        }
        let last = self.out.len() - 1;
        &mut self.out[last]
    }

    fn line(&mut self, line: &Line<'_>, depth: usize) {
        let mut before: Option<Token<'_>> = None;
        for piece in &line.pieces {
            match piece {
                Piece::Token(token) => {
                    self.token(*token, before, depth);
                    before = Some(*token);
                }
                Piece::Block(block) => {
                    let space = if before.is_none_or(|before| before == Token::Slashdash) { "" } else { " " };
                    self.last().text.push_str(space);
                    self.braces(block, depth);
                    before = Some(Token::Close);
                }
            }
        }
    }

    fn token(&mut self, token: Token<'_>, before: Option<Token<'_>>, depth: usize) {
        let glued = match (before, token) {
            (None, _) | (_, Token::TypeClose | Token::Equals) => true,
            (Some(before), _) => {
                matches!(before, Token::TypeOpen | Token::TypeClose | Token::Equals | Token::Slashdash | Token::Continued(_) | Token::LineComment(_))
            }
        };
        // A comment that stays on the line of a slashdash wants air.
        let glued = glued && !(matches!(token, Token::LineComment(_)) && before.is_some());
        let last = self.last();
        if !glued {
            last.text.push(' ');
        }
        match token {
            // Line ends are the same all over the file.
            Token::Word(text) | Token::BlockComment(text) => last.text.push_str(&text.replace("\r\n", "\n")),
            Token::LineComment(text) => {
                last.text.push_str(text);
                if before.is_some() {
                    self.out.push(Out { text: INDENT.repeat(depth), comment: None });
                }
            }
            Token::Slashdash => last.text.push_str("/-"),
            Token::Equals => last.text.push('='),
            Token::TypeOpen => last.text.push('('),
            Token::TypeClose => last.text.push(')'),
            Token::Continued(comment) => {
                last.text.push('\\');
                last.comment = comment.map(str::to_owned);
                self.out.push(Out { text: INDENT.repeat(depth + 1), comment: None });
            }
            Token::Newline | Token::Open | Token::Close | Token::Semicolon => {}
        }
    }

    fn braces(&mut self, block: &Block<'_>, depth: usize) {
        if block.lines.is_empty() && block.comment.is_none() {
            self.last().text.push_str("{}");
            return;
        }
        if block.is_inline {
            let inside: Vec<String> = block.lines.iter().map(inline).collect();
            let inside = format!("{{ {} }}", inside.join("; "));
            let width = self.last().text.lines().last().unwrap_or_default().width();
            if self.is_flat || width + inside.width() <= WIDTH {
                self.last().text.push_str(&inside);
                return;
            }
        }
        let last = self.last();
        last.text.push('{');
        last.comment = block.comment.map(str::to_owned);
        self.block(&block.lines, depth + 1);
        self.out.push(Out { text: format!("{}}}", INDENT.repeat(depth)), comment: None });
    }

    /// All lines; comments at the ends of lines that follow each other stand below each other.
    fn text(&self) -> String {
        let mut text = String::new();
        let mut at = 0;
        while at < self.out.len() {
            let indent = |out: &Out| out.text.len() - out.text.trim_start().len();
            let with_comment = |out: &&Out| out.comment.is_some() && !out.text.contains('\n') && indent(out) == indent(&self.out[at]);
            let group = self.out[at..].iter().take_while(with_comment).count();
            let width = self.out[at..at + group].iter().map(|out| out.text.width()).max().unwrap_or_default();
            for out in &self.out[at..at + group.max(1)] {
                text.push_str(out.text.trim_end_matches(' '));
                if let Some(comment) = &out.comment {
                    let pad = width.saturating_sub(out.text.width()).min(WIDTH);
                    text.push_str(&" ".repeat(pad + 1));
                    text.push_str(comment);
                }
                text.push('\n');
            }
            at += group.max(1);
        }
        text
    }
}

/// A line as it stands in a block of one line.
fn inline(line: &Line<'_>) -> String {
    let mut layout = Layout { is_flat: true, ..Layout::default() };
    layout.line(line, 0);
    layout.out.into_iter().map(|out| out.text).collect::<Vec<_>>().join(" ")
}
