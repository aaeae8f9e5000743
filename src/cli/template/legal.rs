use super::Template;
use super::draw::{Draw, csv};

pub const TEMPLATE: Template = Template { name: "legal", about: "clauses of contracts to their types", pipeline: include_str!("legal.kdl"), files };

const TYPES: &[(&str, &[&str])] = &[
    ("termination", &["Either party may terminate this Agreement", "This Agreement ends", "The Client may end the Services"]),
    ("confidentiality", &["The Recipient keeps all Information secret", "No party discloses the Information", "The Information stays confidential"]),
    ("liability", &["The Supplier is liable for direct damage only", "Liability is limited to the fees paid", "No party is liable for lost profit"]),
    ("payment", &["The Client pays each invoice", "Fees are due", "Invoices are payable without deduction"]),
];
const TERMS: &[&str] =
    &["within thirty days", "upon written notice", "for a period of two years", "as set out in Annex A", "unless the parties agree otherwise"];
const MORE: &[&str] = &["", " This clause survives the end of the Agreement.", " Section 4 remains unaffected.", " Notices are in writing."];

fn files() -> Vec<(&'static str, String)> {
    let mut draw = Draw::new(31);
    let rows = (0..320).map(|_| {
        let (kind, begins) = TYPES[draw.below(TYPES.len())];
        vec![format!("{} {}.{}", draw.one(begins), draw.one(TERMS), draw.one(MORE)), kind.to_owned()]
    });
    vec![("data/clauses.csv", csv(&["clause", "type"], rows))]
}
