use std::ops::Range;

/// E-mail addresses: each `@` with what may stand before it, and a domain of at least two labels after it. A pattern for the same with
/// letters of all scripts is some fifty times slower.
pub fn find(text: &str) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for at in memchr::memchr_iter(b'@', text.as_bytes()) {
        let least = found.last().map_or(0, |last| last.end);
        let name = text[least..at].char_indices().rev().take_while(|(_, c)| is_of_name(*c)).last().map(|(begin, _)| least + begin);
        let ends_well = text[least..at].chars().next_back().is_some_and(|last| is_of_name(last) && !matches!(last, '.' | '\''));
        let (Some(begin), true) = (name, ends_well) else {
            continue;
        };
        if let Some(length) = domain(&text[at + 1..]) {
            found.push(begin..at + 1 + length);
        }
    }
    found
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '.' | '_' | '%' | '+' | '\'' | '-') || is_letter(c)
}

/// A letter of any script, and what Unicode counts as alphabetic beside letters: signs for vowels, letters in circles.
fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || !c.is_ascii() && c.is_alphabetic()
}

/// How long the domain is that a text begins with: labels of letters, digits and inner dashes, the last one letters alone.
fn domain(text: &str) -> Option<usize> {
    let of_label = |c: char| c.is_ascii_digit() || is_letter(c);
    let (mut longest, mut begin, mut labels) = (None, 0, 0);
    loop {
        let rest = &text[begin..];
        let letters: usize = rest.chars().take_while(|c| is_letter(*c)).map(char::len_utf8).sum();
        if labels > 0 && rest[..letters].chars().nth(1).is_some() {
            longest = Some(begin + letters);
        }
        let label: usize = rest.chars().take_while(|c| of_label(*c) || *c == '-').map(char::len_utf8).sum();
        let inner = &rest[..label];
        if label == 0 || inner.starts_with('-') || inner.ends_with('-') || !rest[label..].starts_with('.') {
            return longest;
        }
        labels += 1;
        begin += label + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_same_is_found_as_by_the_pattern(text in "([ab1é\u{93e}Ⓐ\u{301}@.'%_+ -]|@a\\.bc|x@){0,24}") {
            let slow = pattern(r"(?i)[\p{Alphabetic}0-9._%+'\-]*[\p{Alphabetic}0-9_%+\-]@(?:[\p{Alphabetic}0-9](?:[\p{Alphabetic}0-9\-]*[\p{Alphabetic}0-9])?\.)+\p{Alphabetic}{2,}");
            let wanted: Vec<Range<usize>> = slow.find_iter(&text).map(|found| found.range()).collect();
            prop_assert_eq!(find(&text), wanted, "{}", text);
        }
    }
}
