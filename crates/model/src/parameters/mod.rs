//! The owner of a model's weights: the one place where they change.
//!
//! A [`Transformer`] is a view of them, rebuilt for every step: [`Parameters::track`] for training,
//! [`Parameters::freeze`] for evaluation. Views share memory with the parameters; an update is in place once the
//! views are dropped, and never reaches a view that exists.

mod by_block;
mod source;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Gradients, Tensor};
use kernels::quant::Format;
use ops::{Activation, Weight};

use crate::convert::{self, About, Conversion};
use crate::tokenizer::Tokenizer;
use crate::weights::Tensor as Stored;
use crate::weights::safetensors::{self, SafeTensors};
use crate::{Checkpoint, Config, Error, Transformer, families};
use source::{Collector, Origin, View};

/// What of a checkpoint is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Train {
    /// Nothing: the weights stay as stored.
    Nothing,
    /// Every weight, in f32.
    Everything,
    /// A low-rank change beside the stored weights, which stay frozen.
    LowRank(LowRank),
}

/// Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): `y = W x + alpha / rank · B (A x)`, with A drawn at
/// random and B zero, so that training begins at the stored model.
#[derive(Clone, Debug, PartialEq)]
pub struct LowRank {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// Strength of the change, times `rank` (or its root).
    pub alpha: f32,
    /// The change is scaled by `alpha / √rank` instead of `alpha / rank`, so that it does not shrink with the rank
    /// (rsLoRA, Kalajdzievski 2023, arXiv:2312.03732).
    pub rank_stabilized: bool,
    /// Which matrices of every block: `query`, `key`, `value`, `output`, `gate`, `up`, `down`.
    pub targets: Vec<String>,
    /// Only blocks from this one on are changed; backward ends there.
    pub first_block: usize,
}

impl Default for LowRank {
    /// Rank 16, alpha 32, all seven matrices of all blocks.
    fn default() -> Self {
        let targets = TARGETS.iter().map(|name| name.to_string()).collect();
        Self { rank: 16, alpha: 32.0, rank_stabilized: false, targets, first_block: 0 }
    }
}

/// The matrices that can take a low-rank change.
const TARGETS: [&str; 7] = ["query", "key", "value", "output", "gate", "up", "down"];

impl LowRank {
    fn check(&self, blocks: usize) -> Result<(), Error> {
        if self.first_block >= blocks {
            return Err(Error::Request(format!(
                "low rank: no block from {} on; there are {blocks}",
                self.first_block
            )));
        }
        if self.rank == 0 || !self.alpha.is_finite() || self.targets.is_empty() {
            return Err(Error::Request(format!(
                "low rank: rank {}, alpha {}, targets {:?}; give a rank of at least 1, a finite alpha and a target",
                self.rank, self.alpha, self.targets
            )));
        }
        match self.targets.iter().find(|target| !TARGETS.contains(&target.as_str())) {
            Some(target) => Err(Error::Request(format!(
                "low rank: no matrix is called `{target}`; known: {}",
                TARGETS.join(", ")
            ))),
            None => Ok(()),
        }
    }

    /// Whether it changes the matrix of that name.
    fn changes(&self, name: &str) -> bool {
        let part = name.rsplit('.').next().unwrap_or_default();
        let block =
            name.strip_prefix("blocks.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        block.is_some_and(|block| block >= self.first_block)
            && self.targets.iter().any(|target| target == part)
    }

    /// What the product B·A is multiplied by.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f32;
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }
}

/// A weight that is not trained.
#[derive(Clone)]
enum Frozen {
    Matrix(Weight),
    Vector(Box<Tensor<1>>),
}

/// A weight that is trained.
struct Trained {
    name: String,
    shape: Vec<usize>,
    value: Value,
}

/// An untracked f32 tensor; views share it.
enum Value {
    Matrix(Tensor<2>),
    Vector(Tensor<1>),
}

impl Value {
    fn new(values: Vec<f32>, shape: &[usize]) -> Self {
        match *shape {
            [rows, columns] => Self::Matrix(ops::tensor_from(values, [rows, columns])),
            _ => {
                let length = values.len();
                Self::Vector(ops::tensor_from(values, [length]))
            }
        }
    }

    fn values(&self) -> Vec<f32> {
        match self {
            Self::Matrix(tensor) => ops::values_of(tensor.clone()),
            Self::Vector(tensor) => ops::values_of(tensor.clone()),
        }
    }

    /// Its values: its own memory if nobody shares it.
    fn into_values(self) -> Vec<f32> {
        match self {
            Self::Matrix(tensor) => ops::values_of(tensor),
            Self::Vector(tensor) => ops::values_of(tensor),
        }
    }

    /// A tensor of the same values whose gradient is kept.
    fn leaf(&self) -> Self {
        match self {
            Self::Matrix(tensor) => Self::Matrix(tensor.clone().autodiff().require_grad()),
            Self::Vector(tensor) => Self::Vector(tensor.clone().autodiff().require_grad()),
        }
    }

    fn share(&self) -> Self {
        match self {
            Self::Matrix(tensor) => Self::Matrix(tensor.clone()),
            Self::Vector(tensor) => Self::Vector(tensor.clone()),
        }
    }

    fn gradient(&self, gradients: &mut Gradients) -> Option<Vec<f32>> {
        match self {
            Self::Matrix(tensor) => tensor.grad_remove(gradients).map(ops::values_of),
            Self::Vector(tensor) => tensor.grad_remove(gradients).map(ops::values_of),
        }
    }
}

/// All weights of a model, trained and frozen.
pub struct Parameters {
    config: Config,
    /// Names and shapes of the model's own weights, in the order of the forward pass.
    names: Vec<(String, Vec<usize>)>,
    frozen: BTreeMap<String, Frozen>,
    trained: Vec<Trained>,
    /// Places in `trained`.
    places: BTreeMap<String, usize>,
    low_rank: Option<LowRank>,
}

impl Parameters {
    /// The weights of a checkpoint; `seed` draws the first values of low-rank changes.
    ///
    /// # Errors
    /// The checkpoint lacks a tensor, or `train` asks for something impossible.
    pub fn open(checkpoint: &Checkpoint, train: &Train, seed: u64) -> Result<Self, Error> {
        if let Train::LowRank(low_rank) = train {
            low_rank.check(checkpoint.config().layers.len())?;
        }
        Self::collect(checkpoint.config(), Origin::Checkpoint(checkpoint, train.clone()), seed)
    }

    /// A new model, everything trained; every mixer and channel states its own first values.
    ///
    /// # Errors
    /// The configuration is not valid.
    pub fn random(config: &Config, seed: u64) -> Result<Self, Error> {
        Self::collect(config, Origin::Random, seed)
    }

    fn collect(config: &Config, origin: Origin<'_>, seed: u64) -> Result<Self, Error> {
        let low_rank = match &origin {
            Origin::Checkpoint(_, Train::LowRank(low_rank)) => Some(low_rank.clone()),
            _ => None,
        };
        let mut collector = Collector::new(origin, seed);
        // A model asks for every weight it has, by name and shape: there is no second list to keep in step.
        Transformer::load(config, &mut collector, Activation::F32)?;
        let Collector { names, frozen, trained, .. } = collector;
        let places = trained.iter().enumerate().map(|(index, trained)| (trained.name.clone(), index));
        let places = places.collect();
        Ok(Self { config: config.clone(), names, frozen, trained, places, low_rank })
    }

    /// Everything about the model except its weights.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Names and shapes of what is trained, in an order that never changes.
    pub fn trainable(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.trained.iter().map(|trained| (trained.name.as_str(), trained.shape.as_slice()))
    }

    /// Numbers trained.
    pub fn trainable_count(&self) -> usize {
        self.trained.iter().map(|trained| trained.shape.iter().product::<usize>()).sum()
    }

    /// Numbers of the model itself, without low-rank changes.
    pub fn count(&self) -> usize {
        self.names.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// The values of a trained weight, row-major.
    pub fn values(&self, name: &str) -> Option<Vec<f32>> {
        Some(self.trained[*self.places.get(name)?].value.values())
    }

    /// Changes a trained weight: in place if no view exists, otherwise in a copy that the next view sees.
    ///
    /// # Errors
    /// No trained weight has that name.
    pub fn update(&mut self, name: &str, change: impl FnOnce(&mut [f32])) -> Result<(), Error> {
        let place = self.places.get(name).copied().ok_or_else(|| {
            Error::Request(format!("`{name}` is not trained; the names are those of `trainable`"))
        })?;
        let trained = &mut self.trained[place];
        let empty = Value::new(Vec::new(), &[0]);
        let mut values = std::mem::replace(&mut trained.value, empty).into_values();
        change(&mut values);
        trained.value = Value::new(values, &trained.shape);
        Ok(())
    }

    /// A view whose trained weights are tracked.
    ///
    /// # Errors
    /// None in practice: the weights were checked when they were collected.
    pub fn track(&self, activation: Activation) -> Result<Tracked, Error> {
        let leaves: Vec<Value> = self.trained.iter().map(|trained| trained.value.leaf()).collect();
        let transformer = Transformer::load(&self.config, &mut View::new(self, &leaves), activation)?;
        Ok(Tracked { transformer, leaves })
    }

    /// A view for evaluation: nothing is tracked, low-rank changes stay beside the packed weights.
    ///
    /// # Errors
    /// None in practice: the weights were checked when they were collected.
    pub fn freeze(&self, activation: Activation) -> Result<Transformer, Error> {
        let values: Vec<Value> = self.trained.iter().map(|trained| trained.value.share()).collect();
        Transformer::load(&self.config, &mut View::new(self, &values), activation)
    }

    /// Writes what is trained as one safetensors file, in f32.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let plan: Vec<_> =
            self.trainable().map(|(name, shape)| (name.to_string(), Format::F32, shape.to_vec())).collect();
        safetensors::write(path, &plan, |index| {
            let Trained { shape, value, .. } = &self.trained[index];
            Ok(Stored::from_f32(shape.clone(), &value.values()))
        })
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// The file holds other names or shapes; nothing is changed then.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        let file = SafeTensors::file(path)?;
        let invalid =
            |reason: String| Error::Format { path: path.to_path_buf(), format: "safetensors", reason };
        if let Some(name) = file.tensors.keys().find(|name| !self.places.contains_key(*name)) {
            return Err(invalid(format!("it has `{name}`, which this model does not train")));
        }
        let read = |trained: &Trained| {
            let tensor = file.tensor(&trained.name)?;
            if tensor.shape != trained.shape {
                return Err(invalid(format!(
                    "`{}` has shape {:?} but the model's is {:?}",
                    trained.name, tensor.shape, trained.shape
                )));
            }
            Ok(Value::new(tensor.to_f32()?, &tensor.shape))
        };
        let values = self.trained.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        for (trained, value) in self.trained.iter_mut().zip(values) {
            trained.value = value;
        }
        Ok(())
    }

    /// Writes the whole model, low-rank changes merged into the matrices they belong to, as
    /// [`convert`](crate::convert::convert) would write `like`, the checkpoint these parameters were opened from:
    /// a GGUF file or a folder, in `format`. Frozen tensors already in that format are copied bit for bit.
    ///
    /// # Errors
    /// `like` is another model, or cannot be written so.
    pub fn write(&self, like: &Checkpoint, output: &Path, format: Format) -> Result<Conversion, Error> {
        if like.config() != &self.config {
            return Err(Error::Request(format!(
                "`{}` is not the checkpoint these parameters were opened from: the configurations differ",
                like.path().display()
            )));
        }
        convert::write(like, &|name| self.merged(name, &|| like.tensor(name)?.to_f32()), output, format)
    }

    /// Writes a model of an own architecture as a folder that [`Checkpoint::open`] reads: `config.json` with
    /// `"model_type": "gewu"` and the configuration, the weights, the tokenizer, the chat template if there is one.
    ///
    /// # Errors
    /// The weights are frozen ones of a checkpoint (use [`write`](Self::write)), the format is none of F32, F16
    /// and BF16, or `output` exists.
    pub fn write_new(
        &self,
        tokenizer: &Tokenizer,
        template: Option<&str>,
        output: &Path,
        format: Format,
    ) -> Result<Conversion, Error> {
        let template = template.map(str::to_string);
        let about = About { family: &families::OWN, config: &self.config, tokenizer, template };
        convert::write_new(&about, &self.names, output, format, |name| {
            let values = self.merged(name, &|| Ok(Vec::new()))?;
            values.ok_or_else(|| {
                Error::Request(format!(
                    "`{name}` belongs to a checkpoint; write the model like that checkpoint"
                ))
            })
        })
    }

    /// What `name` has become, if it is trained or has a low-rank change.
    fn merged(
        &self,
        name: &str,
        base: &dyn Fn() -> Result<Vec<f32>, Error>,
    ) -> Result<Option<Stored>, Error> {
        if let Some(&place) = self.places.get(name) {
            let Trained { shape, value, .. } = &self.trained[place];
            return Ok(Some(Stored::from_f32(shape.clone(), &value.values())));
        }
        let [a, b] = source::factors(name).map(|factor| self.places.get(&factor));
        let (Some(&a), Some(&b), Some(low_rank)) = (a, b, &self.low_rank) else { return Ok(None) };
        let ([rank, columns], [rows, _]) = (pair(&self.trained[a].shape), pair(&self.trained[b].shape));
        let (a, b, mut merged) = (self.trained[a].value.values(), self.trained[b].value.values(), base()?);
        for (row, factors) in merged.chunks_exact_mut(columns).zip(b.chunks_exact(rank)) {
            for (factor, direction) in factors.iter().zip(a.chunks_exact(columns)) {
                let factor = factor * low_rank.scale();
                row.iter_mut().zip(direction).for_each(|(value, change)| *value += factor * change);
            }
        }
        Ok(Some(Stored::from_f32(vec![rows, columns], &merged)))
    }
}

fn pair(shape: &[usize]) -> [usize; 2] {
    [shape.first().copied().unwrap_or(0), shape.get(1).copied().unwrap_or(0)]
}

/// A view of [`Parameters`] whose trained weights are tracked.
pub struct Tracked {
    transformer: Transformer,
    leaves: Vec<Value>,
}

impl Tracked {
    /// The model.
    pub fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    /// Runs backward from a loss `[1]` and returns the gradient of every trained weight, in the order of
    /// [`Parameters::trainable`]; `None` where the loss does not depend on it.
    pub fn gradients(&self, loss: Tensor<1>) -> Vec<Option<Vec<f32>>> {
        if !loss.is_tracked() {
            return self.leaves.iter().map(|_| None).collect();
        }
        let mut gradients = ops::pool::forward(|| loss.backward());
        self.leaves.iter().map(|leaf| leaf.gradient(&mut gradients)).collect()
    }
}

#[cfg(test)]
mod tests;
