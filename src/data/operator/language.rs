use whatlang::Lang;

use crate::config::{Block, ConfigError, Fallback, Kind, Setting, Slot, Span, Value};

use super::super::DataError;
use super::super::flow::{Flow, Item, Stream, Verdict};
use super::{Operator, OperatorKind};

static SETTING: Setting = Setting::new("language", "Keeps rows in some languages.")
    .operator(1)
    .arguments(&[Slot::new("code", Kind::Text, "A language by its ISO 639 code: `en`, or `eng`.")])
    .rest(&Slot::new("more", Kind::Text, "Another language."))
    .properties(&[
        Slot::new("field", Kind::Text, "The field to look at; without it all text.").or(Fallback::Absent),
        Slot::new("confidence", Kind::Share, "How sure it must be that a row is in another language: short ones rarely are.").or(Fallback::Number(0.5)),
    ]);

pub const KIND: OperatorKind = OperatorKind::new(&SETTING, |block| Ok(Box::new(Language::of(block)?)));

/// Two-letter codes of ISO 639-1 for those of ISO 639-3 that can be told apart.
const CODES: &str = "af afr ak aka am amh ar ara az aze be bel bn ben bg bul ca cat cs ces da dan de deu el ell en eng eo epo et est fi fin fr fra gu guj he heb hi hin \
    hr hrv hu hun hy hye id ind it ita jv jav ja jpn kn kan ka kat km khm ko kor la lat lv lav lt lit ml mal mr mar mk mkd my mya ne nep nl nld nb nob no nob or ori pa pan \
    fa pes pl pol pt por ro ron ru rus si sin sk slk sl slv sn sna es spa sr srp sv swe ta tam te tel tl tgl th tha tk tuk tr tur uk ukr ur urd uz uzb vi vie yi yid \
    zh cmn zu zul";

#[derive(Debug)]
struct Language {
    wanted: Vec<Lang>,
    field: Option<String>,
    confidence: f64,
}

impl Language {
    fn of(block: &Block) -> Result<Self, ConfigError> {
        let first = (block.text("code"), block.span_of("code"));
        let further = block.rest.iter().filter_map(|code| match &code.value {
            Value::Text(text) => Some((text.as_str(), code.span)),
            _ => None,
        });
        let wanted = std::iter::once(first).chain(further).map(|(code, at)| named(code, at)).collect::<Result<_, _>>()?;
        Ok(Self { wanted, field: block.find_text("field").map(str::to_owned), confidence: block.number("confidence") })
    }

    fn judge(&self, item: &Item) -> Verdict {
        match whatlang::detect(&item.text(self.field.as_deref())) {
            Some(found) if !self.wanted.contains(&found.lang()) && found.confidence() >= self.confidence => {
                Verdict::Drop(format!("it is in {} ({:.0} % sure)", found.lang().eng_name(), found.confidence() * 100.0))
            }
            _ => Verdict::Keep,
        }
    }
}

fn named(code: &str, at: Span) -> Result<Lang, ConfigError> {
    let lower = code.to_lowercase();
    let words: Vec<&str> = CODES.split_whitespace().collect();
    let long = words.chunks(2).find(|pair| pair[0] == lower).map_or(lower.as_str(), |pair| pair[1]);
    Lang::from_code(long).ok_or_else(|| ConfigError::UnknownChoice {
        name: "language".into(),
        found: format!("{code:?}"),
        at: at.into(),
        help: "it must be the ISO 639 code of one of 69 languages, such as `en`, `de`, `fr`, `es`, `zh` or `ar`".into(),
    })
}

impl Operator for Language {
    fn is_by_row(&self) -> bool {
        // Whether a field is there at all shows only among all rows.
        self.field.is_none()
    }

    fn attach<'a>(&'a self, rows: Stream<'a>, flow: &'a Flow) -> Result<Stream<'a>, DataError> {
        let rows = match &self.field {
            Some(field) => flow.needs_field("language", field, rows),
            None => rows,
        };
        Ok(flow.each("language", rows, |item| self.judge(item)))
    }
}
