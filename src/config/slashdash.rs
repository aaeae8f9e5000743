//! What `/-` takes out of a text.
//!
//! The parser reads what is taken out several times for each `/-` around it: its time grows exponentially with their depth. It is
//! shown none: each part that is taken out is blank in the text around it, and is looked at by itself.

use std::borrow::Cow;
use std::ops::Range;

use super::lex::{self, Token};

/// A node, a value, a property or a block that is taken out, from its `/-` on.
#[derive(Debug, PartialEq, Eq)]
pub struct TakenOut {
    pub place: Range<usize>,
    /// Where that begins which is taken out.
    begin: usize,
    is_node: bool,
}

impl TakenOut {
    /// The part as a text of its own, as long as it is in the text around it: what is no node belongs to one that is called `_`.
    pub fn alone(&self, text: &str) -> String {
        let name = if self.is_node { ' ' } else { '_' };
        format!("{name}{}{}", " ".repeat(self.begin - self.place.start - 1), &text[self.begin..self.place.end])
    }
}

/// Where a `/-` stands wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misplaced {
    /// Nothing that could be taken out comes after it.
    TakesNothing(usize),
    /// A value or a property that stands behind a block that is taken out.
    BehindBlock(usize),
    /// Between an annotation and what it is of, or behind a `\` that ends no line.
    Between(usize),
    /// Where a blank has to be: before a `/-`, or behind what it takes out.
    Glued(usize),
}

/// The text without what is taken out, as long as it was, and the parts that are.
///
/// # Errors
///
/// The first `/-` that stands wrong.
pub fn without(text: &str) -> Result<(Cow<'_, str>, Vec<TakenOut>), Misplaced> {
    if !text.contains("/-") {
        return Ok((Cow::Borrowed(text), Vec::new()));
    }
    let parts = Tokens { all: lex::places(text).collect(), text }.parts()?;
    let mut shown = text.to_owned();
    for part in &parts {
        shown.replace_range(part.place.clone(), &" ".repeat(part.place.len()));
    }
    Ok((Cow::Owned(shown), parts))
}

struct Tokens<'a> {
    all: Vec<(usize, Token<'a>)>,
    text: &'a str,
}

impl<'a> Tokens<'a> {
    fn parts(&self) -> Result<Vec<TakenOut>, Misplaced> {
        let mut parts = Vec::new();
        let (mut next, mut in_node, mut behind_block) = (0, false, false);
        while let Some(token) = self.at(next) {
            let place = self.place(next);
            match token {
                Token::Slashdash => {
                    self.fits(next)?;
                    let begin = self.behind_lines(next + 1);
                    let is_block = in_node && self.at(begin) == Some(Token::Open);
                    if behind_block && !is_block {
                        return Err(Misplaced::BehindBlock(place));
                    }
                    let end = if in_node { self.entry(begin).map(|last| (last + 1, self.end(last))) } else { self.node(begin) };
                    let (after, end) = end.ok_or(Misplaced::TakesNothing(place))?;
                    parts.push(TakenOut { place: place..end, begin: self.place(begin), is_node: !in_node });
                    behind_block |= is_block;
                    if matches!(self.at(after), Some(Token::Word(_) | Token::TypeOpen)) && self.place(after) == end {
                        return Err(Misplaced::Glued(end));
                    }
                    next = after;
                    continue;
                }
                Token::Newline | Token::Semicolon | Token::Open => (in_node, behind_block) = (false, false),
                Token::Word(_) | Token::TypeOpen if behind_block => return Err(Misplaced::BehindBlock(place)),
                Token::Close => (in_node, behind_block) = (true, true),
                Token::Word(_) | Token::TypeOpen | Token::TypeClose | Token::Equals => in_node = true,
                Token::LineComment(_) | Token::BlockComment(_) | Token::Continued(_) => {}
            }
            next += 1;
        }
        Ok(parts)
    }

    /// Makes sure that the `/-` of an index may stand behind what comes before it.
    fn fits(&self, index: usize) -> Result<(), Misplaced> {
        let place = self.place(index);
        let before = (0..index).rev().find(|&before| !matches!(self.all[before].1, Token::BlockComment(_)));
        match before.map(|before| (self.all[before], self.end(before))) {
            Some(((_, Token::TypeClose), _)) => Err(Misplaced::Between(place)),
            Some(((begin, Token::Continued(_)), _)) if !self.text[begin..place].contains(lex::is_newline) => Err(Misplaced::Between(place)),
            Some(((_, Token::Word(_)), end)) if end == place => Err(Misplaced::Glued(place)),
            _ => Ok(()),
        }
    }

    /// Behind the node that begins at a token: the token to go on with, and where what is taken out ends.
    fn node(&self, begin: usize) -> Option<(usize, usize)> {
        if !matches!(self.at(begin)?, Token::Word(_) | Token::TypeOpen) {
            return None;
        }
        let (mut next, mut depth) = (begin, 0_usize);
        while let Some(token) = self.at(next) {
            match token {
                Token::Open => depth += 1,
                Token::Close if depth > 0 => depth -= 1,
                // An empty statement is none: its end goes with it.
                Token::Semicolon if depth == 0 => return Some((next + 1, self.place(next) + 1)),
                Token::Newline | Token::LineComment(_) | Token::Close if depth == 0 => return Some((next, self.place(next))),
                Token::Slashdash => {
                    next = self.behind_lines(next + 1);
                    continue;
                }
                _ => {}
            }
            next += 1;
        }
        Some((next, self.text.len()))
    }

    /// The last token of the value, the property or the block that begins at one.
    fn entry(&self, begin: usize) -> Option<usize> {
        if self.at(begin)? == Token::Open {
            let mut depth = 0_usize;
            return (begin..self.all.len()).find(|&next| {
                depth = match self.all[next].1 {
                    Token::Open => depth + 1,
                    Token::Close => depth - 1,
                    _ => depth,
                };
                depth == 0
            });
        }
        let last = self.value(begin)?;
        let equals = self.behind_comments(last + 1);
        if self.at(equals) == Some(Token::Equals) { self.value(self.behind_comments(equals + 1)) } else { Some(last) }
    }

    /// The last token of a value, which may be annotated.
    fn value(&self, begin: usize) -> Option<usize> {
        let mut next = begin;
        if self.at(next)? == Token::TypeOpen {
            let close = (next..self.all.len()).find(|&next| self.all[next].1 == Token::TypeClose)?;
            next = self.behind_comments(close + 1);
        }
        matches!(self.at(next)?, Token::Word(_)).then_some(next)
    }

    fn behind_comments(&self, begin: usize) -> usize {
        self.behind(begin, |token| matches!(token, Token::BlockComment(_) | Token::Continued(_)))
    }

    fn behind_lines(&self, begin: usize) -> usize {
        self.behind(begin, |token| matches!(token, Token::BlockComment(_) | Token::Continued(_) | Token::LineComment(_) | Token::Newline))
    }

    fn behind(&self, begin: usize, skipped: impl Fn(&Token<'_>) -> bool) -> usize {
        (begin..self.all.len()).find(|&next| !skipped(&self.all[next].1)).unwrap_or(self.all.len())
    }

    fn at(&self, index: usize) -> Option<Token<'a>> {
        self.all.get(index).map(|&(_, token)| token)
    }

    fn place(&self, index: usize) -> usize {
        self.all.get(index).map_or(self.text.len(), |&(place, _)| place)
    }

    /// Where a word or a `}` ends.
    fn end(&self, index: usize) -> usize {
        self.place(index) + if let Some(Token::Word(word)) = self.at(index) { word.len() } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> (String, Vec<String>) {
        let (shown, parts) = without(text).expect("nothing stands wrong");
        assert_eq!(shown.len(), text.len());
        (shown.into_owned(), parts.iter().map(|part| part.alone(text)).collect())
    }

    #[test]
    fn what_is_taken_out_is_blank() {
        for (text, around, parts) in [
            ("/-a; b", "     b", vec!["  a;"]),
            ("/-a {\n b\n} // c\nd", "           // c\nd", vec!["  a {\n b\n} "]),
            ("a { /-b }", "a {     }", vec!["  b "]),
            ("a /-1 2", "a     2", vec!["_ 1"]),
            ("a /- (t)k /* x */ = \"é\" {}", "a                        {}", vec!["_  (t)k /* x */ = \"é\""]),
            ("a /-{ /-b\n c } /-{}", "a                  ", vec!["_ { /-b\n c }", "_ {}"]),
            ("/-\n// c\na /-\n 1\nb", "               \nb", vec!["        a /-\n 1"]),
            ("a /-\n1 {}", "a      {}", vec!["_  1"]),
            ("a \"/-b\" // /-c", "a \"/-b\" // /-c", vec![]),
        ] {
            assert_eq!(shown(text), (around.to_owned(), parts.into_iter().map(str::to_owned).collect()), "{text:?}");
        }
    }

    #[test]
    fn what_stands_wrong_is_told() {
        for (text, wrong) in [
            ("/-", Misplaced::TakesNothing(0)),
            ("a { /-}", Misplaced::TakesNothing(4)),
            ("a /- /-b", Misplaced::TakesNothing(2)),
            ("a /-b=", Misplaced::TakesNothing(2)),
            ("/-{}", Misplaced::TakesNothing(0)),
            ("a /-{} b", Misplaced::BehindBlock(7)),
            ("a {} /-b", Misplaced::BehindBlock(5)),
            ("a (t)/-b c", Misplaced::Between(5)),
            ("a 1 \\ /-2\nb 3", Misplaced::Between(6)),
            ("a/-b", Misplaced::Glued(1)),
            ("a /-b\"c\"", Misplaced::Glued(5)),
            ("a /-k=1(t)c", Misplaced::Glued(7)),
        ] {
            let found = without(text).map(|(shown, _)| shown);
            assert_eq!(found, Err(wrong), "{text:?}");
        }
    }
}
