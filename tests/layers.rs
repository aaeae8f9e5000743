//! The folders of `src/` are layers: each may use only those before it.

use std::path::Path;

const LAYERS: &[&str] =
    &["config", "graph", "fingerprint", "store", "ledger", "data", "grade", "provider", "model", "stage", "engine", "report", "serve", "lsp", "cli"];

fn check(folder: &Path, layer: usize, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            check(&path, layer, found);
            continue;
        }
        if path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source file");
        for (at, _) in text.match_indices("crate::") {
            let name: String = text[at + 7..].chars().take_while(|c| c.is_ascii_lowercase()).collect();
            let used = LAYERS.iter().position(|layer| *layer == name);
            if used.is_some_and(|used| used > layer) {
                found.push(format!("{} uses {name}", path.display()));
            }
        }
    }
}

#[test]
fn imports_point_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for (layer, name) in LAYERS.iter().enumerate() {
        if source.join(name).is_dir() {
            check(&source.join(name), layer, &mut found);
        }
    }
    assert!(found.is_empty(), "these imports point down: {found:#?}");
}
