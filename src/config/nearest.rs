/// The candidate that a mistyped name most likely stands for, if any is near enough to offer.
///
/// "Near" is a Damerau-Levenshtein distance of at most a third of the longer name, so that `epoch`
/// finds `epochs` and nothing is offered for a name that has little in common with all of them.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance * 3 <= name.chars().count().max(candidate.chars().count()) + 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
