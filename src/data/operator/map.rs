use serde_json::Value;

use crate::config::{Block, ConfigError, Kind, Setting, Slot};

use super::super::DataError;
use super::super::flow::{Flow, Stream, Verdict};
use super::template::Templates;
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("map", "Makes and removes fields.").operator(3).children(|| vec![&FIELD, &WITHOUT]);
static FIELD: Setting = Setting::new("field", "A field that is made, or made anew.")
    .many()
    .arguments(&[Slot::new("name", Kind::Text, "Its name."), Slot::new("template", Kind::Template, "Its value: text with `{{ field }}`.")]);
static WITHOUT: Setting = Setting::new("without", "A field that goes.").many().arguments(&[Slot::new("name", Kind::Text, "Its name.")]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Map::of(block)?)));

#[derive(Debug)]
struct Map {
    templates: Templates,
    fields: Vec<(String, usize)>,
    without: Vec<String>,
}

impl Map {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        if block.children.is_empty() {
            return Err(ConfigError::MissingNode {
                node: "map".into(),
                child: "field".into(),
                at: block.name_span.into(),
                help: "say what it makes or takes away: `field \"text\" \"{{ title }}: {{ body }}\"`, `without \"id\"`".into(),
            });
        }
        let mut templates = Templates::default();
        let fields = block.all(FIELD.name).map(|child| Ok((child.text("name").to_owned(), templates.add(child)?)));
        let fields = fields.collect::<Result<_, ConfigError>>()?;
        let without = block.all(WITHOUT.name).map(|child| child.text("name").to_owned()).collect();
        Ok(Self { templates, fields, without })
    }
}

impl Operator for Map {
    fn is_by_row(&self) -> bool {
        true
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        Ok(flow.change("map", rows, |item| {
            let mut changed = false;
            for (name, template) in &self.fields {
                let text = match self.templates.render(*template, name, item) {
                    Ok(text) => Value::String(text),
                    Err(reason) => return Verdict::Reject(reason),
                };
                changed |= item.row.fields.get(name) != Some(&text);
                item.row.fields.insert(name.clone(), text);
            }
            for name in &self.without {
                changed |= item.row.fields.shift_remove(name).is_some();
            }
            if changed { Verdict::Changed } else { Verdict::Keep }
        }))
    }
}
