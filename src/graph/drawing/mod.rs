//! A graph as a picture: where its boxes stand, and the SVG of it.

mod layout;
mod svg;

pub use svg::escaped;

/// One box of a picture.
#[derive(Clone, Debug)]
pub struct Sketch {
    /// What stands in it.
    pub title: String,
    /// What stands below that, smaller.
    pub note: String,
    /// How it stands, which gives it a colour.
    pub tone: Tone,
    /// The boxes that it needs, by their places.
    pub needs: Vec<usize>,
}

/// The colour of a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing is said.
    #[default]
    Plain,
    /// It is done.
    Done,
    /// It would be done.
    Due,
    /// Others are waited for.
    Waiting,
    /// It says no.
    Stopped,
}

impl Tone {
    /// The name of its colours in a picture.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Done => "done",
            Self::Due => "due",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
        }
    }

    /// Fill and line on a light ground.
    #[must_use]
    pub const fn colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("#f4f5f7", "#6b7280"),
            Self::Done => ("#dcfce7", "#15803d"),
            Self::Due => ("#fef3c7", "#b45309"),
            Self::Waiting => ("#e0e7ff", "#4338ca"),
            Self::Stopped => ("#fee2e2", "#b91c1c"),
        }
    }

    /// Fill and line on a dark ground.
    const fn dark_colours(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("#1f2430", "#9aa3b2"),
            Self::Done => ("#12311d", "#4ade80"),
            Self::Due => ("#3a2a0c", "#fbbf24"),
            Self::Waiting => ("#1f2350", "#a5b4fc"),
            Self::Stopped => ("#401618", "#f87171"),
        }
    }
}

/// All tones.
const TONES: [Tone; 5] = [Tone::Plain, Tone::Done, Tone::Due, Tone::Waiting, Tone::Stopped];

/// Draws boxes, those that are needed to the left of those that need them. `title` says what it is, for those who do not see it.
#[must_use]
pub fn draw(title: &str, boxes: &[Sketch]) -> String {
    svg::render(title, boxes, &layout::place(boxes))
}
