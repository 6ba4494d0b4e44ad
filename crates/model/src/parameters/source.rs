//! Where the weights of a view come from: collected once from a checkpoint or drawn, then handed out.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use ops::Weight;

use super::{Frozen, Parameters, Train, Trained, Value};
use crate::transformer::WeightSource;
use crate::{Checkpoint, Error, Init};

/// Where weights are taken from at first.
pub(super) enum Origin<'c> {
    Checkpoint(&'c Checkpoint, Train),
    Random,
}

/// Notes every weight a model asks for.
pub(super) struct Collector<'c> {
    origin: Origin<'c>,
    seed: u64,
    pub(super) names: Vec<(String, Vec<usize>)>,
    pub(super) frozen: BTreeMap<String, Frozen>,
    pub(super) trained: Vec<Trained>,
}

impl<'c> Collector<'c> {
    pub(super) fn new(origin: Origin<'c>, seed: u64) -> Self {
        Self { origin, seed, names: Vec::new(), frozen: BTreeMap::new(), trained: Vec::new() }
    }

    fn train(&mut self, name: String, shape: &[usize], values: Vec<f32>) -> Value {
        let value = Value::new(values, shape);
        let shared = value.share();
        self.trained.push(Trained { name, shape: shape.to_vec(), value });
        shared
    }

    /// Draws a new weight, or reads a stored one to train it.
    fn trained(&mut self, name: &str, shape: &[usize], init: Init) -> Result<Value, Error> {
        let values = match self.origin {
            Origin::Random => init.draw(self.seed, name, shape.iter().product()),
            Origin::Checkpoint(checkpoint, _) => checkpoint.checked(name, shape)?.to_f32()?,
        };
        Ok(self.train(name.to_string(), shape, values))
    }
}

/// The names of the two factors of a low-rank change.
pub(super) fn factors(name: &str) -> [String; 2] {
    [format!("{name}.low_rank_a"), format!("{name}.low_rank_b")]
}

impl WeightSource for Collector<'_> {
    fn matrix(&mut self, name: &str, rows: usize, columns: usize, init: Init) -> Result<Weight, Error> {
        self.names.push((name.to_string(), vec![rows, columns]));
        let &Origin::Checkpoint(mut checkpoint, ref train @ (Train::Nothing | Train::LowRank(_))) =
            &self.origin
        else {
            return matrix_of(self.trained(name, &[rows, columns], init)?);
        };
        let weight = checkpoint.matrix(name, rows, columns, init)?;
        self.frozen.insert(name.to_string(), Frozen::Matrix(weight.clone()));
        if let Train::LowRank(low_rank) = train
            && low_rank.changes(name)
        {
            let (rank, [a, b]) = (low_rank.rank, factors(name));
            // Kaiming's uniform distribution with the slope of √5 that the paper's code uses: ±1/√columns.
            let first = Init::Uniform(1.0 / (columns as f32).sqrt()).draw(self.seed, &a, rank * columns);
            self.train(a, &[rank, columns], first);
            self.train(b, &[rows, rank], vec![0.0; rows * rank]);
        }
        Ok(weight)
    }

    fn vector(&mut self, name: &str, length: usize, init: Init) -> Result<Tensor<1>, Error> {
        self.names.push((name.to_string(), vec![length]));
        let &Origin::Checkpoint(mut checkpoint, Train::Nothing | Train::LowRank(_)) = &self.origin else {
            return vector_of(self.trained(name, &[length], init)?);
        };
        let vector = checkpoint.vector(name, length, init)?;
        self.frozen.insert(name.to_string(), Frozen::Vector(Box::new(vector.clone())));
        Ok(vector)
    }
}

/// Hands out the weights of [`Parameters`], the trained ones as the given values.
pub(super) struct View<'p> {
    parameters: &'p Parameters,
    values: &'p [Value],
}

impl<'p> View<'p> {
    pub(super) fn new(parameters: &'p Parameters, values: &'p [Value]) -> Self {
        Self { parameters, values }
    }

    fn trained(&self, name: &str) -> Option<Value> {
        self.parameters.places.get(name).and_then(|&place| self.values.get(place)).map(Value::share)
    }

    fn unknown(name: &str) -> Error {
        Error::Request(format!("these parameters have no weight `{name}`"))
    }
}

impl WeightSource for View<'_> {
    fn matrix(&mut self, name: &str, _: usize, _: usize, _: Init) -> Result<Weight, Error> {
        if let Some(value) = self.trained(name) {
            return matrix_of(value);
        }
        let Some(Frozen::Matrix(weight)) = self.parameters.frozen.get(name) else {
            return Err(Self::unknown(name));
        };
        let [a, b] = factors(name).map(|factor| self.trained(&factor));
        match (a, b, &self.parameters.low_rank) {
            (Some(Value::Matrix(a)), Some(Value::Matrix(b)), Some(low_rank)) => {
                Ok(Weight::low_rank(weight.clone(), a, b, low_rank.scale()))
            }
            _ => Ok(weight.clone()),
        }
    }

    fn vector(&mut self, name: &str, _: usize, _: Init) -> Result<Tensor<1>, Error> {
        match (self.trained(name), self.parameters.frozen.get(name)) {
            (Some(value), _) => vector_of(value),
            (None, Some(Frozen::Vector(vector))) => Ok((**vector).clone()),
            _ => Err(Self::unknown(name)),
        }
    }
}

fn matrix_of(value: Value) -> Result<Weight, Error> {
    match value {
        Value::Matrix(tensor) => Ok(Weight::dense(tensor)),
        Value::Vector(_) => Err(Error::Request("a vector where a matrix belongs".into())),
    }
}

fn vector_of(value: Value) -> Result<Tensor<1>, Error> {
    match value {
        Value::Vector(tensor) => Ok(tensor),
        Value::Matrix(_) => Err(Error::Request("a matrix where a vector belongs".into())),
    }
}
