//! Personal data and secrets in text: what can be told by its form, and by check digits where there are some.

mod email;
mod numbers;
mod phone;
mod secret;

use std::ops::Range;

use regex::Regex;

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Personal {
    /// A key or token of an API, a password that is named so, a private key.
    Secret,
    /// An e-mail address.
    Email,
    /// An international bank account number, with its country's length and check digits (ISO 13616).
    Iban,
    /// A payment card number, with its check digit (ISO/IEC 7812).
    Card,
    /// A national identity number: US, UK, ES, FR, IT, BR.
    NationalId,
    /// An address of the Internet Protocol, version 4 or 6.
    Ip,
    /// A phone number as people write it.
    Phone,
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: Personal,
    /// Where it stands, in bytes.
    pub at: Range<usize>,
}

impl Personal {
    /// All kinds; of two that claim the same text the first has it.
    pub const ALL: [Self; 7] = [Self::Secret, Self::Email, Self::Iban, Self::Card, Self::NationalId, Self::Ip, Self::Phone];

    /// The names of all kinds, in their order.
    pub const NAMES: &'static [&'static str] = &["secret", "email", "iban", "card", "national-id", "ip", "phone"];

    /// Its name in a pipeline.
    #[must_use]
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The kind of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What stands for it in a text.
    #[must_use]
    pub fn mark(self) -> String {
        self.name().to_uppercase().replace('-', "_")
    }

    fn find(self, text: &str) -> Vec<Range<usize>> {
        match self {
            Self::Secret => secret::find(text),
            Self::Email => email::find(text),
            Self::Iban => numbers::ibans(text),
            Self::Card => numbers::cards(text),
            Self::NationalId => numbers::national(text),
            Self::Ip => numbers::addresses(text),
            Self::Phone => phone::find(text),
        }
    }

    /// Whether there may be something of these kinds in a text: seen at a glance, and mostly not so.
    #[must_use]
    pub fn may_be_in_text(kinds: &[Self], text: &str) -> bool {
        let signs = Signs::of(text);
        kinds.iter().any(|kind| kind.may_be_in(&signs))
    }

    /// The same for any of the texts in a JSON value without `\\u`. Of all that is looked for only a secret may have a quote in it, so
    /// that each piece between quotes is looked at by itself.
    #[must_use]
    pub fn may_be_in_json(kinds: &[Self], json: &str) -> bool {
        let mut begin = 0;
        let ends = memchr::memchr_iter(b'"', json.as_bytes()).chain([json.len()]);
        let mut pieces = ends.map(|end| &json[std::mem::replace(&mut begin, end)..end]);
        kinds.contains(&Self::Secret) || pieces.any(|piece| Self::may_be_in_text(kinds, piece))
    }

    /// By the signs that each of its forms needs.
    const fn may_be_in(self, signs: &Signs) -> bool {
        match self {
            Self::Secret => true,
            Self::Email => signs.has_at,
            // The registry of account numbers has none with fewer.
            Self::Iban => signs.digits >= 7,
            Self::Card => signs.digits >= 12,
            Self::NationalId => signs.digits >= 5,
            Self::Ip => signs.digits >= 4 && signs.dots >= 3 || signs.has_groups,
            Self::Phone => signs.digits >= 8,
        }
    }

    /// Everything of some kinds in a text, in its order, without overlaps.
    #[must_use]
    pub fn find_all(kinds: &[Self], text: &str) -> Vec<Finding> {
        let mut found: Vec<Finding> = Vec::new();
        let signs = Signs::of(text);
        for &kind in kinds.iter().filter(|kind| kind.may_be_in(&signs)) {
            found.extend(kind.find(text).into_iter().map(|at| Finding { kind, at }));
        }
        found.sort_by_key(|finding| (finding.at.start, finding.kind, std::cmp::Reverse(finding.at.end)));
        let mut kept: Vec<Finding> = Vec::with_capacity(found.len());
        for finding in found {
            match kept.last_mut() {
                Some(last) if finding.at.start < last.at.end => {
                    // All that is claimed goes, under the name of the kind that is surer.
                    last.at.end = last.at.end.max(finding.at.end);
                    last.kind = last.kind.min(finding.kind);
                }
                _ => kept.push(finding),
            }
        }
        kept
    }
}

/// What of a text can be counted without looking at what it says.
struct Signs {
    digits: usize,
    dots: usize,
    /// Whether a colon stands between two groups as in an address of version 6, one of which may be empty.
    has_groups: bool,
    has_at: bool,
}

impl Signs {
    /// In lanes of one byte, which is many times faster than to count in numbers.
    fn of(text: &str) -> Self {
        /// What a byte can count.
        const LANE: usize = 255;
        let text = text.as_bytes();
        let of_group = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b':');
        let has_groups = memchr::memchr_iter(b':', text).any(|at| of_group(at.checked_sub(1)) && of_group(Some(at + 1)));
        let mut signs = Self { digits: 0, dots: 0, has_groups, has_at: false };
        for part in text.chunks(LANE) {
            let (digits, dots, ats) = part.iter().fold((0_u8, 0_u8, 0_u8), |(digits, dots, ats), byte| {
                (digits + u8::from(byte.is_ascii_digit()), dots + u8::from(*byte == b'.'), ats | u8::from(*byte == b'@'))
            });
            signs.digits += usize::from(digits);
            signs.dots += usize::from(dots);
            signs.has_at |= ats > 0;
        }
        signs
    }
}

/// A pattern of ours.
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("a pattern of ours is right: {error}"))
}

/// Whether something stands alone: no letter, digit or underscore touches it.
fn stands_alone(text: &str, at: &Range<usize>) -> bool {
    let touches = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !touches(text[..at.start].chars().next_back()) && !touches(text[at.end..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn signs_are_seen_wherever_they_stand(text in "[a1.:@ é]{0,600}") {
            let signs = Signs::of(&text);
            let bytes = text.as_bytes();
            let count = |wanted: fn(u8) -> bool| bytes.iter().filter(|byte| wanted(**byte)).count();
            prop_assert_eq!((signs.digits, signs.dots), (count(|byte| byte.is_ascii_digit()), count(|byte| byte == b'.')));
            prop_assert_eq!(signs.has_at, text.contains('@'));
            let of_group = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
            prop_assert_eq!(signs.has_groups, bytes.windows(3).any(|three| three[1] == b':' && of_group(three[0]) && of_group(three[2])));
        }
    }

    proptest! {
        #[test]
        fn what_is_in_no_json_is_in_none_of_its_texts(texts in prop::collection::vec("([a1.: @+\"\\\\\n/-]|a@b\\.org|4111 1111 1111 1111|1\\.2\\.3\\.4|::1|(030 |\\+44 20 )7946 0958){0,12}", 1..4)) {
            let json = serde_json::to_string(&texts).expect("it is JSON");
            let kinds: Vec<Personal> = Personal::ALL.into_iter().filter(|kind| *kind != Personal::Secret).collect();
            for kind in kinds {
                let is_there = texts.iter().any(|text| !Personal::find_all(&[kind], text).is_empty());
                prop_assert!(!is_there || Personal::may_be_in_json(&[kind], &json), "{} in {json}", kind.name());
            }
        }
    }

    fn found(text: &str) -> Vec<(&'static str, &str)> {
        Personal::find_all(&Personal::ALL, text).into_iter().map(|finding| (finding.kind.name(), &text[finding.at])).collect()
    }

    #[test]
    fn each_kind_is_found_by_its_form() {
        for (text, kind, what) in [
            ("write to Anna.B+x@mail.example.co.uk, please", "email", "Anna.B+x@mail.example.co.uk"),
            ("call +44 20 7946 0958 today", "phone", "+44 20 7946 0958"),
            ("call (555) 123-4567.", "phone", "(555) 123-4567"),
            ("Tel: 030 12345678", "phone", "030 12345678"),
            ("ring 0171/1234567 now", "phone", "0171/1234567"),
            ("my card 4111 1111 1111 1111 is lost", "card", "4111 1111 1111 1111"),
            ("4111-1111-1111-1111", "card", "4111-1111-1111-1111"),
            ("4111111111111111 12/27 123", "card", "4111111111111111"),
            ("4111 1111 1111 1111 12 27", "card", "4111 1111 1111 1111"),
            ("4111\u{a0}1111\u{a0}1111\u{a0}1111 exp", "card", "4111\u{a0}1111\u{a0}1111\u{a0}1111"),
            ("4111 1111 1111 1111 003", "card", "4111 1111 1111 1111 003"),
            ("2221 0000 0000 0009", "card", "2221 0000 0000 0009"),
            ("amex 378282246310005 601100099013942", "card", "378282246310005"),
            ("to GB82 WEST 1234 5698 7654 32 PLEASE", "iban", "GB82 WEST 1234 5698 7654 32"),
            ("DE89370400440532013000", "iban", "DE89370400440532013000"),
            ("from 192.168.100.200 at noon", "ip", "192.168.100.200"),
            ("host 2001:db8::8a2e:370:7334 is up", "ip", "2001:db8::8a2e:370:7334"),
            ("at ::ab ", "ip", "::ab"),
            ("at fe80:: too", "ip", "fe80::"),
            ("ssn 219-09-9999", "national-id", "219-09-9999"),
            ("nino AB 12 34 56 C", "national-id", "AB 12 34 56 C"),
            ("dni 12345678Z", "national-id", "12345678Z"),
            ("cpf 529.982.247-25", "national-id", "529.982.247-25"),
            ("cf RSSMRA85T10A562S", "national-id", "RSSMRA85T10A562S"),
            ("key sk-proj-abcdefghijklmnop1234 ok", "secret", "sk-proj-abcdefghijklmnop1234"),
            ("AKIAIOSFODNN7EXAMPLE", "secret", "AKIAIOSFODNN7EXAMPLE"),
            ("password: hunter2hunter2", "secret", "hunter2hunter2"),
        ] {
            assert_eq!(found(text), [(kind, what)], "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_left() {
        for text in [
            "on 2026-11-24 at 10:30:45",
            "24.11.2026 and 11/24/2026",
            "order 123456789 of 1 000 000 000 pieces",
            "version 1.2.3.4.5 costs 12.50",
            "card 4111 1111 1111 1112",
            "GB83 WEST 1234 5698 7654 32",
            "2021 2022 2023 2024 2025 2026, 2010 2011 2012 2013",
            "dni 12345678A",
            "a@b and @handle",
            "my password is long, the token: ok",
            "room 12-34, page 100-200",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }
}
