use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Signal, kill_process_group};

use crate::store::end_orphans;

use super::super::{Context, StageError};
use super::environment;
use super::parent::Running;
use super::spawn::Birth;

/// How a command comes to the programs that are on the user's own `PATH`.
const YOURS: &str = "a command finds the programs that the system has for all: declare `knob \"PATH\"` in the stage to look on yours too, or `env \"PATH\"` to run again when it changes";

/// How long a command may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// What is run.
#[derive(Debug)]
pub enum Program {
    /// A line for `sh -c`.
    Shell(String),
    /// A program and its arguments.
    Arguments(Vec<String>),
}

impl Program {
    /// Whether a file is code of it, or its settings, most likely: by its ending, which says so of what other code takes in too, or
    /// because it is named in it and no data by its ending.
    pub fn is_of(&self, path: &str, directory: Option<&str>) -> bool {
        const CODE: &[&str] = &[
            "c", "cc", "cfg", "cpp", "go", "h", "ini", "ipynb", "java", "jl", "js", "lua", "mjs", "php", "pl", "py", "r", "rb", "rs", "scala", "sh", "so",
            "sql", "toml", "ts", "yaml", "yml",
        ];
        const DATA: &[&str] = &["arrow", "csv", "jsonl", "md", "ndjson", "parquet", "tsv", "txt"];
        let name = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
        let ending = Path::new(name).extension().and_then(std::ffi::OsStr::to_str).map(str::to_ascii_lowercase);
        if let Some(ending) = ending.as_deref() {
            if CODE.contains(&ending) {
                return true;
            }
            if DATA.contains(&ending) {
                return false;
            }
        }
        let apart = |c: char| c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '<' | '>' | '"' | '\'' | '=' | ',' | ':' | '`' | '$');
        let is_it = |word: &str| {
            let word = word.trim_start_matches("./");
            let below = directory.map(|directory| format!("{}/{word}", directory.trim_start_matches("./").trim_end_matches('/')));
            word == path || below.is_some_and(|below| below == path)
        };
        match self {
            Self::Shell(line) => line.split(apart).any(is_it),
            Self::Arguments(words) => words.iter().any(|word| is_it(word) || word.split(apart).any(is_it)),
        }
    }
}

/// Where a command works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// In a folder of its own, and the system refuses to let it write anywhere else in the workspace.
    Strict,
    /// In a folder of its own.
    On,
    /// In the workspace itself.
    Off,
}

/// A command about to begin.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    pub program: &'a Program,
    pub folder: &'a Path,
    pub environment: &'a BTreeMap<String, String>,
    pub sandbox: Sandbox,
    /// Where its checkpoints lie.
    pub checkpoints: Option<&'a Path>,
}

impl Launch<'_> {
    /// The command with all that it is begun with; its output goes to a log.
    fn birth(&self, context: &Context<'_>, log: File) -> io::Result<Birth> {
        let words = match self.program {
            Program::Shell(line) => vec!["/bin/sh", "-c", line],
            Program::Arguments(words) => words.iter().map(String::as_str).collect(),
        };
        let mut variables: BTreeMap<&str, &str> = BTreeMap::new();
        let minimum: Vec<(&str, String)> = environment::minimum(context.temporary).collect();
        variables.extend(minimum.iter().map(|(name, value)| (*name, value.as_str())));
        variables.extend(self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let gpus = context.gpus.map(|gpus| gpus.join(","));
        variables.extend(gpus.iter().map(|gpus| ("CUDA_VISIBLE_DEVICES", gpus.as_str())));
        let name = words.first().copied().unwrap_or_default();
        let places = if name.contains('/') {
            vec![name.to_owned()]
        } else {
            let folders = variables.get("PATH").copied().unwrap_or_default().split(':');
            folders.map(|folder| if folder.is_empty() { format!("./{name}") } else { format!("{folder}/{name}") }).collect()
        };
        let text = |text: Vec<u8>| CString::new(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "it has a zero byte in it"));
        let all = |texts: Vec<String>| texts.into_iter().map(|word| text(word.into_bytes())).collect::<io::Result<Vec<CString>>>();
        Ok(Birth {
            places: all(places)?,
            arguments: all(words.into_iter().map(str::to_owned).collect())?,
            environment: all(variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect())?,
            folder: text(self.folder.as_os_str().as_bytes().to_owned())?,
            input: File::open("/dev/null")?,
            errors: log.try_clone()?,
            output: log,
        })
    }

    fn not_begun(&self, source: io::Error) -> StageError {
        match self.program {
            Program::Arguments(words) if source.kind() == io::ErrorKind::NotFound => {
                let program = words.first().cloned().unwrap_or_default();
                let help = if program.contains('/') && self.sandbox != Sandbox::Off {
                    format!("a command finds only its declared inputs: add `input \"{}\"`", program.trim_start_matches("./"))
                } else if self.environment.contains_key("PATH") {
                    "it is in no folder of the `PATH` that the stage declares: install it, or name it by its whole path".to_owned()
                } else {
                    YOURS.to_owned()
                };
                StageError::NoProgram { program, help }
            }
            _ => StageError::Io { doing: "start", path: self.name().to_owned(), source },
        }
    }

    fn name(&self) -> &Path {
        match self.program {
            Program::Shell(_) => Path::new("/bin/sh"),
            Program::Arguments(words) => Path::new(words.first().map_or("", String::as_str)),
        }
    }
}

/// Runs a command in a folder, with its output in the log, in a process group of its own that ends with this program.
pub async fn run(launch: Launch<'_>, context: &Context<'_>) -> Result<(), StageError> {
    let failed = |doing: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| StageError::Io { doing, path, source }
    };
    let log = open_log(context.log).map_err(failed("create", context.log))?;
    let begins = log.metadata().map_or(0, |metadata| metadata.len());
    let birth = launch.birth(context, log).map_err(|error| launch.not_begun(error))?;
    let begun = context.guard.start(birth, launch.sandbox, launch.checkpoints, context)?;
    let mut running = begun.map_err(|error| launch.not_begun(error))?;
    let group = running.group();
    context.guard.began(group);
    let status = loop {
        tokio::select! {
            status = running.ended() => break status.map_err(failed("wait for", launch.name()))?,
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                if context.watch.stopped() {
                    end(&mut running).await;
                    // What went to a session of its own works in the folder still.
                    end_orphans(context.folder);
                    end_orphans(context.temporary);
                    context.guard.ended(group);
                    return Err(StageError::Stopped);
                }
            }
        }
    };
    // What the command left running in the background must not write any more.
    let _ = kill_process_group(group, Signal::KILL);
    context.guard.ended(group);
    context.guard.end_left(context.temporary);
    if status.success() {
        return Ok(());
    }
    let tail = tail(context.log, begins);
    let help = advice(&tail, launch, context.log);
    Err(StageError::CommandFailed { how: how_it_ended(status), tail, help })
}

/// Opens a log for appending. Its folder is made with the first log of a run.
fn open_log(path: &Path) -> io::Result<File> {
    let open = || File::options().create(true).append(true).open(path);
    match (open(), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(parent)?;
            open()
        }
        (opened, _) => opened,
    }
}

/// Asks the whole process group to end, and makes it end where it does not.
async fn end(running: &mut Running) {
    let _ = kill_process_group(running.group(), Signal::TERM);
    let ended = tokio::time::timeout(GRACE, running.ended()).await.is_ok();
    // The command may be gone and leave children behind that did not hear.
    let _ = kill_process_group(running.group(), Signal::KILL);
    if !ended {
        let _ = running.ended().await;
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// What to do about a command that failed, by what it said.
fn advice(tail: &str, launch: Launch<'_>, log: &Path) -> String {
    let all = "all it said is in its log";
    if tail.contains("No space left on device") || (tail.is_empty() && is_full(log)) {
        return format!("free some space and run again; what was finished is kept; {all}");
    }
    let says = |words: &[&str]| words.iter().any(|word| tail.contains(word));
    let sandboxed = launch.sandbox != Sandbox::Off;
    if launch.sandbox == Sandbox::Strict && says(&["Permission denied", "PermissionError", "EACCES", "Read-only file system"]) {
        return format!(
            "in the workspace a command writes only its outputs, in the folder that it begins in, and below `$TMPDIR`; its inputs are read-only; {all}"
        );
    }
    if says(&["No module named", "cannot find module", "Cannot find module"]) {
        let own = if sandboxed { "add `input` for a file of yours; " } else { "" };
        return format!("{own}what is installed for you alone is found with `knob \"PATH\"` (a virtual environment) or `knob \"HOME\"` (`pip --user`); {all}");
    }
    if !launch.environment.contains_key("PATH") && says(&["command not found", ": not found"]) {
        return format!("{YOURS}; {all}");
    }
    if sandboxed && says(&["No such file", "cannot open", "ENOENT", "does not exist", "cannot find"]) {
        return format!("a command finds only its declared inputs: add `input` for every file that it needs; {all}");
    }
    all.to_owned()
}

/// Whether the disk that a file is on has no space left, so that not even what was said could be written.
fn is_full(file: &Path) -> bool {
    rustix::fs::statvfs(file).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < 64 << 10)
}

/// The last lines that this attempt wrote to the log, fit to be printed: a line may be endless, and may hold what moves a cursor.
fn tail(log: &Path, begins: u64) -> String {
    const LINES: usize = 15;
    const BYTES: u64 = 16 << 10;
    const LINE: usize = 400;
    let mut bytes = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(begins.max(end.saturating_sub(BYTES))))?;
        file.take(BYTES).read_to_end(&mut bytes)
    });
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(|line| shown(line, LINE)).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// A line without control characters and escape sequences, cut where it is too long.
fn shown(line: &str, most: usize) -> String {
    let mut out = String::new();
    // What a carriage return was to write over is not shown by a terminal either.
    let mut chars = line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().chars().peekable();
    let mut count = 0;
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // `ESC [ ... letter`; of other sequences the one character that follows.
            if chars.next() == Some('[') {
                while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
            }
        } else if c == '\t' || !c.is_control() {
            count += 1;
            if count > most {
                out.push_str(" ...");
                break;
            }
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_without_what_moves_the_cursor() {
        assert_eq!(shown("\u{1b}[31mred\u{1b}[0m\tand \u{7}plain", 80), "red\tand plain");
        assert_eq!(shown("10 %\r50 %\r100 %\r", 80), "100 %");
        assert_eq!(shown(&"x".repeat(500), 4), "xxxx ...");
        assert_eq!(shown("\u{1b}", 4), "");
    }
}
