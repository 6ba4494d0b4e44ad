//! Burn's GPU back ends (one type for all runtimes): every operation and gradient runs its composed body.

use burn::backend::Cube;

use crate::add::Add;
use crate::attention::{Attention, AttentionGradient};
use crate::cross_entropy::{CrossEntropy, CrossEntropyGradient};
use crate::delta_rule::{DeltaRule, DeltaRuleGradient};
use crate::dense::{Dense, DenseGradient};
use crate::embed::{Embed, EmbedGradient};
use crate::key_values::CachedAttention;
use crate::linear::{Linear, LinearGradient};
use crate::low_rank::{AddLowRank, LowRankGradient};
use crate::relu2::{Relu2, Relu2Gradient};
use crate::rms_norm::{RmsNorm, RmsNormGradient};
use crate::rope::{Rope, RopeGradient};
use crate::short_conv::{ShortConv, ShortConvGradient};
use crate::swiglu::{Swiglu, SwigluGradient};

impl Add for Cube {}
impl AddLowRank for Cube {}
impl Attention for Cube {}
impl AttentionGradient for Cube {}
impl CachedAttention for Cube {}
impl CrossEntropy for Cube {}
impl CrossEntropyGradient for Cube {}
impl DeltaRule for Cube {}
impl DeltaRuleGradient for Cube {}
impl Dense for Cube {}
impl DenseGradient for Cube {}
impl Embed for Cube {}
impl EmbedGradient for Cube {}
impl Linear for Cube {}
impl LinearGradient for Cube {}
impl LowRankGradient for Cube {}
impl Relu2 for Cube {}
impl Relu2Gradient for Cube {}
impl RmsNorm for Cube {}
impl RmsNormGradient for Cube {}
impl Rope for Cube {}
impl RopeGradient for Cube {}
impl ShortConv for Cube {}
impl ShortConvGradient for Cube {}
impl Swiglu for Cube {}
impl SwigluGradient for Cube {}
