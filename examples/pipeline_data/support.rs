//! Customer messages to a shop in three languages, with the team that answers them and the tone that they have: an export of each of
//! three channels.

use std::path::Path;

use retune::model::Random;
use serde_json::json;

use super::dirt::{NAMES, pick, quoted, rows, typo};

const SEED: u64 = 11;

/// A team, how many messages in a hundred go to it, what its messages are about, and what people ask.
type Team = (&'static str, usize, &'static [&'static str], &'static [&'static str]);

/// What people ask a team in Spanish and in German.
type Abroad = (&'static str, [&'static [&'static str]; 2]);

const TEAMS: &[Team] = &[
    (
        "billing",
        18,
        &["invoice", "bill", "direct debit", "monthly charge", "payment", "card payment", "amount due"],
        &[
            "I was charged twice for my {x}",
            "the {x} is higher than last month",
            "can you explain this {x}",
            "my {x} did not go through",
            "why is there a second {x} on my statement",
            "I never agreed to this {x}",
            "please send the {x} again with our tax number",
            "the {x} shows the wrong company name",
        ],
    ),
    (
        "delivery",
        17,
        &["parcel", "package", "order", "shipment", "box", "courier", "tracking number"],
        &[
            "where is my {x}",
            "the {x} should have been here on monday",
            "my {x} was left at the wrong house",
            "the {x} has not moved for five days",
            "can the {x} come in the evening instead",
            "the driver says nobody was home but the {x} never came",
            "I want to change the address for the {x}",
            "half of the {x} is missing",
        ],
    ),
    (
        "returns",
        13,
        &["shoes", "jacket", "lamp", "headphones", "coat", "blender", "chair"],
        &[
            "I want to send back the {x}",
            "the {x} do not fit, how do I get a refund",
            "how long do I have to return the {x}",
            "I returned the {x} two weeks ago and still have no money back",
            "can I swap the {x} for another size",
            "there was no return label with the {x}",
            "I changed my mind about the {x}",
        ],
    ),
    (
        "technical",
        14,
        &["app", "website", "screen", "update", "checkout page", "search", "notification"],
        &[
            "the {x} keeps crashing",
            "the {x} is blank since this morning",
            "I get error 502 on the {x}",
            "the {x} freezes when I tap the button",
            "nothing happens on the {x} when I click",
            "the {x} is terribly slow on my phone",
            "after the last version the {x} does not load",
        ],
    ),
    (
        "account",
        11,
        &["password", "login", "email address", "profile", "verification code", "username"],
        &[
            "I cannot get in with my {x}",
            "I forgot my {x}",
            "how do I change my {x}",
            "the {x} never arrives",
            "my {x} is locked after three tries",
            "someone else seems to use my {x}",
            "please delete my {x} for good",
        ],
    ),
    (
        "sales",
        9,
        &["team plan", "bulk order", "business account", "annual plan", "gift cards", "demo"],
        &[
            "we are 40 people and interested in the {x}",
            "what does the {x} cost",
            "is there a discount on the {x} for schools",
            "could somebody call me about the {x}",
            "I would like a quote for the {x}",
            "how does the {x} differ from the basic one",
        ],
    ),
    (
        "warranty",
        7,
        &["kettle", "drill", "vacuum cleaner", "watch", "monitor", "toaster"],
        &[
            "the {x} stopped working after a month",
            "my {x} makes a burning smell",
            "the {x} broke, is it still covered",
            "a part of the {x} came off",
            "can the {x} be repaired under guarantee",
            "the {x} arrived with a crack and will not turn on",
        ],
    ),
    (
        "privacy",
        4,
        &["personal data", "newsletter", "cookies", "purchase history", "phone number"],
        &[
            "what do you store about my {x}",
            "I want a copy of my {x} under the data protection law",
            "stop sending me the {x}",
            "who did you give my {x} to",
            "please erase my {x} from your records",
        ],
    ),
    (
        "complaints",
        5,
        &["agent", "hotline", "shop assistant", "service", "chat"],
        &[
            "I waited an hour for your {x}, this is a disgrace",
            "your {x} was rude to me",
            "I want to speak to a manager about the {x}",
            "third time I write about the {x} and nobody answers",
            "the worst {x} I have ever had",
        ],
    ),
    (
        "jobs",
        2,
        &["warehouse job", "internship", "vacancy", "application"],
        &["is the {x} still open", "I sent my {x} in may and heard nothing", "do I need a degree for the {x}", "who reads the {x}"],
    ),
];
const ABROAD: &[Abroad] = &[
    (
        "billing",
        [
            &["me cobraron dos veces la factura", "no entiendo este recibo", "el pago con tarjeta no funciona", "el importe de la factura es otro"],
            &["mir wurde die Rechnung zweimal abgebucht", "die Abbuchung ist zu hoch", "ich verstehe diese Rechnung nicht", "die Zahlung ging nicht durch"],
        ],
    ),
    (
        "delivery",
        [
            &["dónde está mi paquete", "el pedido no ha llegado", "el repartidor dejó la caja en otra casa", "quiero cambiar la dirección del envío"],
            &["wo ist mein Paket", "die Lieferung ist seit Montag überfällig", "der Fahrer hat das Paket woanders abgegeben", "bitte die Lieferadresse ändern"],
        ],
    ),
    (
        "returns",
        [
            &["quiero devolver los zapatos", "cuándo me devuelven el dinero de la chaqueta", "puedo cambiar el abrigo por otra talla"],
            &["ich möchte die Schuhe zurückgeben", "wann bekomme ich mein Geld für die Jacke zurück", "kann ich den Mantel gegen eine andere Größe tauschen"],
        ],
    ),
    (
        "technical",
        [
            &["la aplicación se cierra sola", "la página está en blanco", "la búsqueda no carga en mi móvil"],
            &["die App stürzt ständig ab", "die Seite bleibt leer", "nach dem Update lädt nichts mehr"],
        ],
    ),
    (
        "account",
        [
            &["olvidé mi contraseña", "no puedo entrar en mi cuenta", "el código de verificación no llega"],
            &["ich habe mein Passwort vergessen", "mein Konto ist gesperrt", "der Bestätigungscode kommt nicht an"],
        ],
    ),
    (
        "sales",
        [
            &["cuánto cuesta el plan anual", "queremos un presupuesto para cuarenta personas"],
            &["was kostet der Jahresplan", "wir hätten gern ein Angebot für vierzig Personen"],
        ],
    ),
    (
        "warranty",
        [
            &["el hervidor dejó de funcionar después de un mes", "el taladro huele a quemado"],
            &["der Wasserkocher ging nach einem Monat kaputt", "ist der Bohrer noch in der Garantie"],
        ],
    ),
    (
        "privacy",
        [
            &["qué datos míos guardan", "dejen de enviarme el boletín"],
            &["welche Daten speichern Sie über mich", "bitte löschen Sie meine Telefonnummer aus den Daten"],
        ],
    ),
    (
        "complaints",
        [
            &["esperé una hora en la línea", "el agente fue grosero conmigo"],
            &["ich habe eine Stunde in der Hotline gewartet", "der Mitarbeiter war unhöflich zu mir"],
        ],
    ),
    ("jobs", [&["sigue abierta la vacante", "envié mi solicitud en mayo"], &["ist die Stelle noch frei", "ich habe mich im Mai beworben"]]),
];
const LANGUAGES: [&str; 3] = ["en", "es", "de"];
const TONES: [&str; 3] = ["calm", "urgent", "angry"];
const OPENERS: [&[&str]; 3] = [
    &["", "", "", "", "Hi, ", "hello, ", "Good morning, ", "hey ", "Dear team, ", "Sorry to bother you, ", "ok so ", "Please help: "],
    &["", "", "Hola, ", "Buenos días, ", "Perdón, "],
    &["", "", "Hallo, ", "Guten Tag, ", "Entschuldigung, "],
];
/// How a message ends, by language and tone.
const CLOSERS: [[&[&str]; 3]; 3] = [
    [
        &["", "", "", " thanks", " Thank you in advance.", " kind regards", " can someone look into it"],
        &[" please hurry", " this is urgent!!", " I need it today", " as soon as you can"],
        &[" this is ridiculous", " I am fed up", " never again", " I am really angry now"],
    ],
    [&["", "", " gracias", " un saludo"], &[" es urgente", " lo necesito hoy", " rápido, por favor"], &[" esto es ridículo", " estoy harto", " nunca más"]],
    [
        &["", "", " danke", " viele Grüße"],
        &[" es ist dringend", " ich brauche es heute", " bitte schnell"],
        &[" das ist lächerlich", " ich habe genug", " nie wieder"],
    ],
];
const ASIDES: &[&str] = &[
    " I bought it for my mother.",
    " My son tried too.",
    " We leave on friday.",
    " It worked fine before.",
    " I already wrote last week.",
    " Your page does not say.",
];

/// What a message is.
#[derive(Clone)]
struct Ticket {
    language: &'static str,
    team: &'static str,
    tone: &'static str,
}

fn team(random: &mut Random) -> &'static Team {
    let mut point = random.below(100);
    for team in TEAMS {
        if point < team.1 {
            return team;
        }
        point -= team.1;
    }
    &TEAMS[0]
}

fn asked(random: &mut Random, language: usize) -> (&'static str, String) {
    let &(name, _, things, asks) = team(random);
    let said = match ABROAD.iter().find(|(team, _)| *team == name && language > 0) {
        Some((_, abroad)) => pick(random, abroad[language - 1]).to_owned(),
        None => pick(random, asks).replace("{x}", pick(random, things)),
    };
    (name, said)
}

fn message(random: &mut Random) -> (String, Ticket) {
    // Of twenty messages fourteen are English and three each Spanish and German.
    let language = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2][random.below(20)];
    let (name, said) = asked(random, language);
    let tone = if name == "complaints" { 2 } else { [0, 0, 0, 1, 2][random.below(5)] };
    let mut text = format!("{}{said}.", pick(random, OPENERS[language]));
    if language == 0 && random.below(4) == 0 {
        text.push_str(pick(random, ASIDES));
    }
    if random.below(6) == 0 {
        // People write about more than one thing; the first is what counts.
        let also = ["Also,", "También", "Und"][language];
        text = format!("{text} {also} {}", asked(random, language).1);
    }
    text.push_str(pick(random, CLOSERS[language][tone]));
    if random.below(12) == 0 {
        let person = pick(random, NAMES);
        let mail = person.to_lowercase().replace(' ', ".");
        text = match random.below(3) {
            0 => format!("{text} Write to {mail}@example.com."),
            1 => format!("{text} Call me on +44 20 7946 0{:03}, {person}", random.below(1000)),
            _ => format!("{text} My card is 4111 1111 1111 1111."),
        };
    }
    for _ in 0..random.below(3) {
        text = typo(random, &text);
    }
    let ticket = Ticket { language: LANGUAGES[language], team: name, tone: TONES[tone] };
    match random.below(5) {
        0 => (text.to_lowercase(), ticket),
        1 => (text.replace(['.', ','], ""), ticket),
        _ => (text, ticket),
    }
}

fn as_json(channel: &str, text: &str, ticket: &Ticket) -> serde_json::Value {
    json!({ "channel": channel, "language": ticket.language, "text": text, "team": ticket.team, "tone": ticket.tone })
}

pub fn write(folder: &Path) -> std::io::Result<()> {
    let mut random = Random::new(SEED, "support messages");

    let mut email = String::from("channel,language,text,team,tone\n");
    for (index, (text, Ticket { language, team, tone })) in rows(&mut random, 1200, message).into_iter().enumerate() {
        match index % 157 {
            // A comma that nobody quoted, and a line that was cut off.
            80 => email.push_str(&format!("email,{language},{},{team},{tone},\n", text.replace(',', " "))),
            130 => email.push_str("email,cut off\n"),
            _ => email.push_str(&format!("email,{language},{},{team},{tone}\n", quoted(&text))),
        }
    }
    std::fs::write(folder.join("email.csv"), email)?;

    let mut chat = String::new();
    for (index, (text, ticket)) in rows(&mut random, 800, message).into_iter().enumerate() {
        let line = as_json("chat", &text, &ticket).to_string();
        match index % 211 {
            100 => chat.extend(line.chars().take(line.len() / 2)),
            150 => chat.push_str(&json!({ "channel": "chat", "text": text }).to_string()),
            _ => chat.push_str(&line),
        }
        chat.push('\n');
    }
    std::fs::write(folder.join("chat.jsonl"), chat)?;

    let phone: Vec<serde_json::Value> = rows(&mut random, 500, message).iter().map(|(text, ticket)| as_json("phone", &text.to_lowercase(), ticket)).collect();
    std::fs::write(folder.join("phone.json"), format!("{:#}\n", serde_json::Value::Array(phone)))?;
    Ok(())
}
