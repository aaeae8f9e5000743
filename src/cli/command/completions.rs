use clap::{Args, ValueEnum};
use clap_complete::env::Shells;

use super::super::exit::Exit;
use super::super::speak::{complain, result};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

impl Shell {
    const fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Elvish => "elvish",
            Self::Fish => "fish",
            Self::Powershell => "powershell",
            Self::Zsh => "zsh",
        }
    }
}

/// The variable by which a shell asks the program what it would offer.
pub const ASKED: &str = "COMPLETE";

/// Prints what makes a shell ask this program for completions, with the stages that are there at that moment.
pub fn completions(arguments: &Arguments) -> Exit {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let written = shells.completer(arguments.shell.name()).map(|shell| shell.write_registration(ASKED, "retune", "retune", "retune", &mut script));
    match written {
        Some(Ok(())) => {
            result(format_args!("{}", String::from_utf8_lossy(&script)));
            Exit::Done
        }
        Some(Err(error)) => {
            complain!("the script for {} cannot be written: {error}", arguments.shell.name());
            Exit::Failed
        }
        None => {
            complain!("there are no completions for {}", arguments.shell.name());
            Exit::Failed
        }
    }
}
