//! The gewu command: reads the arguments, runs one verb, turns its error into a message and an exit code.

mod commands;
mod failure;
mod home;
mod progress;
mod pull;
mod recipe;
mod report;
mod stages;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "gewu", version, about = "Govern data, ask and evaluate a language model, with evidence.")]
struct Arguments {
    /// Threads that compute; 0 means one per processor. No result depends on it
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    threads: usize,
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    model::memory::keep_freed();
    // Clap itself exits with 2 on bad usage and 0 on --help.
    let arguments = Arguments::parse();
    model::pool::set_threads(arguments.threads);
    match arguments.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", failure::message(&error));
            ExitCode::from(failure::exit_code(&error))
        }
    }
}
