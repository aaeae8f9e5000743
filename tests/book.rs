//! The book: every page is in it, every link leads somewhere, every command is one, and the tutorial and the how-to pages do what they say.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Workspace;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(page: &str) -> String {
    std::fs::read_to_string(root().join(page)).expect("the page is there")
}

/// The pages of the book, by their paths.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> = walkdir::WalkDir::new(root().join("docs"))
        .into_iter()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "md"))
        .map(|entry| entry.path().strip_prefix(root()).expect("it lies below").display().to_string())
        .collect();
    pages.sort();
    pages
}

/// The blocks of a page: what stands behind their fence, and what is in them.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some((_, inside)), None) => {
                inside.push_str(line);
                inside.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block has no end");
    found
}

/// The lines of a block of commands; one that ends with `\` or within quotes goes on in the next.
fn commands(block: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        match found.last_mut().filter(|_| goes_on) {
            Some(last) => {
                last.push('\n');
                last.push_str(line);
            }
            None => found.push(line.to_owned()),
        }
        goes_on = found.last().is_some_and(|command| command.ends_with('\\') || !command.matches('\'').count().is_multiple_of(2));
    }
    found
}

/// The exit code that a command is said to end with.
fn code(command: &str) -> &str {
    command.split("# exit code ").nth(1).map_or("0", str::trim)
}

/// Does all that a page says, in an empty folder.
fn follow(page: &str) {
    let workspace = Workspace::new();
    let mut script = String::new();
    for (info, inside) in blocks(&text(page)) {
        if info == "sh" {
            for command in commands(&inside) {
                let told = command.replace('\'', "'\\''");
                script.push_str(&format!(
                    "{command}\ncode=$?\n[ $code -eq {} ] || {{ echo 'the page says: {told}' >&2; echo \"it ended with $code\" >&2; exit 99; }}\n",
                    code(&command)
                ));
            }
        } else if let Some((_, file)) = info.split_once(' ').filter(|(_, file)| *file != "fails") {
            script.push_str(&format!("mkdir -p \"$HOME/$(dirname {file})\" && cat > \"$HOME/{file}\" <<'THE END'\n{inside}THE END\n"));
        }
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_retune")).parent().expect("it lies in a folder");
    let path = std::env::join_paths([programs.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").expect("there is one"))))
        .expect("no colon in it");
    let mut command = Command::new("bash");
    command.arg("-c").arg(&script).current_dir(workspace.path()).env("PATH", path).env("HOME", workspace.path()).env("NO_COLOR", "1");
    for key in ["OPENAI_API_KEY", "OPENAI_BASE_URL"] {
        command.env_remove(key);
    }
    let done = common::Done::from(command.output().expect("bash starts"));
    assert_eq!(done.code, 0, "{page}: {}\n{}", done.stdout, done.stderr);
}

/// One after the other: some of them listen where `retune serve` does by itself.
#[test]
fn the_tutorial_and_the_how_to_pages_do_what_they_say() {
    let followed: Vec<String> = pages().into_iter().filter(|page| page == "docs/tutorial.md" || page.starts_with("docs/how-to/")).collect();
    assert_eq!(followed.len(), 7);
    for page in followed {
        follow(&page);
    }
}

#[test]
fn every_page_is_in_the_book() {
    let summary = text("docs/SUMMARY.md");
    for page in pages() {
        let name = page.strip_prefix("docs/").expect("it lies there");
        assert!(name == "SUMMARY.md" || summary.matches(&format!("({name})")).count() == 1, "{page} stands once in docs/SUMMARY.md");
    }
}

/// The name that a heading has in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").expect("it is right");
    for page in pages().into_iter().chain(["README.md".to_owned(), "CONTRIBUTING.md".to_owned()]) {
        let all = text(&page);
        let blocks = blocks(&all);
        let outside = blocks.iter().fold(all.clone(), |all, (_, inside)| if inside.is_empty() { all } else { all.replace(inside.as_str(), "") });
        for found in link.captures_iter(&outside) {
            let target = &found[1];
            if target.starts_with("http") {
                continue;
            }
            let (file, part) = target.split_once('#').map_or((target, None), |(file, part)| (file, Some(part)));
            let place = if file.is_empty() { PathBuf::from(&page) } else { Path::new(&page).parent().expect("it lies in a folder").join(file) };
            assert!(root().join(&place).exists(), "{page} links to {target}, which is not there");
            if let Some(part) = part {
                let there = text(&place.to_string_lossy());
                assert!(
                    there.lines().filter_map(|line| line.strip_prefix('#')).any(|heading| anchor(heading.trim_start_matches('#')) == part),
                    "{page} links to {target}, and there is no such heading"
                );
            }
        }
    }
}

/// What the commands take, by their names: the text of their help.
fn helps() -> BTreeMap<String, String> {
    let workspace = Workspace::new();
    let all = workspace.retune(&["--help"]).stdout;
    let names =
        all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| line.starts_with("  ")).filter_map(|line| line.split_whitespace().next());
    let of = |name: &str| workspace.retune(&[name, "--help"]).stdout;
    // What lies below a command, such as `cache gc`, has options of its own.
    names
        .map(|name| {
            let help = of(name);
            let below: Vec<String> = help
                .lines()
                .skip_while(|line| *line != "Commands:")
                .skip(1)
                .take_while(|line| line.starts_with("  "))
                .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
                .collect();
            (name.to_owned(), below.iter().map(|inner| workspace.retune(&[name, inner, "--help"]).stdout).fold(help, |all, more| all + &more))
        })
        .collect()
}

#[test]
fn every_command_in_the_documents_is_one() {
    let helps = helps();
    let quoted = regex::Regex::new(r"`(retune [^`]+)`").expect("it is right");
    let mut count = 0;
    for page in pages().into_iter().chain(["README.md".to_owned()]) {
        let all = text(&page);
        let of_blocks: Vec<String> =
            blocks(&all).into_iter().filter(|(info, _)| info == "sh" || info == "yaml").flat_map(|(_, inside)| commands(&inside)).collect();
        let in_lines = quoted.captures_iter(&all).map(|found| found[1].to_owned());
        for line in in_lines.chain(of_blocks) {
            let plain = line.split(" #").next().unwrap_or_default();
            for call in plain.split(&['|', '&', '\n', ';'][..]) {
                let words: Vec<&str> = call.split_whitespace().skip_while(|word| *word != "retune").skip(1).collect();
                let Some(name) = words.first().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) else {
                    continue;
                };
                let help = helps.get(*name).unwrap_or_else(|| panic!("{page}: there is no command `{name}` ({line})"));
                for flag in words.iter().filter(|word| word.starts_with('-') && word.len() > 1) {
                    let flag = flag.split('=').next().unwrap_or_default().trim_end_matches(&['`', '.', ','][..]);
                    assert!(help.split(&[' ', ',', '\n'][..]).any(|word| word == flag), "{page}: `{name}` has no {flag} ({line})");
                }
                count += 1;
            }
        }
    }
    assert!(count > 80, "the documents have {count} commands");
}
