//! Numbers that carry check digits, and addresses.

use std::net::Ipv6Addr;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{pattern, stands_alone};

/// The length of account numbers by country (ISO 13616 registry).
const LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 FO18 FR27 GB22 GE22 \
    GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 \
    PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC32 SE24 SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20";

pub fn ibans(text: &str) -> Vec<Range<usize>> {
    static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]){11,30}"));
    let iban = |found: regex::Match<'_>| {
        let country = found.as_str()[..2].to_ascii_uppercase();
        let length: usize = LENGTHS.split(' ').find_map(|entry| entry.strip_prefix(country.as_str()))?.parse().ok()?;
        // Words may follow that look like a part of it.
        let signs = found.as_str().char_indices().filter(|(_, sign)| sign.is_ascii_alphanumeric());
        let end = signs.clone().nth(length - 1).map(|(at, _)| found.start() + at + 1)?;
        let at = found.start()..end;
        let signs: Vec<u8> = signs.take(length).map(|(_, sign)| u8::try_from(sign).unwrap_or_default().to_ascii_uppercase()).collect();
        (remainder_97(&signs) == 1 && stands_alone(text, &at)).then_some(at)
    };
    CANDIDATE.find_iter(text).filter_map(iban).collect()
}

/// An account number as a number, with the first four signs at its end and letters as 10 to 35, modulo 97.
fn remainder_97(signs: &[u8]) -> u32 {
    signs[4..].iter().chain(&signs[..4]).fold(0, |rest, sign| match sign {
        b'0'..=b'9' => (rest * 10 + u32::from(sign - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    })
}

pub fn cards(text: &str) -> Vec<Range<usize>> {
    static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| pattern(r"[2-6](?:[ \-]?[0-9]){12,18}"));
    let card = |at: &Range<usize>| stands_alone(text, at) && is_card(&text[at.clone()]);
    let mut found = printed(text);
    let others = CANDIDATE.find_iter(text).map(|found| found.range()).filter(card);
    let apart: Vec<Range<usize>> = others.filter(|other| found.iter().all(|at| at.end <= other.start || other.end <= at.start)).collect();
    found.extend(apart);
    found
}

/// Cards in the groups of digits that they are printed in, whatever other numbers stand beside them: a date, a code, another card.
fn printed(text: &str) -> Vec<Range<usize>> {
    static DIGITS: LazyLock<Regex> = LazyLock::new(|| pattern(r"[0-9](?:[ \-._\u{a0}]{0,2}[0-9])*"));
    static GROUP: LazyLock<Regex> = LazyLock::new(|| pattern("[0-9]+"));
    // The longer before those that it begins with.
    const SHAPES: &[&[usize]] = &[&[4, 4, 4, 4, 3], &[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4], &[13], &[14], &[15], &[16], &[17], &[18], &[19]];
    let mut found = Vec::new();
    for run in DIGITS.find_iter(text) {
        let groups: Vec<Range<usize>> = GROUP.find_iter(run.as_str()).map(|group| group.start() + run.start()..group.end() + run.start()).collect();
        let mut from = 0;
        while from < groups.len() {
            let card = SHAPES.iter().find_map(|shape| {
                let some = groups.get(from..from + shape.len())?;
                let at = some[0].start..some[some.len() - 1].end;
                let fits = some.iter().zip(*shape).all(|(group, length)| group.len() == *length);
                (fits && stands_alone(text, &at) && is_card(&text[at.clone()])).then_some((at, shape.len()))
            });
            from += card.as_ref().map_or(1, |(_, groups)| *groups);
            found.extend(card.map(|(at, _)| at));
        }
    }
    found
}

/// Whether a number begins as those of an issuer of cards do, and holds by its check digit. Of those that begin with 2 only two
/// ranges are given out, so that years in a row are no card.
fn is_card(text: &str) -> bool {
    let digits = digits(text);
    let head = digits[..4].iter().fold(0, |head, digit| head * 10 + digit);
    matches!(head, 2200..=2204 | 2221..=2720 | 3000..=6999) && luhn(&digits)
}

fn digits(text: &str) -> Vec<u32> {
    text.chars().filter_map(|digit| digit.to_digit(10)).collect()
}

/// The check of ISO/IEC 7812: every second digit from the right doubled, the sum a multiple of ten.
fn luhn(digits: &[u32]) -> bool {
    let doubled = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    digits.iter().rev().enumerate().map(|(at, &digit)| if at % 2 == 1 { doubled(digit) } else { digit }).sum::<u32>().is_multiple_of(10)
}

pub fn addresses(text: &str) -> Vec<Range<usize>> {
    static V4: LazyLock<Regex> = LazyLock::new(|| pattern(r"[0-9]{1,3}(?:\.[0-9]{1,3})+"));
    static V6: LazyLock<Regex> = LazyLock::new(|| pattern(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,8}"));
    let v4 = V4.find_iter(text).filter(|found| found.as_str().parse::<std::net::Ipv4Addr>().is_ok());
    // Two colons at least.
    let has_colons = memchr::memchr_iter(b':', text.as_bytes()).nth(1).is_some();
    let v6 = V6.find_iter(if has_colons { text } else { "" }).filter(|found| found.as_str().len() > 3 && found.as_str().parse::<Ipv6Addr>().is_ok());
    v4.chain(v6).map(|found| found.range()).filter(|at| stands_alone(text, at)).collect()
}

pub fn national(text: &str) -> Vec<Range<usize>> {
    static UNITED_STATES: LazyLock<Regex> = LazyLock::new(|| pattern(r"[0-9]{3}-[0-9]{2}-[0-9]{4}"));
    static UNITED_KINGDOM: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"));
    static SPAIN: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)(?:[XYZ]-?[0-9]{7}|[0-9]{8})-?[A-Z]"));
    static FRANCE: LazyLock<Regex> = LazyLock::new(|| pattern(r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}"));
    static ITALY: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]"));
    static BRAZIL: LazyLock<Regex> = LazyLock::new(|| pattern(r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"));
    /// The form, and whether a text of that form holds by its check digits.
    type Form = (&'static LazyLock<Regex>, fn(&str) -> bool);
    let kinds: [Form; 6] = [
        (&UNITED_STATES, |text| !matches!(&text[..3], "000" | "666") && !text.starts_with('9') && &text[4..6] != "00" && &text[7..] != "0000"),
        (&UNITED_KINGDOM, |_| true),
        (&SPAIN, spanish),
        (&FRANCE, french),
        (&ITALY, |_| true),
        (&BRAZIL, brazilian),
    ];
    let found = kinds.into_iter().flat_map(|(pattern, holds)| pattern.find_iter(text).filter(move |found| holds(found.as_str())).map(|found| found.range()));
    found.filter(|at| stands_alone(text, at)).collect()
}

/// The letter is the number modulo 23 in a table; X, Y and Z count as 0, 1 and 2.
fn spanish(text: &str) -> bool {
    const LETTERS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let signs: String = text.to_ascii_uppercase().chars().filter(|sign| *sign != '-').collect();
    let (number, letter) = signs.split_at(signs.len() - 1);
    let number = number.replacen('X', "0", 1).replacen('Y', "1", 1).replacen('Z', "2", 1);
    number.parse::<usize>().is_ok_and(|number| LETTERS[number % 23] == letter.as_bytes()[0])
}

/// The last two digits are 97 less the number before them modulo 97; 2A and 2B count as 19 and 18.
fn french(text: &str) -> bool {
    let signs: String = text.chars().filter(|sign| *sign != ' ').collect();
    let (number, check) = signs.split_at(signs.len() - 2);
    let number = number.replace("2A", "19").replace("2B", "18");
    number.parse::<u64>().ok().zip(check.parse().ok()).is_some_and(|(number, check): (u64, u64)| 97 - number % 97 == check)
}

/// Two check digits, each by weights over those before it, modulo 11.
fn brazilian(text: &str) -> bool {
    let digits = digits(text);
    let check = |count: usize| {
        let sum: u32 = digits[..count].iter().zip((2..=u32::try_from(count).unwrap_or_default() + 1).rev()).map(|(digit, weight)| digit * weight).sum();
        (sum * 10 % 11) % 10
    };
    digits.len() == 11 && digits.iter().any(|digit| *digit != digits[0]) && check(9) == digits[9] && check(10) == digits[10]
}
