use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::{pattern, stands_alone};

static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\+?\(?\+?[0-9](?:[0-9]|[ .\-/()\u{a0}]{1,2}[0-9(])*[0-9]"));

/// Phone numbers: with `+` or `00`, 8 to 15 digits; else 9 to 12 with spaces or signs between them or a 0 before them.
pub fn find(text: &str) -> Vec<Range<usize>> {
    CANDIDATE.find_iter(text).map(|found| found.range()).filter(|at| stands_alone(text, at) && is_phone(&text[at.clone()])).collect()
}

fn is_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if text.contains('+') || text.starts_with("00") {
        return (8..=15).contains(&digits);
    }
    if !(9..=12).contains(&digits) || text.parse::<Ipv4Addr>().is_ok() {
        return false;
    }
    let groups: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty()).collect();
    if groups.len() == 1 {
        return text.starts_with('0');
    }
    !is_date(&groups) && !is_amount(text, &groups)
}

/// A day, with or without a time: `2026-11-24 10`, `24.11.2026 10`.
fn is_date(groups: &[&str]) -> bool {
    let is_year = |group: &str| group.len() == 4 && matches!(&group[..2], "19" | "20");
    let short = |groups: &[&str]| groups.iter().all(|group| group.len() <= 2);
    match groups {
        [year, month, day, time @ ..] if is_year(year) => short(&[month, day]) && short(time),
        [day, month, year, time @ ..] if is_year(year) => short(&[day, month]) && short(time),
        _ => false,
    }
}

/// Thousands: `1 000 000 000`.
fn is_amount(text: &str, groups: &[&str]) -> bool {
    let (first, others) = groups.split_first().map_or(("", &[][..]), |(first, others)| (*first, others));
    let plain = !text.contains(['(', '-', '/']);
    plain && first.len() < 3 && !first.starts_with('0') && others.iter().all(|group| group.len() == 3)
}
