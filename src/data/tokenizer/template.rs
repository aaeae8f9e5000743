//! Chat templates: a conversation as the one text that a model was trained on, and where in it the model speaks.

use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Error, ErrorKind, Value, context};
use thiserror::Error;

use super::super::{Message, Role};

/// What can be wrong with a conversation for a template.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are the parts of the messages beside them")]
pub enum TemplateError {
    /// The template is none, or needs what there is not here.
    #[error("the chat template cannot be read: {problem}")]
    Unreadable { problem: String },
    /// It refuses the conversation.
    #[error("the chat template refuses it: {problem}")]
    Refused { problem: String },
    /// It cannot be told which part of the text is the model's own.
    #[error("no loss mask can be found: {problem}")]
    NoMask { problem: String },
    /// The tokenizer fails.
    #[error("the tokenizer refuses it: {problem}")]
    NotEncoded { problem: String },
}

/// A conversation as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// For each message of the assistant, in order, where what the model says lies: from where its answer begins to the end of its content.
    pub said: Vec<Range<usize>>,
}

/// A chat template, with the texts of the special tokens that it names.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    source: String,
    bos: String,
    eos: String,
}

/// Loops of a template run at most this long.
const FUEL: u64 = 20_000_000;
const NAME: &str = "chat";
/// What stands for the content of the assistant's messages while it is looked for.
const SENTINEL: &str = "\u{F8FF}";

impl ChatTemplate {
    /// Reads a template in Jinja, as Hugging Face's models have them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| TemplateError::Unreadable { problem: error.to_string() })?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |problem: String| -> Result<Value, Error> { Err(Error::new(ErrorKind::InvalidOperation, problem)) });
        let problem = |error: &Error| TemplateError::Unreadable { problem: error.to_string() };
        environment.add_template_owned(NAME, without_marks(source)).map_err(|error| problem(&error))?;
        Ok(Self { environment, source: source.to_owned(), bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The template as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of the token that begins a text.
    #[must_use]
    pub fn bos(&self) -> &str {
        &self.bos
    }

    /// The text of the token that ends a text.
    #[must_use]
    pub fn eos(&self) -> &str {
        &self.eos
    }

    fn render(&self, messages: &[(Role, &str)], opens: bool) -> Result<String, TemplateError> {
        let messages: Vec<Value> = messages.iter().map(|(role, content)| context!(role => role.name(), content => *content)).collect();
        let names = context!(
            messages,
            add_generation_prompt => opens,
            // As where there are none.
            tools => (),
            documents => (),
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            // Models that can think aloud are trained and asked without.
            enable_thinking => false,
        );
        let refused = |error: Error| TemplateError::Refused { problem: error.detail().map_or_else(|| error.to_string(), str::to_owned) };
        self.environment.get_template(NAME).and_then(|template| template.render(names)).map_err(refused)
    }

    /// A conversation with the assistant's message opened.
    ///
    /// # Errors
    /// When the template refuses it.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, TemplateError> {
        self.render(&plain(messages), true)
    }

    /// A whole conversation.
    ///
    /// # Errors
    /// When the template refuses it.
    pub fn whole(&self, messages: &[Message]) -> Result<String, TemplateError> {
        self.render(&plain(messages), false)
    }

    /// A whole conversation, and where in it the model speaks. That is found by rendering it once more with marks for what it says: all
    /// around them must be the same, and what stands before the last must be what stands there when the model is asked.
    ///
    /// # Errors
    /// When the template refuses it, or it cannot be told where the model speaks.
    pub fn conversation(&self, messages: &[Message]) -> Result<Rendered, TemplateError> {
        let no_mask = |problem: String| TemplateError::NoMask { problem };
        let plain = plain(messages);
        let text = self.render(&plain, false)?;
        let marks: Vec<String> = (0..messages.len()).map(|number| format!("{SENTINEL}{number}{SENTINEL}")).collect();
        let is_said = |at: usize| messages[at].role == Role::Assistant;
        let marked: Vec<(Role, &str)> =
            plain.iter().enumerate().map(|(at, &(role, content))| (role, if is_said(at) { marks[at].as_str() } else { content })).collect();
        let frame = self.render(&marked, false)?;
        let last = (0..messages.len()).rev().find(|&at| is_said(at)).unwrap_or(0);
        let (mut rest, mut at, mut said) = (frame.as_str(), 0, Vec::new());
        for number in (0..messages.len()).filter(|&at| is_said(at)) {
            let mut parts = rest.splitn(2, marks[number].as_str());
            let before = parts.next().unwrap_or_default();
            rest = parts.next().ok_or_else(|| no_mask(format!("the template leaves out message {}", number + 1)))?;
            let changed = || no_mask(format!("the template changes what message {} says or what stands around it", number + 1));
            if !text[at..].starts_with(before) {
                return Err(changed());
            }
            let start = at + before.len();
            let content = messages[number].content.as_str();
            let next = marks[number + 1..].iter().find_map(|mark| rest.split_once(mark.as_str())).map_or(rest, |(next, _)| next);
            let fits = |content: &&str| text[start..].strip_prefix(content).is_some_and(|after| after.starts_with(next));
            let content = [content, content.trim()].into_iter().find(fits).ok_or_else(changed)?;
            let asked = self.render(&plain[..number], true)?;
            // White space before an answer may be the model's to say.
            let opens = text.strip_prefix(asked.as_str()).map(|_| asked.len()).filter(|&opens| opens <= start && text[opens..start].trim().is_empty());
            // Some templates write what was said before the last question otherwise than when it was asked for.
            let opens = opens.or((number < last).then_some(start));
            let opens = opens.ok_or_else(|| no_mask(format!("the template opens message {} otherwise when the model is asked for it", number + 1)))?;
            at = start + content.len();
            said.push(opens..at);
        }
        if &text[at..] != rest {
            return Err(no_mask("the template changes what the last message says or what stands after it".into()));
        }
        Ok(Rendered { text, said })
    }
}

fn plain(messages: &[Message]) -> Vec<(Role, &str)> {
    messages.iter().map(|message| (message.role, message.content.as_str())).collect()
}

/// A template without the tags around what the model says, which only a trainer of Hugging Face reads.
fn without_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let name = tag[..end].trim_start_matches("{%").trim_end_matches("%}").trim_matches(|c: char| c == '-' || c.is_whitespace());
        if matches!(name, "generation" | "endgeneration") {
            // An empty comment keeps what the tag does to the white space around it.
            out.push_str(&tag[..end].replacen("{%", "{#", 1).replacen("%}", "#}", 1));
        } else {
            out.push_str(&tag[..end]);
        }
        rest = &tag[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHAT_ML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn messages(contents: &[String]) -> Vec<Message> {
        let role = |at: usize| if at.is_multiple_of(2) { Role::User } else { Role::Assistant };
        contents.iter().enumerate().map(|(at, content)| Message::new(role(at), content.clone())).collect()
    }

    fn said(rendered: &Rendered) -> Vec<&str> {
        rendered.said.iter().map(|range| &rendered.text[range.clone()]).collect()
    }

    proptest! {
        #[test]
        fn what_is_said_is_found_whatever_it_is(contents in prop::collection::vec("(\\PC|[ \\n<|]){0,24}|<\\|im_end\\|>|assistant\\n", 2..7)) {
            let template = ChatTemplate::new(CHAT_ML, "", "<|im_end|>").expect("a template");
            let messages = messages(&contents);
            let rendered = template.conversation(&messages).expect("it has a mask");
            let wanted: Vec<&str> = messages.iter().filter(|message| message.role == Role::Assistant).map(|message| message.content.as_str()).collect();
            prop_assert_eq!(said(&rendered), wanted);
            for (range, number) in rendered.said.iter().zip((1..).step_by(2)) {
                prop_assert_eq!(&rendered.text[..range.start], template.prompt(&messages[..number]).expect("a prompt"));
            }
        }
    }

    #[test]
    fn a_template_that_trims_is_followed_and_one_that_hides_is_refused() {
        let talk = messages(&["hi".into(), "  well \n".into()]);
        let trims = CHAT_ML.replace("message['content']", "message['content'] | trim");
        assert_eq!(said(&ChatTemplate::new(&trims, "", "").expect("a template").conversation(&talk).expect("it has a mask")), ["well"]);
        for broken in [
            CHAT_ML.replace("message['content']", "message['content'] | upper"),
            CHAT_ML.replace("message['content'] +", "(message['content'] if message['role'] == 'user' else '') +"),
            CHAT_ML.replace("assistant\n", "helper\n"),
        ] {
            let refused = ChatTemplate::new(&broken, "", "").expect("a template").conversation(&talk);
            assert!(matches!(refused, Err(TemplateError::NoMask { .. })), "{refused:?}");
        }
        let raises = "{{ raise_exception('roles must alternate') }}";
        let refused = ChatTemplate::new(raises, "", "").expect("a template").prompt(&talk);
        assert!(matches!(&refused, Err(TemplateError::Refused { problem }) if problem == "roles must alternate"), "{refused:?}");
    }

    #[test]
    fn tags_of_trainers_are_no_obstacle() {
        let marked = CHAT_ML.replace("{% for", "{%- generation -%}{% for").replace("{% endfor %}", "{% endfor %}{% endgeneration %}");
        let talk = messages(&["hi".into(), "well".into()]);
        assert_eq!(said(&ChatTemplate::new(&marked, "", "").expect("a template").conversation(&talk).expect("it has a mask")), ["well"]);
    }
}
