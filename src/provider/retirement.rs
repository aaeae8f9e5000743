//! When a model is shut down, by what its provider lists.

use std::collections::BTreeMap;

use jiff::civil::Date;

/// The day on which a model is shut down, where that is known. A tuned model goes with the one that it was tuned from. A name
/// without a date stands for the latest of those with one, so that it goes when the last of them does.
#[must_use]
pub fn shut_down(models: &BTreeMap<String, Option<Date>>, name: &str) -> Option<Date> {
    let base = name.strip_prefix("ft:").and_then(|rest| rest.split(':').next()).unwrap_or(name);
    if let Some(day) = [name, base].iter().find_map(|name| models.get(*name).copied().flatten()) {
        return Some(day);
    }
    let is_dated = |name: &str| name.strip_prefix(base).is_some_and(|rest| rest.starts_with("-20"));
    let days: Option<Vec<Date>> = models.iter().filter(|(name, _)| is_dated(name)).map(|(_, day)| *day).collect();
    days?.into_iter().max()
}

/// The day on which a tuned model cannot be asked any more, and what goes first: it, or what it was made from.
#[must_use]
pub fn last_day(models: &BTreeMap<String, Option<Date>>, name: &str, base: &str) -> Option<(Date, &'static str)> {
    let own = models.get(name).copied().flatten();
    [(own, "the model"), (shut_down(models, base), "its base")].into_iter().filter_map(|(day, which)| Some((day?, which))).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_date_goes_with_the_last_that_has_one() {
        let day = |text: &str| text.parse::<Date>().expect("a date");
        let mut models = BTreeMap::from([
            ("m".to_owned(), None),
            ("m-2025-04-14".to_owned(), Some(day("2026-12-01"))),
            ("m-2025-08-01".to_owned(), Some(day("2027-03-01"))),
            ("m-mini-2025-08-01".to_owned(), Some(day("2030-01-01"))),
        ]);
        assert_eq!(shut_down(&models, "m"), Some(day("2027-03-01")));
        assert_eq!(shut_down(&models, "m-2025-04-14"), Some(day("2026-12-01")));
        assert_eq!(shut_down(&models, "ft:m-2025-04-14:us::1"), Some(day("2026-12-01")));
        assert_eq!(shut_down(&models, "ft:m:us::1"), Some(day("2027-03-01")));
        models.insert("m-2026-01-01".into(), None);
        assert_eq!(shut_down(&models, "m"), None, "the latest goes on");
        models.insert("m".into(), Some(day("2028-01-01")));
        assert_eq!(shut_down(&models, "m"), Some(day("2028-01-01")));
    }
}
