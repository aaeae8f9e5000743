/// Cuts a text into words that tokens never cross: letters with the space before them, single digits,
/// runs of punctuation, runs of white space. The pieces together are the text.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let length = first_word(rest);
        let (word, after) = rest.split_at(length);
        rest = after;
        Some(word)
    })
}

fn first_word(text: &str) -> usize {
    let mut characters = text.chars();
    let Some(first) = characters.next() else {
        return 0;
    };
    match (first, characters.next()) {
        (' ', Some(second)) if second.is_alphabetic() => run(text, 1, char::is_alphabetic),
        (' ', Some(second)) if punctuation(second) => run(text, 1, punctuation),
        (first, _) if first.is_alphabetic() => run(text, 0, char::is_alphabetic),
        (first, _) if first.is_numeric() => first.len_utf8(),
        (first, _) if first.is_whitespace() => spaces(text),
        _ => run(text, 0, punctuation),
    }
}

/// Where the characters that belong together end which begin at a place. Most are ASCII, and need not be put together of bytes.
fn run(text: &str, from: usize, belongs: impl Fn(char) -> bool) -> usize {
    let mut at = from;
    loop {
        at += text.as_bytes()[at..].iter().take_while(|byte| byte.is_ascii() && belongs(char::from(**byte))).count();
        match text[at..].chars().next() {
            Some(c) if !c.is_ascii() && belongs(c) => at += c.len_utf8(),
            _ => return at,
        }
    }
}

fn punctuation(c: char) -> bool {
    !c.is_alphabetic() && !c.is_numeric() && !c.is_whitespace()
}

/// White space, without a last space that belongs to the word after it.
fn spaces(text: &str) -> usize {
    let length: usize = text.chars().take_while(|c| c.is_whitespace()).map(char::len_utf8).sum();
    let joins = length > 1 && text[..length].ends_with(' ') && text[length..].chars().next().is_some_and(|c| !c.is_numeric());
    if joins { length - 1 } else { length }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_run_ends_where_the_characters_do(text in "[a-cÄßé中１ \\t.,'\u{301}]{0,24}") {
            for belongs in [char::is_alphabetic, punctuation] {
                let wanted: usize = text.chars().take_while(|c| belongs(*c)).map(char::len_utf8).sum();
                prop_assert_eq!(run(&text, 0, belongs), wanted);
            }
            prop_assert_eq!(split(&text).collect::<String>(), text);
        }
    }
}
