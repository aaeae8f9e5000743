//! What the name of a stage, or of some of its instances, means: `router` all of them, `router[rank=8]` those with the value.

use std::ops::Range;

use super::matrix::short;
use super::scope::as_kdl;
use super::value::Value;

/// A name, read: the stage, and the values that are wanted by axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    name: &'a str,
    stage: &'a str,
    parts: Vec<Part<'a>>,
}

/// An axis in a name, and the bytes of the name that are its value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part<'a> {
    axis: &'a str,
    value: Range<usize>,
}

/// The instances that a name means, and the axes whose values it gives.
#[derive(Clone, Debug)]
pub struct Meant<'a, 'i, I> {
    /// The instances.
    pub instances: Vec<&'i I>,
    /// The axes.
    pub axes: Vec<&'a str>,
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

/// More axes than this in a name are read in one way only.
const MOST_JOINED: usize = 8;

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
            return Ok(Self { name, stage, parts: Vec::new() });
        };
        let bad = |problem: String, at: Range<usize>| BadBrackets { problem, at };
        let Some(inside) = brackets[1..].strip_suffix(']') else {
            return Err(bad("the bracket is not closed at the end".into(), stage.len()..name.len()));
        };
        if inside.trim().is_empty() {
            return Err(bad("there is no value in the brackets".into(), stage.len()..name.len()));
        }
        let mut parts: Vec<Part<'_>> = Vec::new();
        let mut begin = 0;
        while begin < inside.len() {
            let rest = &inside[begin..];
            let starts_anew = |(comma, _): &(usize, &str)| rest[comma + 1..].split(',').next().is_some_and(|next| next.contains('='));
            let end = rest.match_indices(',').find(starts_anew).map_or(rest.len(), |(comma, _)| comma);
            let part = &rest[..end];
            let at = || stage.len() + 1 + begin..stage.len() + 1 + begin + end;
            let Some((axis, value)) = part.split_once('=') else {
                return Err(bad(format!("`{}` does not say which axis it is of", part.trim()), at()));
            };
            let axis = axis.trim();
            if parts.iter().any(|known| known.axis == axis) {
                return Err(bad(format!("`{axis}` is given twice"), at()));
            }
            parts.push(Part { axis, value: at().end - value.len()..at().end });
            begin += end + 1;
        }
        Ok(Self { name, stage, parts })
    }

    /// The stage.
    #[must_use]
    pub const fn stage(&self) -> &'a str {
        self.stage
    }

    /// Whether each of the values by itself is that of an instance.
    pub fn each_is_among<'i, I>(&self, all: &'i [I], value: impl Fn(&'i I, &str) -> Option<&'i Value>) -> bool {
        self.parts.iter().all(|part| !having(all, &value, &[(part.axis, &self.name[part.value.clone()])]).is_empty())
    }

    /// Those of all instances of the stage that have the values. What looks like one more axis may be the end of a text.
    ///
    /// # Errors
    /// When it may mean this and that.
    pub fn among<'i, I>(&self, all: &'i [I], value: impl Fn(&'i I, &str) -> Option<&'i Value>) -> Result<Meant<'a, 'i, I>, BadBrackets> {
        let meant = |values: Vec<(&'a str, &'a str)>| Meant { instances: having(all, &value, &values), axes: values.iter().map(|(axis, _)| *axis).collect() };
        let plain = meant(self.joined(0));
        let has_comma = |part: &Part<'_>| {
            all.iter().filter_map(|instance| value(instance, part.axis)).any(|value| matches!(value, Value::Text(text) if text.contains(',')))
        };
        if self.parts.len() < 2 || self.parts.len() > MOST_JOINED || !self.parts.iter().any(has_comma) {
            return Ok(plain);
        }
        let ways = (1..1 << (self.parts.len() - 1)).map(|joins| self.joined(joins)).filter(|values| !having(all, &value, values).is_empty());
        let mut ways = (!plain.instances.is_empty()).then(|| self.joined(0)).into_iter().chain(ways);
        let Some(first) = ways.next() else {
            return Ok(plain);
        };
        let told = |values: &[(&str, &str)]| values.iter().map(|(axis, value)| format!("{axis} {value:?}")).collect::<Vec<_>>().join(" and ");
        match ways.next() {
            None => Ok(meant(first)),
            Some(other) => {
                let problem =
                    format!("it may be {}, or {}: write its axes in another order, or a text as instances have it in their names", told(&first), told(&other));
                Err(BadBrackets { problem, at: self.stage.len()..self.name.len() })
            }
        }
    }

    /// The values by axis, where the parts after which a bit of `joins` is set go on in the next.
    fn joined(&self, joins: usize) -> Vec<(&'a str, &'a str)> {
        let mut values = Vec::new();
        let mut begin = 0;
        for end in 0..self.parts.len() {
            if joins & (1 << end) == 0 {
                values.push((self.parts[begin].axis, &self.name[self.parts[begin].value.start..self.parts[end].value.end]));
                begin = end + 1;
            }
        }
        values
    }
}

/// The instances that have all of these values: as they stand in the file or in names, blanks around them aside where none has those,
/// or else the same numbers or booleans written in another way.
fn having<'i, I>(all: &'i [I], value: &impl Fn(&'i I, &str) -> Option<&'i Value>, wanted: &[(&str, &str)]) -> Vec<&'i I> {
    let mut meant: Vec<&I> = all.iter().collect();
    for &(axis, raw) in wanted {
        let is_written = |form: &str| {
            let (form, cut) = (form.to_owned(), short(&Value::Text(form.to_owned())));
            move |instance: &'i I| value(instance, axis).is_some_and(|own| own.plain() == form || short(own) == form || short(own) == cut)
        };
        match [raw, raw.trim()].map(is_written).into_iter().find(|is| all.iter().any(is)) {
            Some(is) => meant.retain(|instance| is(instance)),
            None => {
                let meaning = as_kdl(raw.trim());
                meant.retain(|instance| meaning.as_ref().zip(value(instance, axis)).is_some_and(|(meaning, own)| own.is_same(meaning)));
            }
        }
    }
    meant
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
        assert_eq!(wanted.joined(0), [("rank", " 4"), ("prompt", "a,b"), ("note", "c=d")]);
        assert_eq!(wanted.joined(0b10), [("rank", " 4"), ("prompt", "a,b,note=c=d")]);
        assert!(Wanted::parse("router").expect("it is right").parts.is_empty());
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
        let meant = |name| {
            Wanted::parse(name)
                .expect("it is right")
                .among(&all, |value, _| Some(value))
                .expect("it means one thing")
                .instances
                .into_iter()
                .map(Value::plain)
                .collect::<Vec<_>>()
        };
        assert_eq!(meant("a[x=1.1]"), ["1.1"]);
        assert_eq!(meant("a[x=1.10]"), ["1.10"]);
        assert!(meant("a[x=1.100]").is_empty() && meant("a[x=1e2]").is_empty(), "texts are as they are written");
        assert_eq!(meant("a[x=4.0]"), ["4"]);
        assert_eq!(meant("a[x=5e-1]"), ["0.5"]);
        assert_eq!(meant("a[x=0x4]"), ["4"]);
        let seeds = [9_007_199_254_740_993, 3].map(Value::Integer);
        let of_seeds = |name| Wanted::parse(name).expect("it is right").among(&seeds, |value, _| Some(value)).expect("it means one thing").instances.len();
        assert_eq!((of_seeds("a[x=9007199254740992]"), of_seeds("a[x=9_007_199_254_740_993]")), (0, 1), "a float would take one for the other");
    }

    #[test]
    fn blanks_and_commas_are_part_of_a_text_where_a_text_has_them() {
        let blanks = ["a", "a ", ""].map(|text| Value::Text(text.into()));
        let meant = |name| Wanted::parse(name).expect("it is right").among(&blanks, |value, _| Some(value)).expect("it means one thing").instances;
        assert_eq!(meant("a[x=a]"), [&blanks[0]]);
        assert_eq!(meant("a[x=a ]"), [&blanks[1]]);
        assert_eq!(meant("a[x= a]"), [&blanks[0]]);
        assert_eq!(meant("a[x=]"), [&blanks[2]]);
        assert_eq!(meant("a[x=  ]"), [&blanks[2]]);

        let pairs: Vec<(Value, Value)> = [("a", 1), ("a,s=1", 1), ("a,s=1", 2), ("b,u=2", 3)].map(|(t, s)| (Value::Text(t.into()), Value::Integer(s))).into();
        let of = |name: &'static str| {
            let wanted = Wanted::parse(name).expect("it is right");
            wanted
                .among(&pairs, |(t, s), axis| match axis {
                    "t" => Some(t),
                    "s" => Some(s),
                    _ => None,
                })
                .map(|meant| (meant.instances.len(), meant.axes))
        };
        assert!(of("c[t=a,s=1]").is_err_and(|bad| bad.problem.contains("t \"a\" and s \"1\", or t \"a,s=1\"")), "it may be both");
        assert_eq!(of("c[s=1,t=a]"), Ok((1, vec!["s", "t"])));
        assert_eq!(of("c[t=b,u=2]"), Ok((1, vec!["t"])), "there is no axis `u`");
        assert_eq!(of("c[t=b,u=2,s=3]"), Ok((1, vec!["t", "s"])));
    }
}
