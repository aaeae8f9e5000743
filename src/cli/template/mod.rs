//! What `init` writes: a pipeline and sample data that run as they are. A template is one file here, with its pipeline beside it,
//! and one line in [`TEMPLATES`].

mod content;
mod draw;
mod education;
mod exec;
mod legal;
mod medical;
mod preference;
mod support;

/// A pipeline to begin with.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    /// What `--template` calls it.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// The pipeline's file.
    pub pipeline: &'static str,
    /// The files that it reads, by path, with their content.
    pub files: fn() -> Vec<(&'static str, String)>,
}

/// All templates; the first is taken where none is named.
pub const TEMPLATES: &[Template] =
    &[support::TEMPLATE, medical::TEMPLATE, legal::TEMPLATE, education::TEMPLATE, content::TEMPLATE, preference::TEMPLATE, exec::TEMPLATE];
