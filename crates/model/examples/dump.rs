//! Writes what this crate computes to files, for comparison with other engines (see `bench/`).
//!
//! ```text
//! dump text SEED BYTES OUT.txt          the test text
//! dump ids MODEL TEXT.txt OUT.u32       token ids of a file, little-endian u32
//! dump logits MODEL f32|int8 TEXT.txt WINDOW WINDOWS OUT.f32
//!                                       logits after each token, every window on its own, little-endian f32
//! dump perplexity MODEL f32|int8 TEXT.txt WINDOW OUT.json
//! dump convert IN OUT TYPE
//! ```

#[path = "../tests/mixed_text/mod.rs"]
mod mixed_text;

use std::error::Error;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use model::{Activation, Checkpoint, LanguageModel, LoadOptions, Local};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["text", seed, bytes, out] => {
            Ok(fs::write(out, mixed_text::mixed_text(seed.parse()?, bytes.parse()?))?)
        }
        ["ids", model, text, out] => {
            let tokenizer = Checkpoint::open(Path::new(model))?.tokenizer()?;
            Ok(fs::write(out, bytes(&tokenizer.encode(&fs::read_to_string(text)?)))?)
        }
        ["logits", model, activation, text, window, windows, out] => {
            let mut model = open(model, activation)?;
            let tokens = model.tokenizer().encode(&fs::read_to_string(text)?);
            let mut out = BufWriter::new(fs::File::create(out)?);
            for window in tokens.chunks_exact(window.parse()?).take(windows.parse()?) {
                for logit in model.logits(window)? {
                    out.write_all(&logit.to_le_bytes())?;
                }
            }
            Ok(out.flush()?)
        }
        ["perplexity", model, activation, text, window, out] => {
            let start = std::time::Instant::now();
            let result = open(model, activation)?
                .rolling_log_likelihood(&fs::read_to_string(text)?, window.parse()?)?;
            let perplexity = (-result.sum / result.tokens as f64).exp();
            let seconds = start.elapsed().as_secs_f64();
            let json = format!(
                r#"{{"perplexity": {perplexity:.5}, "tokens": {}, "seconds": {seconds:.1}}}"#,
                result.tokens
            );
            Ok(fs::write(out, json + "\n")?)
        }
        ["convert", from, to, kind] => {
            model::convert::convert(Path::new(from), Path::new(to), model::convert::type_named(kind)?)?;
            Ok(())
        }
        _ => Err("see the first lines of this example for its arguments".into()),
    }
}

fn open(path: &str, activation: &str) -> Result<Local, Box<dyn Error>> {
    let activation = match activation {
        "f32" => Activation::F32,
        "int8" => Activation::Int8,
        _ => return Err("the activation is f32 or int8".into()),
    };
    Ok(Local::open(Path::new(path), &LoadOptions { activation, context: None })?)
}

fn bytes(ids: &[u32]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_le_bytes()).collect()
}
