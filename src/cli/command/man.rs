use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use crate::engine::EngineError;
use crate::store::write_atomically;

use super::super::exit::Exit;
use super::super::problem::Problem;
use super::super::speak::{result, say};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Prints the manual page of the program, or writes those of all commands.
pub fn man(arguments: &Arguments, program: Command) -> Result<Exit, Problem> {
    let Some(folder) = &arguments.to else {
        let whole = page(program);
        result(format_args!("{whole}"));
        return Ok(Exit::Done);
    };
    std::fs::create_dir_all(folder).map_err(|error| EngineError::Workspace { path: folder.clone(), reason: error.to_string() })?;
    let pages = pages(program);
    for (name, text) in &pages {
        write_atomically(&folder.join(name), text.as_bytes())?;
    }
    say!("{} pages are in {}: look at one by `man -l {}`", pages.len(), folder.display(), folder.join("retune.1").display());
    Ok(Exit::Done)
}

/// The manual pages by the names of their files: of the program, and of each command that is not hidden.
pub fn pages(mut program: Command) -> Vec<(String, String)> {
    program.build();
    let commands = program.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    let of_commands: Vec<(String, String)> = commands.map(|command| (format!("retune-{}.1", command.get_name()), page(command.clone()))).collect();
    [("retune.1".to_owned(), page(program))].into_iter().chain(of_commands).collect()
}

fn page(command: Command) -> String {
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = Man::new(command).render(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}
