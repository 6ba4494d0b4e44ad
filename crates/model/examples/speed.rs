//! Tokens per second of a checkpoint: a prompt of 512 tokens, and 128 tokens one by one, as one JSON object.
//!
//! `cargo run --release -p model --example speed -- MODEL.gguf [threads] [repetitions]`

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use model::{Activation, Checkpoint, Transformer, Want};

const PROMPT: usize = 512;
const GENERATED: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("usage: speed MODEL.gguf [threads] [repetitions]")?;
    let number = |at: usize, default: usize| arguments.get(at).map_or(Ok(default), |a| a.parse());
    ops::pool::set_threads(number(1, 2)?);
    let checkpoint = Checkpoint::open(Path::new(path))?;
    let model = Transformer::load(checkpoint.config(), &mut &checkpoint, Activation::Int8)?;
    let tokens: Vec<u32> =
        (0..PROMPT as u32).map(|i| (i * 7919 + 13) % model.config().vocabulary as u32).collect();
    let (mut prompt, mut decode) = (Vec::new(), Vec::new());
    for _ in 0..number(2, 5)? {
        let start = Instant::now();
        model.forward(&tokens, Some(&mut model.cache(PROMPT)), Want::Last)?;
        prompt.push(PROMPT as f64 / start.elapsed().as_secs_f64());
        let mut cache = model.cache(GENERATED);
        let start = Instant::now();
        for &token in &tokens[..GENERATED] {
            model.forward(&[token], Some(&mut cache), Want::Last)?;
        }
        decode.push(GENERATED as f64 / start.elapsed().as_secs_f64());
    }
    let median = |mut speeds: Vec<f64>| {
        speeds.sort_by(f64::total_cmp);
        speeds[speeds.len() / 2]
    };
    println!(
        "{{\"model\": {path:?}, \"threads\": {}, \"level\": {:?}, \"prompt_tokens_per_second\": {:.1}, \
         \"decode_tokens_per_second\": {:.1}}}",
        ops::pool::threads(),
        ops::cpu::level().name(),
        median(prompt),
        median(decode)
    );
    Ok(())
}
