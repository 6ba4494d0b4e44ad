//! From one kind of checkpoint to another: a GGUF file or a folder with safetensors, in a chosen number format.

use std::collections::BTreeMap;
use std::path::Path;

use kernels::quant::Format;

use crate::checkpoint::{Checkpoint, Files};
use crate::config::RopeStyle;
use crate::families::{self, Family};
use crate::tokenizer::Tokenizer;
use crate::weights::gguf::{self, Value};
use crate::weights::safetensors::{self, write_json};
use crate::weights::{Tensor, bytes_for};
use crate::{Config, Error};

/// A number format a checkpoint can be written in, with its code as `general.file_type`.
pub const TYPES: &[(Format, u32)] =
    &[(Format::F32, 0), (Format::F16, 1), (Format::BF16, 32), (Format::Q8_0, 7), (Format::Q4_0, 2)];

/// What a conversion did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversion {
    /// Tensors written.
    pub tensors: usize,
    /// Bytes of their data.
    pub bytes: u64,
}

/// Writes the checkpoint at `input` to `output` with its matrices in `format`: a GGUF file if the name ends
/// in `.gguf`, otherwise a folder with `model.safetensors`, `config.json`, `tokenizer.json` and
/// `tokenizer_config.json` (F32, F16, BF16 only).
///
/// Vectors stay F32. A matrix whose rows are not whole blocks becomes F16. In Q4_0 the embedding and the head
/// become Q8_0, as both lose most from four bits. A tensor already in the wanted format is copied. Errors if
/// `output` is a folder that exists and is not empty.
pub fn convert(input: &Path, output: &Path, format: Format) -> Result<Conversion, Error> {
    write(&Checkpoint::open(input)?, &|_| Ok(None), output, format)
}

/// Gives the tensor that takes the place of a stored one, by our name and in the checkpoint's order of rows.
pub type Replace<'r> = &'r dyn Fn(&str) -> Result<Option<Tensor>, Error>;

/// [`convert`] of an open checkpoint with some tensors replaced, each of the shape of the stored one. The tensors
/// are asked for and written one at a time; an error of `replace` leaves nothing behind.
pub fn write(
    checkpoint: &Checkpoint,
    replace: Replace<'_>,
    output: &Path,
    format: Format,
) -> Result<Conversion, Error> {
    let Some((_, file_type)) = TYPES.iter().find(|(known, _)| *known == format) else {
        let known: Vec<_> = TYPES.iter().map(|(format, _)| format.name()).collect();
        return Err(Error::Request(format!(
            "cannot write {}; choose one of {}",
            format.name(),
            known.join(", ")
        )));
    };
    if is_gguf(output) {
        to_gguf(checkpoint, replace, output, format, *file_type)
    } else {
        to_folder(checkpoint, replace, output, format)
    }
}

fn is_gguf(output: &Path) -> bool {
    output.extension().is_some_and(|extension| extension == "gguf")
}

/// The format named `name`, in any case: `q8_0`, `F16`.
pub fn type_named(name: &str) -> Result<Format, Error> {
    let known = || TYPES.iter().map(|(format, _)| *format);
    known().find(|format| format.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
        let known: Vec<_> = known().map(Format::name).collect();
        Error::Request(format!(
            "`{name}` is not a type that can be written; choose one of {}",
            known.join(", ")
        ))
    })
}

fn to_gguf(
    checkpoint: &Checkpoint,
    replace: Replace<'_>,
    output: &Path,
    format: Format,
    file_type: u32,
) -> Result<Conversion, Error> {
    let family = checkpoint.family();
    if family.is_own() {
        return Err(no_gguf());
    }
    let mut stored = checkpoint.config().clone();
    stored.attention.rope.style = family.gguf_rope;
    let (own, factors) = families::to_gguf(family, &stored);
    let mut metadata = match checkpoint.files() {
        Files::Gguf(gguf) => gguf.metadata.clone(),
        Files::Folder { .. } => {
            let mut metadata = own;
            metadata.extend(checkpoint.tokenizer()?.vocabulary().to_gguf());
            metadata.insert("general.name".into(), Value::String(checkpoint.name()));
            if let Some(template) = checkpoint.chat_template_source()? {
                metadata.insert("tokenizer.chat_template".into(), Value::String(template));
            }
            metadata
        }
    };
    metadata.insert("general.file_type".into(), Value::u32(file_type));
    metadata.insert("general.quantization_version".into(), Value::u32(2));

    let mut source =
        Source::new(checkpoint, replace, stored.attention.rope.style, format, families::gguf_name)?;
    if let Some(factors) = factors {
        let bytes = factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
        source.add(families::ROPE_FACTORS, Tensor { format: Format::F32, shape: vec![factors.len()], bytes });
    }
    gguf::write(output, &metadata, &source.plan, |index| source.tensor(index))?;
    Ok(source.conversion())
}

fn no_gguf() -> Error {
    Error::Request("an own architecture has no GGUF form; choose an output without .gguf, a folder".into())
}

fn to_folder(
    checkpoint: &Checkpoint,
    replace: Replace<'_>,
    output: &Path,
    format: Format,
) -> Result<Conversion, Error> {
    let family = checkpoint.family();
    // The files of an own architecture keep whatever pairing their configuration states.
    let style = if family.is_own() { checkpoint.config().attention.rope.style } else { RopeStyle::Half };
    let source = Source::new(checkpoint, replace, style, format, |ours| families::folder_name(family, ours))?;
    let template = checkpoint.chat_template_source()?;
    let tokenizer = checkpoint.tokenizer()?;
    let about = About { family, config: checkpoint.config(), tokenizer: &tokenizer, template };
    folder(output, &about, format, &source.plan, |index| source.tensor(index))?;
    Ok(source.conversion())
}

/// Writes a new model of an own architecture as a folder; `tensor` gives the values of each weight by name.
pub(crate) fn write_new(
    about: &About<'_>,
    names: &[(String, Vec<usize>)],
    output: &Path,
    format: Format,
    tensor: impl Fn(&str) -> Result<Tensor, Error>,
) -> Result<Conversion, Error> {
    if is_gguf(output) {
        return Err(no_gguf());
    }
    let plan = names.iter().map(|(name, shape)| (name.clone(), target(name, format, shape), shape.clone()));
    let plan: Vec<_> = plan.collect();
    folder(output, about, format, &plan, |index| {
        let (name, format, _) = &plan[index];
        recode(tensor(name)?, *format)
    })?;
    Ok(conversion(&plan))
}

/// What stands in a folder beside the weights.
pub(crate) struct About<'m> {
    pub(crate) family: &'static Family,
    pub(crate) config: &'m Config,
    pub(crate) tokenizer: &'m Tokenizer,
    pub(crate) template: Option<String>,
}

type Plan = [(String, Format, Vec<usize>)];

fn folder(
    output: &Path,
    about: &About<'_>,
    format: Format,
    plan: &Plan,
    tensor: impl FnMut(usize) -> Result<Tensor, Error>,
) -> Result<(), Error> {
    let dtype = match format {
        Format::F32 => "float32",
        Format::F16 => "float16",
        Format::BF16 => "bfloat16",
        _ => {
            return Err(Error::Request(format!(
                "safetensors cannot hold {}; choose F32, F16 or BF16, or an output that ends in .gguf",
                format.name()
            )));
        }
    };
    let vocabulary = about.tokenizer.vocabulary();
    let ends = (vocabulary.bos, vocabulary.eos);
    let config = families::to_config_json(about.family, about.config, dtype, ends)?;
    let (tokenizer_json, tokenizer_config) = vocabulary.to_json(about.template.as_deref());

    // The folder is filled under another name and appears only when complete.
    let access = |source| Error::File { path: output.to_path_buf(), source };
    if output.exists() && !(output.is_dir() && output.read_dir().map_err(access)?.next().is_none()) {
        return Err(Error::Request(format!(
            "`{}` exists; choose another name or remove it",
            output.display()
        )));
    }
    let mut name = output.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.part", std::process::id()));
    let part = output.with_file_name(name);
    std::fs::create_dir_all(&part).map_err(access)?;
    let written = safetensors::write(&part.join("model.safetensors"), plan, tensor)
        .and_then(|()| write_json(&part.join("config.json"), &config))
        .and_then(|()| write_json(&part.join("tokenizer.json"), &tokenizer_json))
        .and_then(|()| write_json(&part.join("tokenizer_config.json"), &tokenizer_config))
        .and_then(|()| std::fs::rename(&part, output).map_err(access));
    if written.is_err() {
        let _ = std::fs::remove_dir_all(&part);
    }
    written
}

/// The tensors of a checkpoint, converted one at a time.
struct Source<'c> {
    checkpoint: &'c Checkpoint,
    replace: Replace<'c>,
    style: RopeStyle,
    ours: Vec<String>,
    plan: Vec<(String, Format, Vec<usize>)>,
    extra: BTreeMap<usize, Tensor>,
}

impl<'c> Source<'c> {
    fn new(
        checkpoint: &'c Checkpoint,
        replace: Replace<'c>,
        style: RopeStyle,
        format: Format,
        name: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let ours = families::tensor_names(checkpoint.config());
        let plan = ours
            .iter()
            .map(|ours| {
                let shape = checkpoint.shape(ours)?;
                let theirs = name(ours)
                    .ok_or_else(|| Error::Unsupported(format!("tensor `{ours}` has no name there")))?;
                Ok((theirs, target(ours, format, &shape), shape))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self { checkpoint, replace, style, ours, plan, extra: BTreeMap::new() })
    }

    fn add(&mut self, name: &str, tensor: Tensor) {
        self.plan.push((name.into(), tensor.format, tensor.shape.clone()));
        self.extra.insert(self.plan.len() - 1, tensor);
    }

    fn tensor(&self, index: usize) -> Result<Tensor, Error> {
        let (Some(ours), Some((_, format, _))) = (self.ours.get(index), self.plan.get(index)) else {
            let extra = self.extra.get(&index).cloned();
            return extra.ok_or_else(|| Error::Request(format!("there is no tensor {index}")));
        };
        let tensor = match (self.replace)(ours)? {
            Some(tensor) => tensor,
            None => self.checkpoint.tensor(ours)?,
        };
        let tensor = restyle(ours, tensor, self.checkpoint.config(), self.style)?;
        recode(tensor, *format)
    }

    fn conversion(&self) -> Conversion {
        conversion(&self.plan)
    }
}

fn conversion(plan: &Plan) -> Conversion {
    let bytes = plan.iter().filter_map(|(_, format, shape)| bytes_for(*format, shape));
    Conversion { tensors: plan.len(), bytes: bytes.map(|bytes| bytes as u64).sum() }
}

fn target(ours: &str, format: Format, shape: &[usize]) -> Format {
    let wanted = match format {
        // Short convolutions are a few numbers per feature, and read as they are.
        _ if shape.len() < 2 || ours.ends_with("conv") => Format::F32,
        Format::Q4_0 if ours == "embed" || ours == "head" => Format::Q8_0,
        _ => format,
    };
    if bytes_for(wanted, shape).is_some() { wanted } else { Format::F16 }
}

fn recode(tensor: Tensor, format: Format) -> Result<Tensor, Error> {
    if tensor.format == format {
        return Ok(tensor);
    }
    let bytes = kernels::quant::quantize(format, &tensor.to_f32()?)?;
    Ok(Tensor { format, shape: tensor.shape, bytes })
}

/// Reorders query and key rows (and biases) when source and target pair other features for the rotation.
pub(crate) fn restyle(
    ours: &str,
    tensor: Tensor,
    config: &Config,
    style: RopeStyle,
) -> Result<Tensor, Error> {
    let attention = &config.attention;
    let part = ours.rsplit('.').next().unwrap_or_default();
    let rotated = matches!(part, "query" | "key" | "query_bias" | "key_bias" | "query_norm" | "key_norm");
    if !rotated || attention.rope.style == style {
        return Ok(tensor);
    }
    let turning = attention.rope.dimensions.unwrap_or(attention.head_dim);
    let rows = tensor.shape.first().copied().unwrap_or(0);
    let row = tensor.bytes.len() / rows.max(1);
    let mut bytes = Vec::with_capacity(tensor.bytes.len());
    for to in 0..rows {
        let (head, at) = (to / attention.head_dim * attention.head_dim, to % attention.head_dim);
        let from = head + if at < turning { counterpart(at, turning, style) } else { at };
        bytes.extend_from_slice(tensor.bytes.get(from * row..(from + 1) * row).unwrap_or_default());
    }
    if bytes.len() != tensor.bytes.len() {
        return Err(Error::Unsupported(format!("tensor `{ours}` does not consist of whole heads")));
    }
    Ok(Tensor { bytes, ..tensor })
}

/// Where the feature that belongs at `at` in `style` lies in the other style.
fn counterpart(at: usize, turning: usize, style: RopeStyle) -> usize {
    match style {
        RopeStyle::Interleaved => at / 2 + at % 2 * (turning / 2),
        RopeStyle::Half => at % (turning / 2) * 2 + at / (turning / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_styles_are_inverse_permutations() {
        let halves: Vec<usize> = (0..8).map(|at| counterpart(at, 8, RopeStyle::Interleaved)).collect();
        assert_eq!(halves, [0, 4, 1, 5, 2, 6, 3, 7]);
        for at in 0..8 {
            assert_eq!(counterpart(counterpart(at, 8, RopeStyle::Half), 8, RopeStyle::Interleaved), at);
        }
    }

    #[test]
    fn type_names_are_found_in_any_case() {
        assert_eq!(type_named("q8_0").unwrap(), Format::Q8_0);
        assert!(matches!(type_named("Q2_K"), Err(Error::Request(text)) if text.contains("Q4_0")));
    }
}
