/// The candidate that a mistyped name most likely stands for, if any is near enough to offer.
///
/// "Near" is a Damerau-Levenshtein distance of at most a third of the longer name, so that `epoch`
/// finds `epochs`, or that the name is the beginning of another; nothing is offered for a name that has little in common with all of them.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let begun = candidates.iter().copied().find(|candidate| name.len() >= 3 && candidate.starts_with(name));
    let near = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= name.chars().count().max(candidate.chars().count()) + 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    near.or(begun)
}

/// "did you mean", or the list of what there is.
pub fn offer<'a>(name: &str, candidates: impl Iterator<Item = &'a str>, none: &str) -> String {
    let candidates: Vec<&str> = candidates.collect();
    match nearest(name, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if candidates.is_empty() => none.to_owned(),
        None => format!("there are: {}", candidates.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}
