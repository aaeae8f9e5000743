use std::path::PathBuf;

use clap::Args;

use crate::stage;

use super::super::exit::Exit;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder that the commands work in
    attempts: PathBuf,
}

pub fn guard(arguments: &Arguments) -> Exit {
    stage::guard(std::io::stdin().lock(), &arguments.attempts);
    Exit::Done
}
