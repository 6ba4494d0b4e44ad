//! Merging checkpoints that share an ancestor, tensor by tensor, into one that any tool opens.
//!
//! [`METHODS`] is the table of methods; [`merge`] checks that the models fit each other, and only then writes. GGUF
//! files and safetensors folders may be mixed, as input and as output. One tensor of every model is in memory at a
//! time. To add a method: a line in [`METHODS`] and an arm in `methods::merge_tensor`.

mod account;
mod methods;
mod preflight;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use model::weights::Tensor;
use model::{Checkpoint, convert};
use serde::{Deserialize, Serialize};

pub use account::{Account, Compared};

use crate::Error;
use account::Accountant;

/// How models become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Weighted mean or sum of weights (Wortsman et al. 2022, arXiv:2203.05482).
    Linear,
    /// Along the arc between two models (Shoemake 1985), every tensor as one vector.
    Slerp,
    /// Base plus weighted differences from it (Ilharco et al. 2022, arXiv:2212.04089).
    TaskArithmetic,
    /// Trim, elect a sign, merge what agrees (Yadav et al. 2023, arXiv:2306.01708).
    Ties,
    /// Drop entries at random, rescale the rest, add them (Yu et al. 2023, arXiv:2311.03099).
    DareLinear,
    /// As [`DareLinear`](Self::DareLinear), then elect a sign as TIES does.
    DareTies,
}

/// A line of [`METHODS`].
#[derive(Debug)]
pub struct MethodInfo {
    /// The method.
    pub method: Method,
    /// Its name in requests.
    pub name: &'static str,
    /// One sentence for lists.
    pub about: &'static str,
    /// Whether it needs the common ancestor; one that doesn't takes none.
    pub needs_base: bool,
    /// Share of entries kept if the request does not say; `None`: the method has no such parameter.
    pub density: Option<f64>,
    /// Position on the way from base to model if the request does not say; `None`: no such parameter.
    pub t: Option<f64>,
    /// Whether weights are divided by their sum if the request does not say; `None`: no such parameter.
    pub normalize: Option<bool>,
    /// Whether the differences are scaled by `lambda`.
    pub lambda: bool,
    /// Whether it draws random numbers.
    pub random: bool,
}

/// Every method. Defaults are mergekit's, except the densities: TIES' is its paper's.
pub static METHODS: &[MethodInfo] = &[
    MethodInfo {
        method: Method::Linear,
        name: "linear",
        about: "weighted mean of the models (or sum, without normalize)",
        needs_base: false,
        density: None,
        t: None,
        normalize: Some(true),
        lambda: false,
        random: false,
    },
    MethodInfo {
        method: Method::Slerp,
        name: "slerp",
        about: "along the arc from the base (t = 0) to one model (t = 1)",
        needs_base: true,
        density: None,
        t: Some(0.5),
        normalize: None,
        lambda: false,
        random: false,
    },
    MethodInfo {
        method: Method::TaskArithmetic,
        name: "task_arithmetic",
        about: "base plus the weighted differences of the models from it",
        needs_base: true,
        density: None,
        t: None,
        normalize: Some(false),
        lambda: true,
        random: false,
    },
    MethodInfo {
        method: Method::Ties,
        name: "ties",
        about: "keeps each difference's largest entries and merges those of the elected sign",
        needs_base: true,
        density: Some(0.2),
        t: None,
        normalize: Some(true),
        lambda: true,
        random: false,
    },
    MethodInfo {
        method: Method::DareLinear,
        name: "dare_linear",
        about: "keeps entries of the differences at random, rescales and adds them",
        needs_base: true,
        density: Some(0.5),
        t: None,
        normalize: Some(false),
        lambda: true,
        random: true,
    },
    MethodInfo {
        method: Method::DareTies,
        name: "dare_ties",
        about: "keeps entries of the differences at random and merges those of the elected sign",
        needs_base: true,
        density: Some(0.5),
        t: None,
        normalize: Some(false),
        lambda: true,
        random: true,
    },
];

impl Method {
    /// Its line in the table.
    pub fn info(self) -> &'static MethodInfo {
        METHODS.iter().find(|info| info.method == self).unwrap_or(&METHODS[0])
    }

    /// The method of that name. Errors with the names there are.
    pub fn named(name: &str) -> Result<Self, Error> {
        METHODS.iter().find(|info| info.name == name).map(|info| info.method).ok_or_else(|| {
            let known: Vec<_> = METHODS.iter().map(|info| info.name).collect();
            Error::Request(format!("no merge method is called `{name}`; choose one of {}", known.join(", ")))
        })
    }
}

/// What to merge and how. What is `None` takes the method's default from [`METHODS`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeRequest {
    /// The method.
    pub method: Method,
    /// The common ancestor, for the methods that need one.
    #[serde(default)]
    pub base: Option<PathBuf>,
    /// The models (GGUF file or folder) and their weights. Tokenizer and chat template come from the first. SLERP
    /// ignores the weight.
    pub models: Vec<(PathBuf, f64)>,
    /// Share of entries kept, in (0, 1]: TIES and DARE.
    #[serde(default)]
    pub density: Option<f64>,
    /// Position on the arc, in [0, 1]: SLERP.
    #[serde(default)]
    pub t: Option<f64>,
    /// Scale of the merged difference; 1 if absent.
    #[serde(default)]
    pub lambda: Option<f64>,
    /// Divide by the sum of the weights (with an elected sign: of those that agree, entry by entry).
    #[serde(default)]
    pub normalize: Option<bool>,
    /// Seed of DARE's choice.
    #[serde(default)]
    pub seed: u64,
    /// Number format of the matrices: F32, F16, BF16, and for GGUF also Q8_0, Q4_0.
    pub format: String,
    /// A name that ends in `.gguf`, or a new folder.
    pub output: PathBuf,
}

/// The values a merge used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Share of entries kept.
    pub density: Option<f64>,
    /// Position on the arc.
    pub t: Option<f64>,
    /// Scale of the merged difference.
    pub lambda: Option<f64>,
    /// Whether weights were divided by their sum.
    pub normalize: Option<bool>,
    /// Seed, if random numbers were drawn.
    pub seed: Option<u64>,
}

/// What a merge did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeSummary {
    /// The method.
    pub method: Method,
    /// The values it used, defaults filled in.
    pub parameters: Parameters,
    /// The common ancestor.
    pub base: Option<PathBuf>,
    /// The models and their weights.
    pub models: Vec<(PathBuf, f64)>,
    /// Where the result is.
    pub output: PathBuf,
    /// Number format of its matrices.
    pub format: String,
    /// Tensors written.
    pub tensors: usize,
    /// Bytes of their data.
    pub bytes: u64,
    /// How the models relate to each other.
    pub account: Account,
}

/// How far a merge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MergeProgress<'n> {
    /// Our name of the tensor just merged.
    pub tensor: &'n str,
    /// Tensors merged, with it.
    pub done: usize,
    /// Tensors in all.
    pub of: usize,
}

/// Merges checkpoints and writes the result; `progress` hears of every tensor. The output appears under its name only
/// when complete. Query and key rows are brought into one order first, as GGUF and safetensors may pair rotary
/// features differently.
///
/// The arithmetic is f64 on f32 inputs (differences from the base in f32, as mergekit takes them), rounded once.
///
/// # Errors
/// Before anything is written: a parameter the method does not take or out of its range, a base missing or
/// superfluous, models of different families, configurations, vocabularies, tokenizers, tied embeddings or shapes, an
/// output that exists. While writing (and nothing is left behind): a number that is not finite.
pub fn merge(
    request: &MergeRequest,
    progress: &mut dyn FnMut(&MergeProgress<'_>),
) -> Result<MergeSummary, Error> {
    let info = request.method.info();
    let parameters = preflight::parameters(request)?;
    let format = convert::type_named(&request.format)?;
    preflight::output(request)?;
    let models: Vec<Checkpoint> =
        request.models.iter().map(|(path, _)| Checkpoint::open(path)).collect::<Result<_, _>>()?;
    let base = request.base.as_deref().map(Checkpoint::open).transpose()?;
    let like = &models[0];
    for other in models.iter().skip(1).chain(&base) {
        preflight::fits(like, other)?;
    }

    let weights: Vec<f64> = request.models.iter().map(|(_, weight)| *weight).collect();
    let style = like.config().attention.rope.style;
    let names = like.tensor_names();
    let state = RefCell::new((Accountant::new(models.len(), base.is_some()), progress, 0));
    let replace = |name: &str| {
        let read = |checkpoint: &Checkpoint| -> Result<Vec<f32>, model::Error> {
            let values = checkpoint.tensor_in(name, style)?.to_f32()?;
            match values.iter().position(|value| !value.is_finite()) {
                Some(at) => Err(not_finite(name, at, checkpoint.path())),
                None => Ok(values),
            }
        };
        let base = base.as_ref().map(read).transpose()?;
        let mut inputs = models.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if let Some(base) = &base {
            for input in &mut inputs {
                input.iter_mut().zip(base).for_each(|(value, base)| *value -= base);
            }
        }
        let (accountant, progress, done) = &mut *state.borrow_mut();
        accountant.add(&inputs);
        let merged = methods::merge_tensor(info, &parameters, name, base.as_deref(), &weights, &mut inputs);
        if let Some(at) = merged.iter().position(|value| !value.is_finite()) {
            return Err(not_finite(name, at, &request.output));
        }
        *done += 1;
        (*progress)(&MergeProgress { tensor: name, done: *done, of: names.len() });
        Ok(Some(Tensor::from_f32(like.shape(name)?, &merged)))
    };
    let written = convert::write(like, &replace, &request.output, format)?;
    let account = state.into_inner().0.finish();
    Ok(MergeSummary {
        method: request.method,
        parameters,
        base: request.base.clone(),
        models: request.models.clone(),
        output: request.output.clone(),
        format: format.name().to_string(),
        tensors: written.tensors,
        bytes: written.bytes,
        account,
    })
}

fn not_finite(name: &str, at: usize, path: &Path) -> model::Error {
    model::Error::Request(format!(
        "tensor `{name}` of `{}` is not finite at element {at}; repair or leave out that model",
        path.display()
    ))
}
