//! Values with a unit: durations (`"90m"`, `"1h 30m"`) and sizes (`"4GiB"`, `"500MB"`).

/// Milliseconds in each unit of time.
const TIME: &[(&str, f64)] = &[("ms", 1.0), ("s", 1e3), ("m", 60e3), ("h", 3600e3), ("d", 86_400e3)];

/// Bytes in each unit of size.
const SIZE: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("TB", 1e12),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];

/// The milliseconds that a duration stands for.
pub fn duration(text: &str) -> Option<i64> {
    measured(text, TIME)
}

/// The bytes that a size stands for.
pub fn size(text: &str) -> Option<i64> {
    measured(text, SIZE)
}

/// The sum of numbers with units: `1h 30m`. Nothing, zero and what is past 2^53 is no measure.
fn measured(text: &str, units: &[(&str, f64)]) -> Option<i64> {
    const LARGEST: f64 = 9_007_199_254_740_992.0;
    let mut rest = text.trim();
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let length = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(length);
        let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
        sum += number.parse::<f64>().ok()? * factor;
        rest = tail.trim_start();
    }
    #[expect(clippy::cast_possible_truncation, reason = "the bounds are checked")]
    (1.0..=LARGEST).contains(&sum).then_some(sum.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_read_as_people_write_them() {
        assert_eq!(duration("90m"), Some(5_400_000));
        assert_eq!(duration("1h 30m"), Some(5_400_000));
        assert_eq!(duration("1.5s"), Some(1500));
        assert_eq!(size("4GiB"), Some(4 << 30));
        assert_eq!(size("1 kB"), Some(1000));
        for wrong in ["", "90", "m", "1 year", "0s", "-1s", "1..5s", "1e9s", "99999999999999999d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
