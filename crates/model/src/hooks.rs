//! Named points of the forward pass: read a tensor there, or replace it.
//!
//! | point | shape | what |
//! |---|---|---|
//! | `embed` | `[T, width]` | the embedded tokens |
//! | `blocks.{i}.residual.pre`, `mid`, `post` | `[T, width]` | the residual stream before the block, between its halves, after it |
//! | `blocks.{i}.attention.input` | `[T, width]` | what the mixer reads: the normalized stream |
//! | `blocks.{i}.attention.query`, `key`, `value` | `[T, heads · head_dim]` | after norm and rotation; keys and values have `kv_heads` |
//! | `blocks.{i}.attention.pattern` | `[heads, T, S]` | weights over the positions so far |
//! | `blocks.{i}.attention.mix` | `[T, heads · head_dim]` | weighted values, before the output projection |
//! | `blocks.{i}.attention.output` | `[T, width]` | what the mixer adds to the stream |
//! | `blocks.{i}.mlp.input` | `[T, width]` | what the channel reads: the normalized stream |
//! | `blocks.{i}.mlp.gate`, `up`, `activation` | `[T, hidden]` | the two projections, and `silu(gate) ⊙ up` |
//! | `blocks.{i}.mlp.output` | `[T, width]` | what the channel adds to the stream |
//! | `final_norm` | `[T, width]` | what the head reads |
//! | `logits` | `[T or fewer, vocabulary]` | the scores asked for |
//!
//! ```ignore
//! let mut hooks = Hooks::new();
//! hooks.read_heads("blocks.3.attention.pattern", |pattern| patterns.push(pattern));
//! hooks.replace("blocks.0.mlp.output", |output| output.zeros_like());
//! let logits = transformer.forward_with(&tokens, None, Want::All, &mut hooks)?;
//! ```
//! A name that does not exist, a replacement of another shape, or a hook that did not fire is an error.

use burn::tensor::Tensor;

use crate::{Config, Error};

/// A place inside a block or around the blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    Embed,
    Pre,
    Mid,
    Post,
    MixerInput,
    Query,
    Key,
    Value,
    Pattern,
    Mix,
    MixerOutput,
    ChannelInput,
    Gate,
    Up,
    Activation,
    ChannelOutput,
    FinalNorm,
    Logits,
}

/// Every site: its name (inside `blocks.{i}.` if the flag is set).
const SITES: [(Site, bool, &str); 18] = [
    (Site::Embed, false, "embed"),
    (Site::Pre, true, "residual.pre"),
    (Site::MixerInput, true, "attention.input"),
    (Site::Query, true, "attention.query"),
    (Site::Key, true, "attention.key"),
    (Site::Value, true, "attention.value"),
    (Site::Pattern, true, "attention.pattern"),
    (Site::Mix, true, "attention.mix"),
    (Site::MixerOutput, true, "attention.output"),
    (Site::Mid, true, "residual.mid"),
    (Site::ChannelInput, true, "mlp.input"),
    (Site::Gate, true, "mlp.gate"),
    (Site::Up, true, "mlp.up"),
    (Site::Activation, true, "mlp.activation"),
    (Site::ChannelOutput, true, "mlp.output"),
    (Site::Post, true, "residual.post"),
    (Site::FinalNorm, false, "final_norm"),
    (Site::Logits, false, "logits"),
];

/// Every point of a model, in the order the forward pass reaches them.
pub fn points(config: &Config) -> Vec<String> {
    let outside = |sites: &[(Site, bool, &str)]| sites.iter().map(|(.., name)| name.to_string()).collect();
    let (before, rest) = SITES.split_at(1);
    let (inside, after) = rest.split_at(rest.len() - 2);
    let mut names: Vec<String> = outside(before);
    for block in 0..config.layers.len() {
        names.extend(inside.iter().map(|(.., name)| format!("blocks.{block}.{name}")));
    }
    names.extend(outside(after));
    names
}

fn find(name: &str, blocks: usize) -> Option<(usize, Site)> {
    let (block, inside, rest) = match name.strip_prefix("blocks.") {
        Some(rest) => {
            let (index, rest) = rest.split_once('.')?;
            (index.parse().ok().filter(|&i: &usize| i < blocks && i.to_string() == index)?, true, rest)
        }
        None => (0, false, name),
    };
    SITES.iter().find(|(_, i, n)| *i == inside && *n == rest).map(|&(site, ..)| (block, site))
}

type OnMatrix<'a> = Box<dyn FnMut(Tensor<2>) -> Tensor<2> + 'a>;
type OnHeads<'a> = Box<dyn FnMut(Tensor<3>) -> Tensor<3> + 'a>;

enum Action<'a> {
    Matrix(OnMatrix<'a>),
    Heads(OnHeads<'a>),
}

struct Hook<'a> {
    name: String,
    point: Option<(usize, Site)>,
    action: Action<'a>,
    fired: bool,
}

/// The listeners of one forward pass, in the order they were added.
#[derive(Default)]
pub struct Hooks<'a> {
    hooks: Vec<Hook<'a>>,
}

impl<'a> Hooks<'a> {
    /// Nobody listens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands the tensor at a point to `listener` (every point but `pattern`).
    pub fn read(&mut self, name: &str, mut listener: impl FnMut(Tensor<2>) + 'a) {
        self.replace(name, move |tensor| {
            listener(tensor.clone());
            tensor
        });
    }

    /// Puts what `change` returns in place of the tensor at a point (every point but `pattern`).
    pub fn replace(&mut self, name: &str, change: impl FnMut(Tensor<2>) -> Tensor<2> + 'a) {
        self.add(name, Action::Matrix(Box::new(change)));
    }

    /// As [`Hooks::read`], for a `pattern` point.
    pub fn read_heads(&mut self, name: &str, mut listener: impl FnMut(Tensor<3>) + 'a) {
        self.replace_heads(name, move |tensor| {
            listener(tensor.clone());
            tensor
        });
    }

    /// As [`Hooks::replace`], for a `pattern` point.
    pub fn replace_heads(&mut self, name: &str, change: impl FnMut(Tensor<3>) -> Tensor<3> + 'a) {
        self.add(name, Action::Heads(Box::new(change)));
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }

    fn add(&mut self, name: &str, action: Action<'a>) {
        self.hooks.push(Hook { name: name.to_string(), point: None, action, fired: false });
    }

    /// Finds the point of every name; called at the start of a forward pass.
    pub(crate) fn resolve(&mut self, blocks: usize) -> Result<(), Error> {
        for hook in &mut self.hooks {
            let Some(point) = find(&hook.name, blocks) else {
                return Err(Error::Request(format!(
                    "hook: the model has no point `{}` ({blocks} blocks; the list is `hooks::points`)",
                    hook.name
                )));
            };
            if matches!(hook.action, Action::Heads(_)) != (point.1 == Site::Pattern) {
                return Err(Error::Request(format!(
                    "hook: `{}` needs {}; only a pattern has one matrix per head",
                    hook.name,
                    if point.1 == Site::Pattern { "read_heads or replace_heads" } else { "read or replace" }
                )));
            }
            (hook.point, hook.fired) = (Some(point), false);
        }
        Ok(())
    }

    /// Whether somebody listens at a point.
    pub(crate) fn listens(&self, block: usize, site: Site) -> bool {
        self.hooks.iter().any(|hook| hook.point == Some((block, site)))
    }

    /// Hands a matrix to the listeners of a point and returns what continues.
    pub(crate) fn matrix(&mut self, block: usize, site: Site, mut x: Tensor<2>) -> Result<Tensor<2>, Error> {
        for hook in self.hooks.iter_mut().filter(|hook| hook.point == Some((block, site))) {
            if let Action::Matrix(change) = &mut hook.action {
                let shape = x.dims();
                x = change(x);
                same_shape(&hook.name, &shape, &x.dims())?;
                hook.fired = true;
            }
        }
        Ok(x)
    }

    /// As [`Hooks::matrix`], for one matrix per head.
    pub(crate) fn heads(&mut self, block: usize, site: Site, mut x: Tensor<3>) -> Result<Tensor<3>, Error> {
        for hook in self.hooks.iter_mut().filter(|hook| hook.point == Some((block, site))) {
            if let Action::Heads(change) = &mut hook.action {
                let shape = x.dims();
                x = change(x);
                same_shape(&hook.name, &shape, &x.dims())?;
                hook.fired = true;
            }
        }
        Ok(x)
    }

    /// Checks at the end of a forward pass that every hook fired.
    pub(crate) fn finish(&self) -> Result<(), Error> {
        match self.hooks.iter().find(|hook| !hook.fired) {
            Some(hook) => Err(Error::Request(format!(
                "hook: `{}` did not fire; this forward pass does not reach it",
                hook.name
            ))),
            None => Ok(()),
        }
    }
}

fn same_shape(name: &str, before: &[usize], after: &[usize]) -> Result<(), Error> {
    if before == after {
        return Ok(());
    }
    Err(Error::Request(format!("hook: `{name}` has shape {before:?}, the replacement has {after:?}")))
}
