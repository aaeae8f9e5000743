use minijinja::{Environment, context};
use serde_json::Value;

/// The output with the report as a page.
pub const PAGE: &str = "page.html";

const TEMPLATE: &str = include_str!("page.html");

/// What of the page is about the rows, and what that is made with, for whoever shows it in a page of its own: templates by name.
pub const ROWS_TEMPLATES: [(&str, &str); 2] = [("rows.html", include_str!("rows.html")), ("macros.html", include_str!("macros.html"))];

/// The report as a page that needs nothing but itself.
pub fn page(stage: &str, report: &Value) -> Result<String, String> {
    let mut environment = Environment::new();
    // By its ending the template escapes what data says.
    for (name, text) in ROWS_TEMPLATES.into_iter().chain([(PAGE, TEMPLATE)]) {
        environment.add_template(name, text).map_err(|error| error.to_string())?;
    }
    let template = environment.get_template(PAGE).map_err(|error| error.to_string())?;
    template.render(context! { stage, report => minijinja::Value::from(minijinja::value::Serde(report)) }).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_page_shows_everything_and_escapes_what_data_says() {
        let part = json!({
            "rows": 8, "labels": { "<b>": 5, "c": 3 }, "tokens": { "counted": 8, "mean": 20.0, "most": 40, "spread": [{ "up-to": 16, "rows": 3 }, { "up-to": 32, "rows": 5 }] },
            "slices": { "channel": { "mail": { "rows": 8, "labels": { "<b>": 5 } } } },
        });
        let step = json!({ "operator": "redact", "rows_in": 10, "rows_out": 8, "changed": 1, "dropped": 1, "rejected": 1, "samples": ["a.csv:3: no & yes"],
            "changes": [{ "at": "a.csv:4", "before": "me@x.org", "after": "[EMAIL_1]" }], "clusters": [{ "kept": "a.csv:2", "rows": 3 }], "notes": [] });
        let report = json!({ "rows-in": 10, "rejected-before": 2, "rejected-share": 0.25, "duplicate-share": 0.1, "operators": [step], "redactions": { "email": 1 },
            "splits": { "train": part, "validation": { "rows": 0, "tokens": { "counted": 0, "mean": 0.0, "most": 0, "spread": [] } } }, "warnings": ["thin"] });
        let page = page("chat", &report).expect("it can be rendered");
        for wanted in ["chat", "10 rows", "a.csv:3: no &amp; yes", "[EMAIL_1]", "a.csv:2", "&lt;b&gt;", "channel", "email", "thin", "up to 32"] {
            assert!(page.contains(wanted), "{wanted}: {page}");
        }
        assert!(!page.contains("<b>") && !page.contains("http"), "nothing of the data is markup, and nothing is fetched");
    }
}
