//! Notes of symptoms with the code that they are filed under, or `REFER` where a clinician must look at once. Codes are those of chapter
//! R and M of ICD-10; notes and patients are made up.

use std::io;
use std::path::Path;

use retune::model::Random;

use super::dirt::{NAMES, line, pick, rows, typo};

/// A code, how many notes in a hundred have it, and how its complaint is told.
type Complaint = (&'static str, usize, &'static [&'static str]);

const COMPLAINTS: &[Complaint] = &[
    ("R05", 16, &["a dry cough", "coughing at night", "a cough with slime", "a tickling cough", "coughing fits"]),
    ("R51", 15, &["a dull headache", "pain in the forehead", "a headache on both sides", "pressure in the head", "a headache after work"]),
    ("R21", 12, &["an itching rash", "red spots on the arm", "a rash on the belly", "dry red skin", "itching bumps"]),
    ("M54", 15, &["low back pain", "a stiff back", "back pain after lifting", "pain in the lower back", "an aching back"]),
    ("R10", 11, &["stomach pain after meals", "cramps in the belly", "a bloated aching belly", "pain around the navel"]),
    ("R11", 8, &["nausea in the morning", "feeling sick on the bus", "vomiting once", "nausea without fever"]),
    ("R42", 7, &["dizziness when getting up", "a spinning feeling", "light dizziness", "feeling giddy"]),
    ("R50", 6, &["a slight fever", "a temperature of 38", "fever in the evening", "shivering and fever"]),
];
/// What must not wait.
const URGENT: &[&str] = &[
    "crushing chest pain into the left arm",
    "chest pain and cold sweat",
    "sudden weakness of one arm",
    "a face that droops on one side",
    "speech that is suddenly slurred",
    "the worst headache ever, all at once",
    "a stiff neck with high fever",
    "coughing up blood",
    "black stool and fainting",
    "no feeling in both legs",
    "swollen lips and trouble breathing",
    "a rash that does not fade, and drowsiness",
    "vomiting blood",
    "sudden loss of sight in one eye",
];
const SINCE: &[&str] = &["since yesterday", "for three days", "for a week", "on and off for two weeks", "since this morning", "for a month"];
const BEGINS: &[&str] =
    &["Pt reports {x} {t}.", "Complains of {x} {t}.", "{x} {t}, otherwise well.", "Presents with {x} {t}.", "C/o {x}, {t}.", "Says: {x} {t}."];
const MORE: &[&str] = &[
    "",
    "",
    "",
    " No fever.",
    " No allergies known.",
    " Takes nothing for it.",
    " Smoker.",
    " Eats and drinks as usual.",
    " Works at a desk.",
    " Blood pressure 124/79.",
];
const BANDS: &[(&str, usize)] = &[("0-17", 14), ("18-39", 34), ("40-64", 31), ("65+", 21)];

#[derive(Clone)]
struct Note {
    patient: String,
    sex: &'static str,
    age: &'static str,
    code: &'static str,
}

fn drawn<T: Copy>(random: &mut Random, all: &[T], weight: impl Fn(&T) -> usize) -> T {
    let mut point = random.below(all.iter().map(&weight).sum());
    for one in all {
        if point < weight(one) {
            return *one;
        }
        point -= weight(one);
    }
    all[0]
}

/// A patient is the same person each time: the number decides sex and age.
fn person(number: usize) -> (&'static str, &'static str) {
    let mut random = Random::new(number as u64, "a patient");
    (if random.below(100) < 52 { "f" } else { "m" }, drawn(&mut random, BANDS, |band| band.1).0)
}

fn text(random: &mut Random, complaint: &str) -> String {
    let mut text = format!("{}{}", pick(random, BEGINS).replace("{x}", complaint).replace("{t}", pick(random, SINCE)), pick(random, MORE));
    if random.below(14) == 0 {
        let name = pick(random, NAMES);
        text = match random.below(2) {
            0 => format!("{text} Reach {name} at +44 20 7946 0{:03}.", random.below(1000)),
            _ => format!("{text} Send results to {}@example.com.", name.to_lowercase().replace(' ', ".")),
        };
    }
    if random.below(4) == 0 { typo(random, &text) } else { text }
}

fn note(random: &mut Random, urgent: usize) -> (String, Note) {
    let number = random.below(900);
    let (sex, age) = person(number);
    let (code, complaint) = if random.below(100) < urgent {
        ("REFER", pick(random, URGENT))
    } else {
        let (code, _, told) = drawn(random, COMPLAINTS, |complaint| complaint.1);
        (code, pick(random, told))
    };
    (text(random, complaint), Note { patient: format!("P{number:04}"), sex, age, code })
}

pub fn write(folder: &Path) -> io::Result<()> {
    let mut random = Random::new(23, "symptom notes");
    let mut out = line(&["patient", "sex", "age", "note", "code"]);
    for (index, (text, note)) in rows(&mut random, 2000, |random| note(random, 12)).into_iter().enumerate() {
        let code = match index % 173 {
            // Nobody filed it, somebody filed it under a code that is none, and somebody wrote it small.
            40 => "",
            90 => "X99",
            120 => &note.code.to_lowercase(),
            _ => note.code,
        };
        out.push_str(&line(&[&note.patient, note.sex, note.age, &text, code]));
    }
    std::fs::write(folder.join("notes.csv"), out)?;
    // Patients of their own, all of whom must be seen.
    let mut urgent = line(&["patient", "sex", "age", "note", "code"]);
    for (number, (text, note)) in (0..320).map(|number| (number, note(&mut random, 100))) {
        urgent.push_str(&line(&[&format!("S{number:04}"), note.sex, note.age, &text, note.code]));
    }
    std::fs::write(folder.join("urgent.csv"), urgent)
}
