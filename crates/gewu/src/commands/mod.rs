//! The verbs, one file each. To add one: a file here, a variant and a line in `run`.

mod ask;
mod bench;
mod chat;
mod convert;
mod data;
mod eval;
mod generate;
mod list;
mod merge;
mod options;
mod pull;
mod run;
mod train;

use anyhow::Result;

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Carry out a recipe: from inputs to a report, in a run folder that survives interruptions
    Run(run::Arguments),
    /// Continue a model's training on documents (--docs) and conversations (--set train.conversations=FILE)
    Train(train::Arguments),
    /// Teach a model to refuse unsafe requests and answer harmless ones; measured before and after
    Align(run::Settings),
    /// Look inside a model: copying heads, the direction that carries refusal
    Probe(run::Settings),
    /// Fetch a model or a corpus into the cache and print where it is
    Pull(pull::Arguments),
    /// Govern documents; explain, delete, report what was governed
    #[command(subcommand)]
    Data(data::Command),
    /// Answer a question from a run's index with citations, or abstain
    Ask(ask::Arguments),
    /// Score a model: the built-in tasks, perplexity, comparison of two scorecards
    #[command(subcommand)]
    Eval(eval::Command),
    /// Continue a prompt
    Generate(generate::Arguments),
    /// Talk to a model in the terminal
    Chat(chat::Arguments),
    /// Merge checkpoints: linear, SLERP, TIES, DARE, task arithmetic
    Merge(merge::Arguments),
    /// Write a checkpoint in another format or number type
    Convert(convert::Arguments),
    /// List what is registered: recipes, stages, tasks, rules, readers, types
    List(list::Arguments),
    /// Measure speed; one JSON object on standard output
    #[command(subcommand)]
    Bench(bench::Command),
}

impl Command {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Command::Run(arguments) => run::run(&arguments),
            Command::Train(arguments) => train::run(&arguments),
            Command::Align(settings) => run::carry_out("align", &settings),
            Command::Probe(settings) => run::carry_out("probe", &settings),
            Command::Pull(arguments) => pull::run(&arguments),
            Command::Data(command) => data::run(&command),
            Command::Ask(arguments) => ask::run(&arguments),
            Command::Eval(command) => eval::run(&command),
            Command::Generate(arguments) => generate::run(&arguments),
            Command::Chat(arguments) => chat::run(&arguments),
            Command::Merge(arguments) => merge::run(&arguments),
            Command::Convert(arguments) => convert::run(&arguments),
            Command::List(arguments) => list::run(&arguments),
            Command::Bench(command) => bench::run(&command),
        }
    }
}
