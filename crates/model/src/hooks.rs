//! Named points of the forward pass: read a tensor there, or replace it.
//!
//! | point | shape | what |
//! |---|---|---|
//! | `embed` | `[T, width]` | the embedded tokens |
//! | `blocks.{i}.residual.pre`, `mid`, `post` | `[T, width]` | the residual stream before the block, between its halves, after it |
//! | `blocks.{i}.{mixer}.input` | `[T, width]` | what the mixer reads: the normalized stream |
//! | `blocks.{i}.attention.query`, `key`, `value` | `[T, heads · head_dim]` | after norm and rotation; keys and values have `kv_heads` |
//! | `blocks.{i}.attention.pattern` | `[heads, T, S]` | weights over the positions so far |
//! | `blocks.{i}.attention.mix` | `[T, heads · head_dim]` | weighted values, before the output projection |
//! | `blocks.{i}.delta.query`, `key`, `value` | `[T, heads · dim]` | after convolution, SiLU and scaling to length 1 |
//! | `blocks.{i}.delta.decay`, `strength` | `[T, heads]` | logarithm of the decay (at most 0), and how strongly a token writes |
//! | `blocks.{i}.delta.mix` | `[T, heads · value_dim]` | what was read, normed and gated, before the output projection |
//! | `blocks.{i}.conv.value`, `mix` | `[T, width]` | what is convolved, and what the output projection reads |
//! | `blocks.{i}.{mixer}.output` | `[T, width]` | what the mixer adds to the stream |
//! | `blocks.{i}.mlp.input` | `[T, width]` | what the channel reads: the normalized stream |
//! | `blocks.{i}.mlp.gate`, `up`, `activation` | `[T, hidden]` | the projections (`gate` with SwiGLU only), and `silu(gate) ⊙ up` or `relu(up)²` |
//! | `blocks.{i}.mlp.output` | `[T, width]` | what the channel adds to the stream |
//! | `final_norm` | `[T, width]` | what the head reads |
//! | `logits` | `[T or fewer, vocabulary]` | the scores asked for |
//!
//! `{mixer}` is the name of the block's mixer; `mixer` stands for whichever it is (`blocks.3.mixer.output`). A
//! model whose channel is `none` has no `mlp` points.
//!
//! ```ignore
//! let mut hooks = Hooks::new();
//! hooks.read_heads("blocks.3.attention.pattern", |pattern| patterns.push(pattern));
//! hooks.replace("blocks.0.mlp.output", |output| output.zeros_like());
//! let logits = transformer.forward_with(&tokens, None, Want::All, &mut hooks)?;
//! ```
//! A name that does not exist, a replacement of another shape, or a hook that did not fire is an error.

use burn::tensor::Tensor;

use crate::config::ChannelKind;
use crate::mixers::MixerKind;
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
    Decay,
    Strength,
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

/// The points of a block with that mixer, in the order the forward pass reaches them.
fn inside(config: &Config, mixer: MixerKind) -> Vec<(Site, String)> {
    let own = |part: &str| format!("{}.{part}", mixer.name());
    let mut sites = vec![(Site::Pre, "residual.pre".to_string()), (Site::MixerInput, own("input"))];
    sites.extend(mixer.points().iter().map(|(site, part)| (*site, own(part))));
    sites.extend([(Site::MixerOutput, own("output")), (Site::Mid, "residual.mid".into())]);
    let channel: &[(Site, &str)] = match config.channel.kind {
        ChannelKind::Swiglu => &[(Site::Gate, "gate"), (Site::Up, "up"), (Site::Activation, "activation")],
        ChannelKind::Relu2 => &[(Site::Up, "up"), (Site::Activation, "activation")],
        ChannelKind::None => &[],
    };
    if config.channel.kind != ChannelKind::None {
        sites.push((Site::ChannelInput, "mlp.input".into()));
        sites.extend(channel.iter().map(|(site, part)| (*site, format!("mlp.{part}"))));
        sites.push((Site::ChannelOutput, "mlp.output".into()));
    }
    sites.push((Site::Post, "residual.post".into()));
    sites
}

/// Every point of a model, in the order the forward pass reaches them.
pub fn points(config: &Config) -> Vec<String> {
    let mut names = vec!["embed".to_string()];
    for (block, mixer) in config.layers.iter().enumerate() {
        names.extend(inside(config, mixer).into_iter().map(|(_, name)| format!("blocks.{block}.{name}")));
    }
    names.extend(["final_norm".to_string(), "logits".to_string()]);
    names
}

fn find(name: &str, config: &Config) -> Option<(usize, Site)> {
    let Some(rest) = name.strip_prefix("blocks.") else {
        let outside = [("embed", Site::Embed), ("final_norm", Site::FinalNorm), ("logits", Site::Logits)];
        return outside.into_iter().find(|(known, _)| *known == name).map(|(_, site)| (0, site));
    };
    let (index, rest) = rest.split_once('.')?;
    let block: usize = index.parse().ok().filter(|block: &usize| block.to_string() == index)?;
    let mixer = config.layers.get(block)?;
    let name = match rest.strip_prefix("mixer.") {
        Some(part) => format!("{}.{part}", mixer.name()),
        None => rest.to_string(),
    };
    inside(config, mixer).into_iter().find(|(_, known)| *known == name).map(|(site, _)| (block, site))
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
    pub(crate) fn resolve(&mut self, config: &Config) -> Result<(), Error> {
        for hook in &mut self.hooks {
            let Some(point) = find(&hook.name, config) else {
                return Err(Error::Request(format!(
                    "hook: the model has no point `{}` ({} blocks; the list is `hooks::points`)",
                    hook.name,
                    config.layers.len()
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
