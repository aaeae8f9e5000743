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
    let run = |from: usize, belongs: fn(char) -> bool| from + text[from..].chars().take_while(|&c| belongs(c)).map(char::len_utf8).sum::<usize>();
    match (first, characters.next()) {
        (' ', Some(second)) if second.is_alphabetic() => run(1, char::is_alphabetic),
        (' ', Some(second)) if punctuation(second) => run(1, punctuation),
        (first, _) if first.is_alphabetic() => run(0, char::is_alphabetic),
        (first, _) if first.is_numeric() => first.len_utf8(),
        (first, _) if first.is_whitespace() => spaces(text),
        _ => run(0, punctuation),
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
