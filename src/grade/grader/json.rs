use serde_json::Value;

use crate::config::{Block, ConfigError};

use super::{Graded, Grader, GraderKind};

pub const KIND: GraderKind = GraderKind {
    name: "json",
    reads: &["schema", "compare"],
    metric: "json",
    prepare: |block| Ok(Box::new(Json { schema: schema(block)?, compare: Compare::of(block)? })),
};

/// Right is what is JSON, holds by a schema, and is what was wanted as far as that is compared.
#[derive(Debug)]
struct Json {
    schema: Option<jsonschema::Validator>,
    compare: Compare,
}

#[derive(Clone, Copy, Debug)]
enum Compare {
    /// Only its form counts.
    Nothing,
    /// It is the same value.
    Whole,
    /// The share of the wanted fields that are the same, those inside others by themselves.
    Fields,
}

impl Compare {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        match block.find_text("compare") {
            Some("whole") => Ok(Self::Whole),
            Some("fields") => Ok(Self::Fields),
            Some(other) => Err(ConfigError::UnknownChoice {
                name: "compare".into(),
                found: format!("{other:?}"),
                at: block.span_of("compare").into(),
                help: "of JSON it is `whole` or `fields`".into(),
            }),
            None => Ok(Self::Nothing),
        }
    }
}

fn schema(block: &Block) -> Result<Option<jsonschema::Validator>, ConfigError> {
    let Some(text) = block.find_text("schema") else {
        return Ok(None);
    };
    let wrong = |help: String| ConfigError::WrongType {
        name: "schema".into(),
        expected: "a JSON Schema".into(),
        found: "something else".into(),
        at: block.span_of("schema").into(),
        help,
    };
    let schema: Value = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    jsonschema::validator_for(&schema).map(Some).map_err(|error| wrong(error.to_string()))
}

/// The JSON of an answer, out of the fence that models like to put around it.
pub(super) fn parsed(answer: &str) -> Option<Value> {
    let text = answer.trim();
    let inside = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).and_then(|text| text.strip_suffix("```"));
    serde_json::from_str(inside.unwrap_or(text)).ok()
}

/// The wanted fields that hold no others, and how many of them are the same.
fn same(wanted: &Value, found: Option<&Value>) -> (usize, usize) {
    match wanted {
        Value::Object(fields) if !fields.is_empty() => {
            let each = fields.iter().map(|(name, wanted)| same(wanted, found.and_then(|found| found.get(name))));
            each.fold((0, 0), |(all, same), (more, right)| (all + more, same + right))
        }
        wanted => (1, usize::from(found == Some(wanted))),
    }
}

impl Grader for Json {
    fn score(&self, graded: Graded<'_>) -> f64 {
        let Some(found) = parsed(graded.answer).filter(|found| self.schema.as_ref().is_none_or(|schema| schema.is_valid(found))) else {
            return 0.0;
        };
        let wanted = || parsed(graded.wanted);
        match self.compare {
            Compare::Nothing => 1.0,
            Compare::Whole => f64::from(u8::from(wanted().as_ref() == Some(&found))),
            Compare::Fields => wanted().map_or(0.0, |wanted| {
                let (all, right) = same(&wanted, Some(&found));
                super::super::statistics::count(right) / super::super::statistics::count(all)
            }),
        }
    }

    fn is_yes_or_no(&self) -> bool {
        !matches!(self.compare, Compare::Fields)
    }

    fn wants(&self) -> bool {
        !matches!(self.compare, Compare::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_held_against_a_schema_and_what_was_wanted() {
        let schema = jsonschema::validator_for(&serde_json::json!({ "type": "object", "required": ["a"] })).expect("it is a schema");
        let json = |schema, compare, answer: &str| Json { schema, compare }.score(Graded::new(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#, answer));
        assert!(json(None, Compare::Nothing, "```json\n[]\n```") > 0.5 && json(None, Compare::Nothing, "a: 1") < 0.5);
        assert!(json(Some(schema), Compare::Nothing, "{\"b\": 1}") < 0.5);
        assert!(json(None, Compare::Whole, "{\"b\":{\"d\":3,\"c\":2},\"a\":1}") > 0.5);
        let share = json(None, Compare::Fields, "{\"a\": 1, \"b\": {\"c\": 2}}");
        assert!((share - 2.0 / 3.0).abs() < 1e-12, "{share}");
    }
}
