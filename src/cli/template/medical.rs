use super::Template;
use super::draw::{Draw, csv};

pub const TEMPLATE: Template =
    Template { name: "medical", about: "symptom notes to a fixed list of codes, or to a clinician", pipeline: include_str!("medical.kdl"), files };

/// Codes that are made up, and what notes say of them.
const CODES: &[(&str, &[&str])] = &[
    ("R05", &["dry cough at night", "cough with phlegm", "coughing since the cold"]),
    ("R51", &["headache behind the eyes", "dull headache all day", "throbbing headache"]),
    ("R21", &["itchy rash on the arm", "red rash after the new soap", "rash on both hands"]),
    ("M54", &["pain in the lower back", "stiff back after lifting", "back pain when sitting"]),
    ("REFER", &["crushing pain in the chest", "chest pain and sweating", "sudden chest pressure"]),
];
const SINCE: &[&str] = &["for two days", "since monday", "for a week", "since yesterday"];
const BEGINS: &[&str] = &["", "reports ", "complains of ", "came in with ", "again ", "still has "];
const ENDS: &[&str] = &["", ", no fever", ", mild fever", ", sleeps badly"];
const BANDS: &[&str] = &["18-39", "40-64", "65+"];

fn files() -> Vec<(&'static str, String)> {
    let mut draw = Draw::new(23);
    let rows = (0..320).map(|row| {
        let (code, notes) = CODES[draw.below(CODES.len())];
        // Some patients come again, and belong together.
        let patient = format!("P{:03}", row % 240);
        vec![patient, format!("{}{} {}{}", draw.one(BEGINS), draw.one(notes), draw.one(SINCE), draw.one(ENDS)), draw.one(BANDS).to_owned(), code.to_owned()]
    });
    vec![("data/notes.csv", csv(&["patient", "note", "age", "code"], rows))]
}
