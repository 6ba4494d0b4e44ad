//! Instruments that look inside a model, interventions, and their planted-truth twins.
//!
//! | question | module |
//! |---|---|
//! | what is at a point of the forward pass | [`record`] |
//! | what happens if something else were there | [`intervene`], [`patch`] |
//! | what does each layer already know | [`lens`] |
//! | what do the heads look at | [`heads`] |
//! | which part makes the prediction | [`decompose`], [`gradient`] |
//! | which direction carries refusal | [`direction`] |
//! | what did tuning change | [`account`] |
//! | how does copying in context arise | [`mod@induction`] |
//!
//! Every instrument works on any [`model::Transformer`] through its named hook points, and fails loudly: a point
//! that does not exist, did not fire, or holds another shape is an error, never a silent nothing.

#![forbid(unsafe_code)]

pub mod account;
pub mod decompose;
pub mod direction;
pub mod distribution;
mod error;
pub mod gradient;
pub mod heads;
pub mod induction;
pub mod intervene;
pub mod lens;
pub mod linear_algebra;
mod matrix;
pub mod patch;
pub mod record;

pub use error::Error;
pub use matrix::Matrix;
