use crate::engine::{PlannedStage, Recipe, Standing};
use crate::graph::{Sketch, Tone};

/// The colour of a stage, by how it stands.
#[must_use]
pub fn tone(stage: &PlannedStage) -> Tone {
    match stage.standing() {
        Standing::Cached if stage.gated() => Tone::Stopped,
        Standing::Cached => Tone::Done,
        Standing::Run => Tone::Due,
        Standing::Unknown => Tone::Waiting,
    }
}

/// The stages of a pipeline as boxes; how they stand is told where it is known.
#[must_use]
pub fn sketches(recipe: &Recipe, planned: Option<&[PlannedStage]>) -> Vec<Sketch> {
    let sketch = |(place, stage): (usize, &crate::engine::StageNode)| {
        let tone = planned.and_then(|planned| planned.get(place)).map(tone);
        let note = tone.map_or_else(|| stage.kind.clone(), |tone| format!("{}, {}", stage.kind, tone.class()));
        Sketch { title: stage.name.to_string(), note, tone: tone.unwrap_or_default(), needs: stage.needs.clone() }
    };
    recipe.stages.iter().enumerate().map(sketch).collect()
}
