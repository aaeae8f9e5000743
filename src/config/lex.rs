//! KDL text to tokens that lose nothing but spaces.

/// A piece of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A name, a number, a keyword or a string, as it is written.
    Word(&'a str),
    /// `// ...` up to the end of the line.
    LineComment(&'a str),
    /// `/* ... */`.
    BlockComment(&'a str),
    /// `/-`: what comes next is as if it were not there.
    Slashdash,
    /// `\` at the end of a line: the node goes on in the next one. With the comment that may stand after it.
    Continued(Option<&'a str>),
    Newline,
    Open,
    Close,
    Semicolon,
    Equals,
    TypeOpen,
    TypeClose,
}

/// The tokens of a text that is KDL.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    places(text).map(|(_, token)| token).collect()
}

/// The tokens of a text, each with the offset at which it begins.
pub fn places(text: &str) -> impl Iterator<Item = (usize, Token<'_>)> {
    let mut lexer = Lexer { rest: text.strip_prefix('\u{feff}').unwrap_or(text) };
    std::iter::from_fn(move || {
        lexer.skip_spaces();
        let at = text.len() - lexer.rest.len();
        Some((at, lexer.next()?))
    })
}

struct Lexer<'a> {
    rest: &'a str,
}

/// What ends a line in KDL, besides CR and LF together.
pub const fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{b}' | '\u{c}' | '\u{2028}' | '\u{2029}')
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        let first = self.rest.chars().next()?;
        if is_newline(first) {
            self.take_newline();
            return Some(Token::Newline);
        }
        let single = match first {
            '{' => Some(Token::Open),
            '}' => Some(Token::Close),
            ';' => Some(Token::Semicolon),
            '=' => Some(Token::Equals),
            '(' => Some(Token::TypeOpen),
            ')' => Some(Token::TypeClose),
            _ => None,
        };
        if let Some(token) = single {
            self.take(1);
            return Some(token);
        }
        if self.rest.starts_with("//") {
            return Some(Token::LineComment(self.take_line()));
        }
        if self.rest.starts_with("/*") {
            let (length, _) = block_comment(self.rest);
            return Some(Token::BlockComment(self.take(length)));
        }
        if self.rest.starts_with("/-") {
            self.take(2);
            return Some(Token::Slashdash);
        }
        if first == '\\' {
            self.take(1);
            self.skip_spaces();
            let begin = self.rest;
            while self.rest.starts_with("/*") {
                self.take(block_comment(self.rest).0);
                self.skip_spaces();
            }
            if self.rest.starts_with("//") {
                self.take_line();
            }
            let comment = begin[..begin.len() - self.rest.len()].trim_end();
            self.take_newline();
            return Some(Token::Continued((!comment.is_empty()).then_some(comment)));
        }
        let length = string(self.rest).unwrap_or_else(|| word(self.rest));
        Some(Token::Word(self.take(length)))
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| (c.is_whitespace() || c == '\u{feff}') && !is_newline(c));
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn take_line(&mut self) -> &'a str {
        let length = self.rest.find(is_newline).unwrap_or(self.rest.len());
        self.take(length).trim_end()
    }

    fn take_newline(&mut self) {
        let rest = self.rest.strip_prefix("\r\n");
        self.rest = rest.unwrap_or_else(|| self.rest.strip_prefix(is_newline).unwrap_or(self.rest));
    }
}

/// The length of a block comment, those inside it among it, and how deep they are nested.
pub fn block_comment(text: &str) -> (usize, usize) {
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
            deepest = deepest.max(depth);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return (at, deepest);
            }
        } else {
            at += 1;
        }
    }
    (text.len(), deepest)
}

/// The length of a string that is quoted in one of the ways.
fn string(text: &str) -> Option<usize> {
    let hashes = text.bytes().take_while(|&byte| byte == b'#').count();
    let quotes = &text[hashes..];
    if !quotes.starts_with('"') {
        return None;
    }
    // Three quotes begin several lines; `#""#` is an empty string, and so is `""` before whatever comes next.
    let is_block = quotes.strip_prefix("\"\"\"").is_some_and(|rest| rest.starts_with(is_newline) || hashes > 0 && !rest.starts_with('#'));
    let quote = if is_block { "\"\"\"" } else { "\"" };
    let end = format!("{quote}{}", "#".repeat(hashes));
    let mut at = hashes + quote.len();
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(&end) {
            return Some(at + end.len());
        }
        let mut chars = rest.chars();
        let first = chars.next()?;
        at += first.len_utf8();
        if first == '\\' && hashes == 0 {
            at += chars.next().map_or(0, char::len_utf8);
        }
    }
}

fn word(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | '(' | ')' | ';' | '=' | '\\' | '/' | '"' | '\u{feff}');
    // Whatever it is, it is at least one sign long.
    let first = text.chars().next().map_or(0, char::len_utf8);
    text[first..].find(ends).map_or(text.len(), |at| at + first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_kept_whole() {
        for whole in [
            "\"a; b } // c\"",
            "\"\\\" \\\\\"",
            "#\"a \" b\"#",
            "##\"a \"# b\"##",
            "\"\"\"\n  a { \"\" }\n  \"\"\"",
            "#\"\"\"\n a \"\n \"\"\"#",
            "\"\"",
            "#\"\"#",
        ] {
            assert_eq!(tokens(whole), [Token::Word(whole)], "{whole}");
        }
    }

    #[test]
    fn a_line_is_told_apart() {
        use Token::{Close, Equals, LineComment, Newline, Open, Semicolon, Slashdash, TypeClose, TypeOpen, Word};
        assert_eq!(
            tokens("/-a b=(c)#true { d -1.5e3; } // e\r\n"),
            [
                Slashdash,
                Word("a"),
                Word("b"),
                Equals,
                TypeOpen,
                Word("c"),
                TypeClose,
                Word("#true"),
                Open,
                Word("d"),
                Word("-1.5e3"),
                Semicolon,
                Close,
                LineComment("// e"),
                Newline
            ]
        );
        assert_eq!(tokens("a \\ // c\n b /* x /* y */ */"), [Word("a"), Token::Continued(Some("// c")), Word("b"), Token::BlockComment("/* x /* y */ */")]);
    }
}
