use super::Template;
use super::draw::{Draw, csv};

pub const TEMPLATE: Template =
    Template { name: "support", about: "customer messages to the team that answers them", pipeline: include_str!("support.kdl"), files };

const TEAMS: &[(&str, &[&str], &[&str])] = &[
    ("billing", &["invoice", "payment", "direct debit", "bill"], &["I was charged twice for my {x}", "the {x} is wrong again", "please explain this {x}"]),
    ("delivery", &["parcel", "package", "shipment", "courier"], &["where is my {x}", "the {x} never came", "the {x} is three days late"]),
    ("returns", &["refund", "return label", "exchange", "money back"], &["I want a {x}", "how do I get a {x} for these shoes", "my {x} has not come yet"]),
    ("account", &["password", "login", "email address", "profile"], &["I cannot change my {x}", "my {x} does not work any more", "please delete my {x}"]),
];
const CHANNELS: &[&str] = &["mail", "chat", "phone"];
const ENDS: &[&str] = &["", ", please help", ", thank you", ". Order 4471", ". Write to jo@example.com", "!"];

fn files() -> Vec<(&'static str, String)> {
    let mut draw = Draw::new(11);
    let rows = (0..320).map(|_| {
        let (team, things, asks) = TEAMS[draw.below(TEAMS.len())];
        let text = draw.one(asks).replace("{x}", draw.one(things));
        vec![format!("{text}{}", draw.one(ENDS)), team.to_owned(), draw.one(CHANNELS).to_owned()]
    });
    vec![("data/messages.csv", csv(&["text", "team", "channel"], rows))]
}
