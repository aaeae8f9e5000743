//! OpenAI's graders, as its API describes them (`string_check`, `text_similarity`, `score_model`, `label_model`, `multi`), so that those
//! of a fine-tuning or an evaluation there can be used as they are written. What a model must say is left to whoever asks it.

mod likeness;
mod template;

use serde_json::Value;

use crate::data::{Message, Role};
use likeness::Measure;
pub use template::Sample;
use template::{Formula, Template};

/// A grader that was read.
#[derive(Debug)]
pub struct OpenAiGrader {
    /// Those that give scores by themselves.
    pub leaves: Vec<Leaf>,
    formula: Option<Formula>,
}

/// A grader that gives a score by itself.
#[derive(Debug)]
pub struct Leaf {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Check { input: Template, reference: Template, operation: Operation },
    Likeness { input: Template, reference: Template, measure: Measure },
    Asked(Asking),
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Equal,
    Unequal,
    Holds,
    HoldsInAnyCase,
}

/// What a model is asked.
#[derive(Debug)]
pub struct Asking {
    /// The model.
    pub model: String,
    /// How freely it answers.
    pub temperature: f64,
    messages: Vec<(Role, Template)>,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    /// A number within bounds.
    Score(f64, f64),
    /// One of some words, of which some are good.
    Label { labels: Vec<String>, passing: Vec<String> },
}

impl OpenAiGrader {
    /// Reads a grader.
    ///
    /// # Errors
    /// What is wrong with it, by the path of the field.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
        if value["type"] != "multi" {
            return Ok(Self { leaves: vec![Leaf::parse(&value, "", "grader")?], formula: None });
        }
        // The API's description has one grader here, its examples have some by name.
        let inside: Vec<(String, &Value)> = match &value["graders"] {
            Value::Object(named) if !named.contains_key("type") => named.iter().map(|(name, grader)| (name.clone(), grader)).collect(),
            Value::Array(list) => list.iter().map(|grader| (grader["name"].as_str().unwrap_or_default().to_owned(), grader)).collect(),
            grader @ Value::Object(_) => vec![(grader["name"].as_str().unwrap_or_default().to_owned(), grader)],
            _ => return Err("graders: it is not there".into()),
        };
        let leaves: Vec<Leaf> = inside.iter().map(|(name, grader)| Leaf::parse(grader, &format!("graders.{name}."), name)).collect::<Result<_, _>>()?;
        let names: Vec<&str> = leaves.iter().map(|leaf| leaf.name.as_str()).collect();
        let formula = Formula::parse(text(&value, "", "calculate_output")?, &names).map_err(|problem| format!("calculate_output: {problem}"))?;
        Ok(Self { leaves, formula: Some(formula) })
    }

    /// The score that those of the leaves make.
    ///
    /// # Errors
    /// When the formula gives no number.
    pub fn together(&self, scores: &[f64]) -> Result<f64, String> {
        match &self.formula {
            None => Ok(scores.first().copied().unwrap_or_default()),
            Some(formula) => formula.of(self.leaves.iter().map(|leaf| leaf.name.as_str()).zip(scores.iter().copied())),
        }
    }
}

fn text<'a>(grader: &'a Value, above: &str, field: &str) -> Result<&'a str, String> {
    grader[field].as_str().ok_or_else(|| format!("{above}{field}: expected a text, found {}", grader[field]))
}

fn texts(grader: &Value, above: &str, field: &str) -> Result<Vec<String>, String> {
    let list = grader[field].as_array().filter(|list| !list.is_empty()).ok_or_else(|| format!("{above}{field}: expected a list of texts"))?;
    list.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(|| format!("{above}{field}: expected texts, found {text}"))).collect()
}

impl Leaf {
    fn parse(grader: &Value, above: &str, name: &str) -> Result<Self, String> {
        let template = |field: &str| Template::parse(text(grader, above, field)?).map_err(|problem| format!("{above}{field}: {problem}"));
        let kind = match grader["type"].as_str() {
            Some("string_check") => {
                let operation = match text(grader, above, "operation")? {
                    "eq" => Operation::Equal,
                    "ne" => Operation::Unequal,
                    "like" => Operation::Holds,
                    "ilike" => Operation::HoldsInAnyCase,
                    other => return Err(format!("{above}operation: expected eq, ne, like or ilike, found {other:?}")),
                };
                Kind::Check { input: template("input")?, reference: template("reference")?, operation }
            }
            Some("text_similarity") => {
                let measure = text(grader, above, "evaluation_metric")?;
                let measure = Measure::of(measure).map_err(|problem| format!("{above}evaluation_metric: {problem}"))?;
                Kind::Likeness { input: template("input")?, reference: template("reference")?, measure }
            }
            Some(kind @ ("score_model" | "label_model")) => {
                let wanted = if kind == "score_model" {
                    let range: Option<Vec<f64>> = grader["range"].as_array().map(|range| range.iter().filter_map(Value::as_f64).collect());
                    match range.as_deref() {
                        None => Wanted::Score(0.0, 1.0),
                        Some(&[low, high]) if low < high => Wanted::Score(low, high),
                        Some(_) => return Err(format!("{above}range: expected two numbers, the lower one first, found {}", grader["range"])),
                    }
                } else {
                    let (labels, passing) = (texts(grader, above, "labels")?, texts(grader, above, "passing_labels")?);
                    if let Some(strange) = passing.iter().find(|label| !labels.contains(label)) {
                        return Err(format!("{above}passing_labels: {strange:?} is none of the labels"));
                    }
                    Wanted::Label { labels, passing }
                };
                let unknown = ["top_p", "max_completions_tokens", "reasoning_effort", "seed"];
                if let Some(name) = unknown.into_iter().find(|name| !grader["sampling_params"][name].is_null()) {
                    return Err(format!("{above}sampling_params.{name}: of these only `temperature` is sent; take it out"));
                }
                let temperature = grader["sampling_params"]["temperature"].as_f64().unwrap_or_default();
                Kind::Asked(Asking { model: text(grader, above, "model")?.to_owned(), temperature, messages: messages(grader, above)?, wanted })
            }
            Some("python") => {
                return Err(format!("{above}type: `python` is not run here; grade with a command: `grader \"command\" run=\"python3 grade.py\"`"));
            }
            Some(other) => return Err(format!("{above}type: expected string_check, text_similarity, score_model, label_model or multi, found {other:?}")),
            None => return Err(format!("{above}type: it is not there")),
        };
        Ok(Self { name: name.to_owned(), kind })
    }

    /// What a model is asked, where it is a model that gives the score.
    #[must_use]
    pub fn asking(&self) -> Option<&Asking> {
        match &self.kind {
            Kind::Asked(asking) => Some(asking),
            Kind::Check { .. } | Kind::Likeness { .. } => None,
        }
    }

    /// The score of a sample; nothing where a model must be asked. What names a part that the answer has not, such as a field of an answer
    /// that is no JSON, is worth nothing.
    ///
    /// # Errors
    /// When a template names what the row has not.
    pub fn score(&self, sample: &Sample) -> Result<Option<f64>, String> {
        Ok(match &self.kind {
            Kind::Asked(_) => None,
            Kind::Likeness { input, reference, measure } => {
                let both = reference.render(sample)?.zip(input.render(sample)?);
                Some(both.map_or(0.0, |(reference, input)| measure.between(&reference, &input)))
            }
            Kind::Check { input, reference, operation } => {
                let Some((input, reference)) = input.render(sample)?.zip(reference.render(sample)?) else {
                    return Ok(Some(0.0));
                };
                Some(f64::from(u8::from(match operation {
                    Operation::Equal => input == reference,
                    Operation::Unequal => input != reference,
                    Operation::Holds => input.contains(&reference),
                    Operation::HoldsInAnyCase => input.to_lowercase().contains(&reference.to_lowercase()),
                })))
            }
        })
    }
}

/// The messages of a grader that asks a model: each a text, or parts that are texts.
fn messages(grader: &Value, above: &str) -> Result<Vec<(Role, Template)>, String> {
    let list = grader["input"].as_array().filter(|list| !list.is_empty()).ok_or_else(|| format!("{above}input: expected a list of messages"))?;
    let message = |(at, message): (usize, &Value)| {
        let wrong = |problem: String| format!("{above}input[{at}]: {problem}");
        let role = match message["role"].as_str() {
            Some("system" | "developer") => Role::System,
            Some("assistant") => Role::Assistant,
            Some("user") | None => Role::User,
            Some(other) => return Err(wrong(format!("expected a role, found {other:?}"))),
        };
        let parts = match &message["content"] {
            Value::Array(parts) => parts.iter().collect(),
            part => vec![part],
        };
        let texts: Option<Vec<&str>> = parts.iter().map(|part| part.as_str().or_else(|| part["text"].as_str())).collect();
        let texts = texts.ok_or_else(|| wrong("only texts can be asked here".into()))?;
        Ok((role, Template::parse(&texts.join("\n")).map_err(wrong)?))
    };
    list.iter().enumerate().map(message).collect()
}

impl Asking {
    /// The question about a sample; nothing where it names a part that the answer has not, which is worth nothing.
    ///
    /// # Errors
    /// When a template names what the row has not.
    pub fn question(&self, sample: &Sample) -> Result<Option<Vec<Message>>, String> {
        let asked = match &self.wanted {
            Wanted::Score(low, high) => format!("Reply with one JSON object, and nothing else: {{\"score\": a number from {low} to {high}}}."),
            Wanted::Label { labels, .. } => {
                format!("Reply with one JSON object, and nothing else: {{\"label\": one of {}}}.", serde_json::json!(labels))
            }
        };
        let written = self.messages.iter().map(|(role, template)| Ok(template.render(sample)?.map(|text| Message::new(*role, text))));
        written.chain([Ok(Some(Message::new(Role::User, asked)))]).collect()
    }

    /// The score in what the model said; nothing where there is none.
    #[must_use]
    pub fn score(&self, said: &str) -> Option<f64> {
        let (from, to) = (said.find('{')?, said.rfind('}')?);
        let said: Value = serde_json::from_str(said.get(from..=to)?).ok()?;
        match &self.wanted {
            Wanted::Score(low, high) => said["score"].as_f64().or_else(|| said["result"].as_f64()).map(|score| score.clamp(*low, *high)),
            Wanted::Label { labels, passing } => {
                let label = said["label"].as_str().filter(|label| labels.iter().any(|known| known == label))?;
                Some(f64::from(u8::from(passing.iter().any(|good| good == label))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(grader: &Value) -> Result<OpenAiGrader, String> {
        OpenAiGrader::parse(grader.to_string().as_bytes())
    }

    fn sample(said: &str) -> Sample {
        Sample::new(json!({ "wanted": "Fees", "tags": ["a"] }), said)
    }

    #[test]
    fn texts_are_checked_as_the_api_says() {
        let score = |operation: &str, said: &str| {
            let grader =
                json!({ "type": "string_check", "name": "x", "operation": operation, "input": "{{ sample.output_text }}", "reference": "{{item.wanted}}" });
            let grader = parse(&grader).expect("it is a grader");
            grader.leaves[0].score(&sample(said)).expect("it can be rendered").expect("no model is asked") > 0.5
        };
        assert!(score("eq", "Fees") && !score("eq", "fees") && score("ne", "fees"));
        assert!(score("like", "It is Fees.") && !score("like", "It is fees.") && score("ilike", "It is fees."));
    }

    #[test]
    fn several_make_one_score_by_a_formula() {
        let check = |field: &str, operation: &str| json!({ "type": "string_check", "name": "x", "operation": operation, "input": "{{ sample.output_json.team }}", "reference": field });
        let multi = json!({
            "type": "multi", "name": "both", "graders": { "exact": check("{{ item.wanted }}", "eq"), "near": check("ee", "like") },
            "calculate_output": "0.75 * exact + min(near, 1) ^ 2 / 4",
        });
        let grader = parse(&multi).expect("it is a grader");
        let of = |said: &str| {
            let scores: Vec<f64> = grader.leaves.iter().map(|leaf| leaf.score(&sample(said)).expect("it renders").expect("no model")).collect();
            grader.together(&scores).expect("a number")
        };
        assert!((of("{\"team\": \"Fees\"}") - 1.0).abs() < 1e-12 && (of("{\"team\": \"Bees\"}") - 0.25).abs() < 1e-12);
        assert!((of("no JSON") - 0.0).abs() < 1e-12, "what an answer has not is worth nothing");
        let absent = parse(&check("{{ item.absent }}", "eq")).expect("it is a grader");
        assert!(absent.leaves[0].score(&sample("{\"team\": 1}")).is_err_and(|problem| problem.contains("item.absent")));
    }

    #[test]
    fn models_are_asked_for_a_number_or_a_word() {
        let scored = json!({ "type": "score_model", "name": "x", "model": "m", "range": [1, 5], "input": [{ "role": "user", "content": { "type": "input_text", "text": "Rate {{ sample.output_text }}" } }] });
        let grader = parse(&scored).expect("it is a grader");
        let asking = grader.leaves[0].asking().expect("a model is asked");
        let question = asking.question(&sample("this")).expect("it renders").expect("it has all");
        assert!(question[0].content == "Rate this" && question[1].content.contains("from 1 to 5"), "{question:?}");
        assert_eq!((asking.score("{\"score\": 4}"), asking.score("{\"score\": 9}"), asking.score("four")), (Some(4.0), Some(5.0), None));
        let labelled = json!({ "type": "label_model", "name": "x", "model": "m", "labels": ["good", "bad"], "passing_labels": ["good"], "input": [{ "role": "developer", "content": "Judge." }] });
        let grader = parse(&labelled).expect("it is a grader");
        let asking = grader.leaves[0].asking().expect("a model is asked");
        assert_eq!(
            (asking.score("{\"label\": \"good\"}"), asking.score("so {\"label\": \"bad\"}"), asking.score("{\"label\": \"odd\"}")),
            (Some(1.0), Some(0.0), None)
        );
    }

    #[test]
    fn what_is_wrong_is_named_by_its_place() {
        let check = json!({ "type": "string_check", "name": "x", "operation": "eq", "input": "{{ sample.output_text }}", "reference": "a" });
        let with = |field: &str, value: Value| {
            let mut grader = check.clone();
            grader[field] = value;
            parse(&grader).err().unwrap_or_default()
        };
        assert!(with("operation", json!("same")).starts_with("operation: expected eq"));
        assert!(with("input", json!(3)).starts_with("input: expected a text"));
        assert!(with("input", json!("{{ sample.")).starts_with("input: "));
        assert!(with("type", json!("exact")).starts_with("type: expected string_check"));
        let multi = json!({ "type": "multi", "name": "x", "graders": { "a": check }, "calculate_output": "a + b" });
        assert!(parse(&multi).err().is_some_and(|problem| problem.starts_with("calculate_output: ") && problem.contains('b')));
        let likeness = json!({ "type": "text_similarity", "name": "x", "evaluation_metric": "cosine", "input": "a", "reference": "b" });
        assert!(parse(&likeness).err().is_some_and(|problem| problem.contains("embeddings")));
    }
}
