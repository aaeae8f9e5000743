//! Chat templates are rendered as `transformers` renders them: what that made of them is recorded by `tests/reference/templates.py`.

use retune::data::{ChatTemplate, Message, Role};
use serde_json::Value;

const RECORDED: &str = include_str!("reference/templates.json");

fn messages(of: &Value) -> Vec<Message> {
    let message = |message: &Value| {
        let role = match message["role"].as_str().expect("a role") {
            "system" => Role::System,
            "assistant" => Role::Assistant,
            _ => Role::User,
        };
        Message::new(role, message["content"].as_str().expect("a content").to_owned())
    };
    of.as_array().expect("messages").iter().map(message).collect()
}

#[test]
fn texts_and_prompts_are_those_of_transformers_and_masks_hold_what_is_said() {
    let recorded: Value = serde_json::from_str(RECORDED).expect("JSON");
    let mut seen = 0;
    for case in recorded["recorded"].as_array().expect("cases") {
        let name = case["template"].as_str().expect("a name");
        let about = format!("{name}, {}", case["said"]);
        let template = ChatTemplate::new(recorded["templates"][name].as_str().expect("a template"), "<s>", "</s>").expect("it is read");
        let messages = messages(&case["messages"]);
        let rendered = template.conversation(&messages).unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_eq!(rendered.text, case["whole"].as_str().expect("a text"), "{about}");
        assert_eq!(template.prompt(&messages[..messages.len() - 1]).expect("a prompt"), case["asked"].as_str().expect("a text"), "{about}");
        let said: Vec<&str> = rendered.said.iter().map(|range| &rendered.text[range.clone()]).collect();
        let wanted: Vec<&str> = messages.iter().filter(|message| message.role == Role::Assistant).map(|message| message.content.trim()).collect();
        assert_eq!(said.iter().map(|said| said.trim()).collect::<Vec<_>>(), wanted, "{about}");
        // What a template marks for trainers is what was found, and its end.
        for (found, marked) in said.iter().zip(case["spans"].as_array().into_iter().flatten().flat_map(|spans| spans.as_array()).flatten()) {
            assert_eq!(format!("{found}</s>"), marked.as_str().expect("a text"), "{about}");
        }
        seen += 1;
    }
    assert_eq!(seen, 15);
}
