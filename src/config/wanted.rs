//! What the name of a stage, or of some of its instances, means: `router` all of them, `router[rank=8]` those with the value.

use std::ops::Range;

use kdl::KdlEntry;

use super::matrix::short;
use super::scope::scalar;
use super::value::Value;

/// A name, read: the stage, and the values that are wanted by axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    stage: &'a str,
    values: Vec<(&'a str, &'a str)>,
}

/// What stands in the brackets of a name and means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBrackets {
    /// What is wrong with it.
    pub problem: String,
    /// The bytes of the name that are wrong.
    pub at: Range<usize>,
}

/// How the values of an instance are written, in words.
pub const HOW: &str = "give values as `NAME[axis=value,axis=value]`; the name alone means all instances";

/// The stage that a name is of, without what stands in brackets.
#[must_use]
pub fn stem(name: &str) -> &str {
    name.split('[').next().unwrap_or_default()
}

impl<'a> Wanted<'a> {
    /// Reads a name. A value may hold a comma, where what follows that is no `axis=value` itself.
    ///
    /// # Errors
    /// When what stands in brackets does not say which axes have which values.
    pub fn parse(name: &'a str) -> Result<Self, BadBrackets> {
        let stage = stem(name);
        let Some(brackets) = name.get(stage.len()..).filter(|brackets| !brackets.is_empty()) else {
            return Ok(Self { stage, values: Vec::new() });
        };
        let bad = |problem: String, at: Range<usize>| BadBrackets { problem, at };
        let Some(inside) = brackets[1..].strip_suffix(']') else {
            return Err(bad("the bracket is not closed at the end".into(), stage.len()..name.len()));
        };
        if inside.trim().is_empty() {
            return Err(bad("there is no value in the brackets".into(), stage.len()..name.len()));
        }
        let mut values: Vec<(&str, &str)> = Vec::new();
        let mut begin = 0;
        while begin < inside.len() {
            let rest = &inside[begin..];
            let starts_anew = |(comma, _): &(usize, &str)| rest[comma + 1..].split(',').next().is_some_and(|next| next.contains('='));
            let end = rest.match_indices(',').find(starts_anew).map_or(rest.len(), |(comma, _)| comma);
            let part = &rest[..end];
            let at = || stage.len() + 1 + begin..stage.len() + 1 + begin + end;
            let Some((axis, value)) = part.split_once('=').map(|(axis, value)| (axis.trim(), value.trim())) else {
                return Err(bad(format!("`{}` does not say which axis it is of", part.trim()), at()));
            };
            if values.iter().any(|(known, _)| *known == axis) {
                return Err(bad(format!("`{axis}` is given twice"), at()));
            }
            values.push((axis, value));
            begin += end + 1;
        }
        Ok(Self { stage, values })
    }

    /// The stage.
    #[must_use]
    pub const fn stage(&self) -> &'a str {
        self.stage
    }

    /// Whether a value of this axis is given.
    #[must_use]
    pub fn gives(&self, axis: &str) -> bool {
        self.values.iter().any(|(known, _)| *known == axis)
    }

    /// Whether each of the values by itself is that of an instance.
    pub fn each_is_among<'i, I>(&self, all: &'i [I], value: impl Fn(&'i I, &str) -> Option<&'i Value>) -> bool {
        self.values.iter().all(|&one| !Self { stage: self.stage, values: vec![one] }.among(all, &value).is_empty())
    }

    /// Those of all instances of the stage that have the values: as they stand in the file or in names, or else the same numbers or
    /// booleans written in another way.
    pub fn among<'i, I>(&self, all: &'i [I], value: impl Fn(&'i I, &str) -> Option<&'i Value>) -> Vec<&'i I> {
        let mut meant: Vec<&I> = all.iter().collect();
        for (axis, written) in &self.values {
            let cut = short(&Value::Text((*written).to_owned()));
            let is_written = |instance: &'i I| value(instance, axis).map(short).is_some_and(|own| own == *written || own == cut);
            if all.iter().any(is_written) {
                meant.retain(|instance| is_written(instance));
            } else {
                let meaning = as_kdl(written);
                meant.retain(|instance| meaning.as_ref().zip(value(instance, axis)).is_some_and(|(meaning, own)| own.is_same(meaning)));
            }
        }
        meant
    }
}

/// A number or a boolean, as the file might have it.
fn as_kdl(written: &str) -> Option<Value> {
    let entry = KdlEntry::parse(written).ok()?;
    scalar(entry.value()).filter(|value| !matches!(value, Value::Text(_)))
}

#[cfg(test)]
mod tests {
    use super::{Value, Wanted};

    fn problem(name: &str) -> (String, &str) {
        Wanted::parse(name).map_err(|bad| (bad.problem, &name[bad.at])).expect_err("it means nothing")
    }

    #[test]
    fn what_stands_in_brackets_is_axes_with_values() {
        let wanted = Wanted::parse("router[rank = 4, prompt=a,b,note=c=d]").expect("it is right");
        assert_eq!(wanted.values, [("rank", "4"), ("prompt", "a,b"), ("note", "c=d")]);
        assert!(Wanted::parse("router").expect("it is right").values.is_empty());
        assert_eq!(problem("router[4]"), ("`4` does not say which axis it is of".into(), "4"));
        assert_eq!(problem("router[rank:4]").1, "rank:4");
        assert_eq!(problem("router[4,rank=2]").1, "4");
        assert_eq!(problem("router[]").1, "[]");
        assert_eq!(problem("router[rank=4").1, "[rank=4");
        assert_eq!(problem("router[rank=4]x").1, "[rank=4]x");
        assert_eq!(problem("router[rank=2,rank=4]"), ("`rank` is given twice".into(), "rank=4"));
        let again = Wanted::parse("r[a=4,a=4]").expect_err("it is given twice");
        assert_eq!(again.at, 6..9, "the second of them");
    }

    #[test]
    fn a_text_is_no_number_and_a_number_need_not_be_written_alike() {
        let all = ["1.1", "1.10", "100"].map(|text| Value::Text(text.into())).into_iter().chain([Value::Integer(4), Value::Number(0.5)]).collect::<Vec<_>>();
        let meant = |name| Wanted::parse(name).expect("it is right").among(&all, |value, _| Some(value)).into_iter().map(Value::plain).collect::<Vec<_>>();
        assert_eq!(meant("a[x=1.1]"), ["1.1"]);
        assert_eq!(meant("a[x=1.10]"), ["1.10"]);
        assert!(meant("a[x=1.100]").is_empty() && meant("a[x=1e2]").is_empty(), "texts are as they are written");
        assert_eq!(meant("a[x=4.0]"), ["4"]);
        assert_eq!(meant("a[x=5e-1]"), ["0.5"]);
        assert_eq!(meant("a[x=0x4]"), ["4"]);
        let seeds = [9_007_199_254_740_993, 3].map(Value::Integer);
        let of_seeds = |name| Wanted::parse(name).expect("it is right").among(&seeds, |value, _| Some(value)).len();
        assert_eq!((of_seeds("a[x=9007199254740992]"), of_seeds("a[x=9_007_199_254_740_993]")), (0, 1), "a float would take one for the other");
    }
}
