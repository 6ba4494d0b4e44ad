//! `gewu list`: what is registered.

use anyhow::Result;

use super::options::print_line;
use crate::recipe::{EMBEDDED, Overrides, Recipe};
use crate::stages::STAGES;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to list; everything without it
    #[arg(value_enum)]
    what: Option<What>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    Recipes,
    Stages,
    Tasks,
    Rules,
    Readers,
    Types,
    Families,
    Optimizers,
    Shapes,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let all = <What as clap::ValueEnum>::value_variants();
    for what in all.iter().filter(|what| arguments.what.is_none_or(|wanted| wanted == **what)) {
        let rows = rows(*what)?;
        if arguments.what.is_none() {
            print_line(&format!("{}:", format!("{what:?}").to_lowercase()))?;
        }
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, about) in rows {
            print_line(format!("  {name:width$}  {about}").trim_end())?;
        }
    }
    Ok(())
}

impl std::fmt::Debug for What {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let name = clap::ValueEnum::to_possible_value(self);
        f.write_str(name.as_ref().map_or("", |name| name.get_name()))
    }
}

fn rows(what: What) -> Result<Vec<(String, String)>> {
    let row = |name: &str, about: &str| (name.to_owned(), about.to_owned());
    Ok(match what {
        What::Recipes => EMBEDDED
            .iter()
            .map(|embedded| {
                let recipe = Recipe::load(embedded.name, &Overrides::default())?;
                Ok((recipe.name, recipe.about))
            })
            .collect::<Result<_>>()?,
        What::Stages => STAGES.iter().map(|stage| row(stage.name, stage.about)).collect(),
        What::Tasks => tasks::tasks()
            .map(|task| {
                let items = format!(
                    "{}, {} items a language: {}",
                    task.dimension().name(),
                    task.count(),
                    task.about()
                );
                row(task.name(), &items)
            })
            .collect(),
        What::Rules => data::rules::RULES.iter().map(|rule| row(rule.name, rule.about)).collect(),
        What::Readers => data::readers::READERS
            .iter()
            .map(|reader| row(reader.name, &format!("{} ({})", reader.about, reader.endings.join(", "))))
            .collect(),
        What::Optimizers => train::METHODS.iter().map(|method| row(method.name, method.about)).collect(),
        What::Shapes => train::plan::Shape::names()
            .into_iter()
            .map(|name| {
                let billions = train::plan::Shape::named(name)?.parameters() as f64 / 1e9;
                Ok(row(name, &format!("{billions:.3} · 10⁹ parameters; for `gewu train --plan --shape`")))
            })
            .collect::<Result<_>>()?,
        What::Types => model::convert::TYPES
            .iter()
            .map(|(format, _)| row(format.name(), "can be written by convert"))
            .collect(),
        What::Families => {
            model::families::FAMILIES.iter().map(|family| row(family.name, family.what)).collect()
        }
    })
}
