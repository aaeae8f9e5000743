//! Tokens to lines and blocks.

use super::super::lex::Token;

/// What stands on a line of its own.
#[derive(Debug)]
pub struct Line<'a> {
    /// Whether a blank line stands before it.
    pub is_apart: bool,
    /// A node, or a comment alone.
    pub pieces: Vec<Piece<'a>>,
    /// The comment at its end.
    pub comment: Option<&'a str>,
}

#[derive(Debug)]
pub enum Piece<'a> {
    Token(Token<'a>),
    Block(Block<'a>),
}

/// What stands between braces.
#[derive(Debug)]
pub struct Block<'a> {
    pub lines: Vec<Line<'a>>,
    /// The comment after the brace that opens it.
    pub comment: Option<&'a str>,
    /// Whether it was written in one line.
    pub is_inline: bool,
}

/// The lines of a text.
pub fn lines<'a>(tokens: &[Token<'a>]) -> Vec<Line<'a>> {
    let mut reader = Reader { tokens, at: 0 };
    let mut lines = reader.block().lines;
    // A brace that closes nothing is no KDL, and stays all the same.
    while reader.at < tokens.len() {
        lines.extend(reader.block().lines);
    }
    lines
}

struct Reader<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
}

impl<'a> Reader<'_, 'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).copied();
        self.at += 1;
        token
    }

    /// Reads up to the brace that closes the block, or the end.
    fn block(&mut self) -> Block<'a> {
        let mut block = Block { lines: Vec::new(), comment: None, is_inline: true };
        let mut newlines = 0;
        while let Some(token) = self.next() {
            match token {
                Token::Close => return block,
                Token::Newline => {
                    newlines += 1;
                    block.is_inline = false;
                }
                Token::Semicolon => {}
                Token::LineComment(comment) if newlines == 0 => {
                    block.is_inline = false;
                    match block.lines.last_mut() {
                        // After a semicolon.
                        Some(last) if last.comment.is_none() => last.comment = Some(comment),
                        None if self.at > 1 => block.comment = Some(comment),
                        _ => block.lines.push(Line { is_apart: false, pieces: vec![Piece::Token(token)], comment: None }),
                    }
                }
                Token::LineComment(_) => {
                    block.lines.push(Line { is_apart: newlines > 1 && !block.lines.is_empty(), pieces: vec![Piece::Token(token)], comment: None });
                    newlines = 0;
                }
                _ => {
                    self.at -= 1;
                    let mut line = self.line(&mut block.is_inline);
                    line.is_apart = newlines > 1 && !block.lines.is_empty();
                    block.lines.push(line);
                    newlines = 0;
                }
            }
        }
        block
    }

    /// Reads up to what ends a node.
    fn line(&mut self, is_inline: &mut bool) -> Line<'a> {
        let mut line = Line { is_apart: false, pieces: Vec::new(), comment: None };
        while let Some(token) = self.next() {
            let is_open = matches!(line.pieces.last(), Some(Piece::Token(Token::Slashdash | Token::LineComment(_))));
            match token {
                Token::Newline if is_open => {}
                Token::LineComment(_) if is_open => {
                    *is_inline = false;
                    line.pieces.push(Piece::Token(token));
                }
                Token::Newline | Token::Close => {
                    self.at -= 1;
                    return line;
                }
                Token::Semicolon => return line,
                Token::LineComment(comment) => {
                    *is_inline = false;
                    line.comment = Some(comment);
                    return line;
                }
                Token::Open => {
                    let block = self.block();
                    *is_inline &= block.is_inline;
                    line.pieces.push(Piece::Block(block));
                }
                Token::Continued(_) => {
                    *is_inline = false;
                    line.pieces.push(Piece::Token(token));
                }
                Token::Word(text) | Token::BlockComment(text) => {
                    *is_inline &= !text.contains('\n');
                    line.pieces.push(Piece::Token(token));
                }
                _ => line.pieces.push(Piece::Token(token)),
            }
        }
        line
    }
}
