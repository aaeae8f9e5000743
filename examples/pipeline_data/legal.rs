//! Clauses of made-up contracts, with their type and a summary in one sentence; and a benchmark that must not be learnt.

use std::io;
use std::path::Path;

use retune::model::Random;
use serde_json::json;

use super::dirt::{pick, rows, typo};

/// A type, how its clause begins, and how it is said in short. `{p}` is a party, `{t}` a time.
type Kind = (&'static str, &'static [&'static str], &'static str);

const KINDS: &[Kind] = &[
    (
        "termination",
        &[
            "Either party may terminate this Agreement upon {t} written notice to the other party.",
            "The {p} may bring this Agreement to an end at any time by giving notice of {t} in writing.",
            "This Agreement continues until it is terminated by the {p} with {t} notice.",
        ],
        "The contract can be ended with {t} notice.",
    ),
    (
        "confidentiality",
        &[
            "The {p} shall keep the Confidential Information secret for {t} after the end of this Agreement.",
            "For {t} following disclosure, the {p} shall not disclose the Information to any third party.",
            "All Information of the other party is held in confidence by the {p} for {t}.",
        ],
        "The {p} keeps information secret for {t}.",
    ),
    (
        "payment",
        &[
            "The {p} shall pay each undisputed invoice within {t} of its receipt.",
            "Fees are due {t} after the date of the invoice and are payable by the {p} without deduction.",
            "Invoices issued under this Agreement fall due for payment by the {p} in {t}.",
        ],
        "The {p} pays within {t}.",
    ),
    (
        "liability",
        &[
            "The liability of the {p} is limited to the fees paid in the {t} before the event that gave rise to the claim.",
            "In no event is the {p} liable for more than the amount paid during the preceding {t}.",
            "The {p} is liable up to the fees of the last {t} and for no indirect or consequential loss.",
        ],
        "The {p} is liable up to the fees of {t}.",
    ),
    (
        "warranty",
        &[
            "The {p} warrants that the Deliverables conform to the Specification for {t} from acceptance.",
            "For {t} after delivery the {p} remedies any defect in the Deliverables free of charge.",
            "The Deliverables are free from material defects for {t}, failing which the {p} repairs or replaces them.",
        ],
        "The {p} mends defects for {t}.",
    ),
    (
        "renewal",
        &[
            "This Agreement renews for further terms of {t} unless the {p} objects before the current term ends.",
            "At the end of each term the Agreement is extended by {t} unless the {p} gives notice of non-renewal.",
            "The term is prolonged automatically by {t} where the {p} does not declare otherwise.",
        ],
        "The contract renews by {t} by itself.",
    ),
];
const PARTIES: &[&str] = &["Supplier", "Client", "Licensee", "Contractor"];
const TIMES: &[&str] = &["thirty days", "sixty days", "ninety days", "six months", "twelve months", "two years", "three years"];
/// What stands around it, as contracts do.
const AROUND: &[&str] = &[
    "Save as expressly set out herein, the rights and remedies provided in this clause are in addition to, and not in substitution for, any rights available at law.",
    "Any notice under this clause is deemed received on the second business day after posting to the registered office of the addressee.",
    "This clause survives the expiry or termination of this Agreement for whatever reason.",
    "The headings of this Agreement are for convenience only and do not affect its interpretation.",
    "Where the parties have agreed on a schedule of services, that schedule prevails over this clause to the extent of any conflict.",
    "No failure or delay in exercising any right under this clause operates as a waiver of that right.",
    "The foregoing applies equally to any affiliate of the party concerned, as defined in Schedule One, and to its permitted successors.",
    "Nothing in this clause excludes or limits any right that cannot be excluded or limited under the applicable law.",
    "If any provision of this clause is found to be invalid, the remaining provisions remain in full force and effect.",
];

#[derive(Clone)]
struct Answer {
    kind: &'static str,
    summary: String,
}

fn clause(random: &mut Random) -> (String, Answer) {
    let &(kind, begins, summary) = &KINDS[random.below(KINDS.len())];
    let (party, time) = (pick(random, PARTIES), pick(random, TIMES));
    let filled = |text: &str| text.replace("{p}", party).replace("{t}", time);
    let mut sentences = vec![filled(pick(random, begins))];
    for _ in 0..random.below(4) {
        let around = pick(random, AROUND).to_owned();
        // What matters may stand anywhere.
        let place = random.below(sentences.len() + 1);
        if !sentences.contains(&around) {
            sentences.insert(place, around);
        }
    }
    let number = format!("{}.{}", random.below(18) + 1, random.below(9) + 1);
    let mut text = format!("{number} {}", sentences.join(" "));
    if random.below(6) == 0 {
        text = typo(random, &text);
    }
    if random.below(25) == 0 {
        // A page break and a footer in the middle of it, as scans have them.
        text = text.replacen(". ", &format!(".\n- {} -\n", random.below(40) + 1), 1);
    }
    (text, Answer { kind, summary: filled(summary) })
}

fn row((text, answer): (String, Answer)) -> String {
    json!({ "clause": text, "type": answer.kind, "summary": answer.summary }).to_string()
}

pub fn write(folder: &Path) -> io::Result<()> {
    let mut random = Random::new(37, "clauses");
    // Those of the benchmark first, so that some of them can slip into the data as they do in life.
    let benchmark: Vec<(String, Answer)> = (0..160).map(|_| clause(&mut random)).collect();
    let mut out = String::new();
    for (index, (text, answer)) in rows(&mut random, 1900, clause).into_iter().enumerate() {
        match index % 190 {
            30 => out.push_str(&json!({ "clause": text, "type": answer.kind }).to_string()),
            70 => out.push_str(&row((text, answer))[..60]),
            110 | 150 => out.push_str(&row(benchmark[index % benchmark.len()].clone())),
            _ => out.push_str(&row((text, answer))),
        }
        out.push('\n');
    }
    std::fs::write(folder.join("clauses.jsonl"), out)?;
    std::fs::write(folder.join("benchmark.jsonl"), benchmark.into_iter().map(|one| row(one) + "\n").collect::<String>())
}
