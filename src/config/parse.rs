//! Text to KDL nodes whose places are counted over all files of a pipeline.

use std::borrow::Cow;

use kdl::{KdlDocument, KdlError, KdlNode};

use super::error::ConfigError;
use super::file::Span;
use super::lex::{self, Token};

/// Nesting beyond this is refused before the parser sees it, since it would recurse as deep.
const DEEPEST: usize = 64;

/// The nodes of a text that begins at an offset.
pub fn nodes(text: &str, start: usize) -> Result<Vec<KdlNode>, Vec<ConfigError>> {
    if let Some(error) = refused(text, start) {
        return Err(vec![error]);
    }
    let mut document = parsed(text).map_err(|error| syntax_errors(error, start))?;
    let mut nodes = std::mem::take(document.nodes_mut());
    if start > 0 {
        nodes.iter_mut().for_each(|node| shift(node, start));
    }
    Ok(nodes)
}

/// The nodes at some places of a text that is known to be right, and nothing between them.
pub fn excerpt(text: &str, spans: &[Span]) -> Result<Vec<KdlNode>, Vec<ConfigError>> {
    let mut found = Vec::with_capacity(spans.len());
    for span in spans {
        found.extend(nodes(text.get(span.start..span.start + span.length).unwrap_or_default(), span.start)?);
    }
    Ok(found)
}

fn shift(node: &mut KdlNode, by: usize) {
    node.set_span((node.span().offset() + by, node.span().len()));
    let name = node.name_mut();
    name.set_span((name.span().offset() + by, name.span().len()));
    for entry in node.entries_mut() {
        entry.set_span((entry.span().offset() + by, entry.span().len()));
        if let Some(name) = entry.name_mut() {
            name.set_span((name.span().offset() + by, name.span().len()));
        }
        if let Some(annotation) = entry.ty_mut() {
            annotation.set_span((annotation.span().offset() + by, annotation.span().len()));
        }
    }
    for child in node.children_mut().iter_mut().flat_map(KdlDocument::nodes_mut) {
        shift(child, by);
    }
}

/// What the recursive parser should not be shown: braces that do not match, annotations that are none, and nesting deeper than
/// it should be asked to follow. Also a property without a value, for which it has no place. It looks at tokens and not at signs, so
/// that strings and comments hide nothing and count for nothing.
fn refused(text: &str, start: usize) -> Option<ConfigError> {
    let syntax = |at: usize, problem: &str, label: &str, help: &str| ConfigError::Syntax {
        problem: problem.into(),
        label: label.into(),
        at: Span { start: start + at, length: 1 }.into(),
        help: help.into(),
    };
    let too_deep = |at: usize| Some(ConfigError::TooDeep { limit: DEEPEST, at: Span { start: start + at, length: 1 }.into() });
    let (mut open, mut dashes, mut annotation): (Vec<usize>, usize, Option<(usize, bool)>) = (Vec::new(), 0, None);
    let mut equals = None;
    for (at, token) in lex::places(text) {
        match token {
            Token::Word(_) | Token::TypeOpen => equals = None,
            Token::BlockComment(_) | Token::Continued(_) => {}
            _ if equals.is_some() => break,
            Token::Equals => equals = Some(at),
            _ => {}
        }
        match (token, annotation) {
            (Token::BlockComment(comment), _) if lex::block_comment(comment).1 > DEEPEST => return too_deep(at),
            (Token::BlockComment(_) | Token::Continued(_), _) => continue,
            (Token::Word("\""), _) => {
                return Some(syntax(at, "this string is not closed", "no `\"` for it", "close it in the same line, or begin it by `\"\"\"` for several lines"));
            }
            (Token::Word(_), Some((begin, false))) => annotation = Some((begin, true)),
            (Token::TypeClose, Some((_, true))) => annotation = None,
            (_, Some((begin, _))) => return Some(syntax(begin, "this annotation does not end", "expected a name and `)`", "write it as `(param)\"name\"`")),
            (Token::TypeOpen, None) => annotation = Some((at, false)),
            (Token::TypeClose, None) => return Some(syntax(at, "this `)` closes nothing", "no `(` before it", "take it out, or put the text in quotes")),
            (Token::Open, None) => open.push(at),
            (Token::Close, None) if open.pop().is_none() => {
                return Some(syntax(at, "this `}` closes nothing", "no `{` before it", "take it out, or look for a `{` that is missing above"));
            }
            _ => {}
        }
        dashes = if token == Token::Slashdash { dashes + 1 } else { 0 };
        if open.len().max(dashes) > DEEPEST {
            return too_deep(at);
        }
    }
    if let Some((begin, _)) = annotation {
        return Some(syntax(begin, "this annotation does not end", "expected a name and `)`", "write it as `(param)\"name\"`"));
    }
    if let Some(at) = equals {
        return Some(syntax(at, "this `=` has no value", "expected a value right after it", "write a property as `name=value`"));
    }
    let unclosed = open.last()?;
    Some(syntax(*unclosed, "this `{` is not closed", "no `}` for it", "close it by `}`, or look for one that is missing below"))
}

/// Texts with more that opens something than this, in strings too, get a stack that even their misreading does not fill.
const MANY: usize = 500;
const STACK: usize = 1 << 30;

fn parsed(text: &str) -> Result<KdlDocument, KdlError> {
    let text = &*dashed_by_lines(text);
    let bytes = text.as_bytes();
    let opens = bytes.iter().enumerate().filter(|&(at, byte)| match byte {
        b'{' | b'(' => true,
        b'/' => matches!(bytes.get(at + 1), Some(b'-' | b'*')),
        _ => false,
    });
    if opens.take(MANY).count() < MANY {
        return KdlDocument::parse_v2(text);
    }
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || KdlDocument::parse_v2(text));
        match parser.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(parsed)) => parsed,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            // No room for such a stack: the usual one does for all that people write.
            Err(_) => KdlDocument::parse_v2(text),
        }
    })
}

/// The text with each `;` that ends a slashdashed node as a line break, which is as long: the parser knows no other end of one.
fn dashed_by_lines(text: &str) -> Cow<'_, str> {
    if !text.contains("/-") {
        return Cow::Borrowed(text);
    }
    // Of the node that is open at each depth: whether it is slashdashed.
    let mut dashed = vec![false];
    let (mut begins, mut waits) = (true, false);
    let mut ends = Vec::new();
    for (at, token) in lex::places(text) {
        let depth = dashed.len() - 1;
        match token {
            Token::LineComment(_) | Token::BlockComment(_) | Token::Continued(_) => continue,
            // What is slashdashed may stand in the next line.
            Token::Newline if waits => continue,
            Token::Slashdash => {
                dashed[depth] |= begins;
                waits = true;
                continue;
            }
            Token::Newline | Token::Semicolon => {
                if token == Token::Semicolon && dashed[depth] {
                    ends.push(at);
                }
                (dashed[depth], begins) = (false, true);
            }
            Token::Open => {
                dashed.push(false);
                begins = true;
            }
            Token::Close => {
                dashed.truncate(depth.max(1));
                begins = false;
            }
            Token::Word(_) | Token::Equals | Token::TypeOpen | Token::TypeClose => begins = false,
        }
        waits = false;
    }
    let mut text = text.to_owned();
    ends.into_iter().for_each(|at| text.replace_range(at..=at, "\n"));
    Cow::Owned(text)
}

/// More than this many are no help.
const SHOWN: usize = 20;

fn syntax_errors(error: KdlError, start: usize) -> Vec<ConfigError> {
    let diagnostics = error.diagnostics.into_iter().take(SHOWN);
    diagnostics
        .map(|diagnostic| ConfigError::Syntax {
            problem: diagnostic.message.clone().unwrap_or_else(|| "unexpected text".into()),
            label: diagnostic.label.clone().unwrap_or_else(|| "here".into()),
            at: (diagnostic.span.offset() + start, diagnostic.span.len()).into(),
            help: diagnostic.help.clone().unwrap_or_else(|| "strings need quotes, properties are `name=value`, booleans `#true` and `#false`".into()),
        })
        .collect()
}
