//! Any text is decoded, or refused, and never more than that; and what is laid out once is laid out.

#![no_main]

use std::path::PathBuf;

use libfuzzer_sys::fuzz_target;
use retune::config::{Overrides, Pipeline, PipelineErrors, PipelineFile, format};
use retune::stage::LANGUAGE;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let file = PipelineFile::of(PathBuf::from("/nowhere/p.kdl"), "p.kdl".into(), text.to_owned());
    let (file, pipeline, errors) = Pipeline::decode(file, LANGUAGE, &Overrides::default());
    // All places can be told of.
    for finding in PipelineErrors::new(&file, &errors).found {
        for label in finding.labels {
            let place = file.place(label.span);
            assert!(place.line > 0 && place.column > 0);
        }
    }
    // Laying out loses nothing that is read.
    if let Ok(formatted) = format(text) {
        assert_eq!(format(&formatted).ok().as_deref(), Some(formatted.as_str()), "laid out once is laid out");
        let again = PipelineFile::of(PathBuf::from("/nowhere/p.kdl"), "p.kdl".into(), formatted);
        let (_, again, problems) = Pipeline::decode(again, LANGUAGE, &Overrides::default());
        assert_eq!(again.map(|pipeline| pipeline.stages.len()), pipeline.map(|pipeline| pipeline.stages.len()));
        assert_eq!(problems.len(), errors.len(), "layout changes nothing that is found");
    }
});
