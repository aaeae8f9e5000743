//! Text to KDL nodes whose places are counted over all files of a pipeline.

use kdl::{KdlDocument, KdlError, KdlNode};

use super::error::ConfigError;
use super::file::Span;
use super::lex::{self, Token};
use super::slashdash::{self, Misplaced};

/// Nesting beyond this is refused before the parser sees it, since it would recurse as deep.
const DEEPEST: usize = 64;

/// The nodes of a text that begins at an offset.
pub fn nodes(text: &str, start: usize) -> Result<Vec<KdlNode>, Vec<ConfigError>> {
    if let Some(error) = refused(text, start) {
        return Err(vec![error]);
    }
    let mut document = document(text, start).map_err(first)?;
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
    let syntax = |at: usize, problem: &str, label: &str, help: &str| syntax(start + at, problem, label, help);
    let too_deep = |at: usize| Some(ConfigError::TooDeep { limit: DEEPEST, at: Span { start: start + at, length: 1 }.into() });
    let (mut open, mut annotation): (Vec<usize>, Option<(usize, bool)>) = (Vec::new(), None);
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
        if open.len() > DEEPEST {
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

/// The document of a text; what is slashdashed in it is looked at, and left out.
fn document(text: &str, start: usize) -> Result<KdlDocument, Vec<ConfigError>> {
    let (shown, parts) = slashdash::without(text).map_err(|misplaced| vec![misplaced_error(misplaced, start)])?;
    // Where the parser takes quotes for another end than the tokens do, a `/-` of a string may keep it for ever.
    if shown.contains("/-") {
        parsed(&shown.replace("/-", "/_")).map_err(|error| syntax_errors(error, start))?;
    }
    let mut errors = Vec::new();
    let read = parsed(&shown).map_err(|error| errors.extend(syntax_errors(error, start)));
    for part in parts {
        errors.extend(document(&part.alone(text), start + part.place.start).err().into_iter().flatten());
    }
    match read {
        Ok(document) if errors.is_empty() => Ok(document),
        _ => Err(errors),
    }
}

/// The first of them by place, as many as are of help.
fn first(mut errors: Vec<ConfigError>) -> Vec<ConfigError> {
    errors.sort_by_key(|error| if let ConfigError::Syntax { at, .. } = error { at.offset() } else { 0 });
    errors.truncate(SHOWN);
    errors
}

fn misplaced_error(misplaced: Misplaced, start: usize) -> ConfigError {
    match misplaced {
        Misplaced::TakesNothing(at) => syntax(
            start + at,
            "this `/-` takes nothing out",
            "expected a node, a value, a property or a block after it",
            "put it right before what is to be left out, or delete it",
        ),
        Misplaced::BehindBlock(at) => syntax(
            start + at,
            "nothing may stand behind a block",
            "a value behind the block of its node",
            "put values before the `{`, and a new node in the next line",
        ),
        Misplaced::Between(at) => syntax(
            start + at,
            "this `/-` stands where nothing may be taken out",
            "an annotation or a `\\` stands before it",
            "put it before all that is to be left out",
        ),
        Misplaced::Glued(at) => syntax(start + at, "a blank is missing here", "one value begins where another ends", "put a blank between the two"),
    }
}

fn syntax(at: usize, problem: &str, label: &str, help: &str) -> ConfigError {
    ConfigError::Syntax { problem: problem.into(), label: label.into(), at: Span { start: at, length: 1 }.into(), help: help.into() }
}

/// Texts with more that opens something than this, in strings too, get a stack that even their misreading does not fill.
const MANY: usize = 500;
const STACK: usize = 1 << 30;

fn parsed(text: &str) -> Result<KdlDocument, KdlError> {
    let bytes = text.as_bytes();
    let opens = bytes.iter().enumerate().filter(|&(at, byte)| match byte {
        b'{' | b'(' => true,
        b'/' => bytes.get(at + 1) == Some(&b'*'),
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
