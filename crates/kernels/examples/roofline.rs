//! Rates of the packed linear kernels over the shapes of a 135M-parameter model: multiply-accumulates and
//! weight bytes per second. `cargo run --release -p kernels --example roofline [LEVEL]`.
#![allow(missing_docs)]

use kernels::cpu::Level;
use kernels::linear::{Activation, PackedWeight, forward_many_at};
use kernels::{pool, quant::Format};
use std::io::Write;
use std::time::Instant;

fn main() -> kernels::Result<()> {
    let level = match std::env::args().nth(1) {
        Some(word) => Level::parse(&word)?,
        None => kernels::cpu::chosen()?,
    };
    let mut out = std::io::stdout();
    let _ = writeln!(out, "level {}, {} threads", level.name(), pool::threads());
    let mut idle = f64::INFINITY;
    pool::forward(|| {
        for _ in 0..1000 {
            let start = Instant::now();
            pool::run(pool::threads(), &|_| ());
            idle = idle.min(start.elapsed().as_secs_f64());
        }
    });
    let _ = writeln!(out, "an empty run inside a forward scope: {:.2} µs", idle * 1e6);
    let formats = [Format::Q4_0, Format::Q4_1, Format::Q8_0, Format::Q4K, Format::Q6K, Format::F16];
    for (rows, columns) in [(576, 576), (192, 576), (1536, 576), (576, 1536), (49152, 576)] {
        for format in formats {
            let columns = columns.max(format.block_len()) / format.block_len() * format.block_len();
            let bytes = vec![17u8; format.bytes_of(rows, columns)?];
            let weight = PackedWeight::pack(format, &bytes, rows, columns)?;
            for tokens in [1usize, 4, 512] {
                if rows > 40000 && tokens > 4 {
                    continue;
                }
                let x: Vec<f32> = (0..tokens * columns).map(|i| (i % 31) as f32 - 15.0).collect();
                let mut y = vec![0.0; tokens * rows];
                let mut best = f64::INFINITY;
                pool::forward(|| {
                    for _ in 0..(60_000_000 / (rows * columns * tokens)).clamp(3, 300) {
                        let start = Instant::now();
                        forward_many_at(level, &[&weight], &x, tokens, &mut [&mut y], Activation::Int8);
                        best = best.min(start.elapsed().as_secs_f64());
                    }
                });
                let products = (rows * columns * tokens) as f64;
                let _ = writeln!(
                    out,
                    "{rows:>6} × {columns:<5}{:<5}{tokens:>4} tokens {:>9.1} µs {:>7.1} GMAC/s {:>6.1} GB/s",
                    format.name(),
                    best * 1e6,
                    products / best / 1e9,
                    weight.bytes() as f64 / best / 1e9
                );
            }
        }
    }
    Ok(())
}
