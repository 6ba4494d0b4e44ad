//! No kernel calls an intrinsic. One that is reached through a closure handed to the standard library is compiled
//! without the level's instructions and called for every vector: right results, several times slower, and nothing else
//! shows it.
//!
//! Reads the machine code of this very program, so it keeps every kernel; skipped where `objdump` is missing.
#![cfg(target_arch = "x86_64")]

use kernels::attention::documents;
use kernels::{
    activation, attention, conv, cross_entropy, delta, embed, gemm, linear, norm, optimizer, rope, softmax,
};
use std::hint::black_box;
use std::process::Command;

/// Every kernel, so that all of them are in the program.
fn kernels() -> Vec<*const ()> {
    vec![
        activation::swiglu as *const (),
        activation::swiglu_backward as *const (),
        activation::relu2 as *const (),
        activation::relu2_backward as *const (),
        activation::add as *const (),
        attention::attention as *const (),
        attention::scores as *const (),
        attention::pattern as *const (),
        attention::mix as *const (),
        documents::forward as *const (),
        documents::backward as *const (),
        conv::forward as *const (),
        conv::backward as *const (),
        cross_entropy::forward as *const (),
        cross_entropy::backward as *const (),
        delta::forward as *const (),
        delta::backward as *const (),
        delta::step as *const (),
        embed::embed as *const (),
        embed::gradient as *const (),
        gemm::gemm as *const (),
        gemm::peak as *const (),
        linear::forward_many as *const (),
        linear::PackedWeight::input_gradient as *const (),
        linear::PackedWeight::dequantize as *const (),
        norm::rms_norm as *const (),
        norm::rms_norm_backward as *const (),
        norm::residual_rms_norm as *const (),
        optimizer::adamw as *const (),
        optimizer::adamw_8bit as *const (),
        optimizer::orthogonalize as *const (),
        optimizer::project as *const (),
        optimizer::blend as *const (),
        rope::rope as *const (),
        rope::rope_gradient as *const (),
        softmax::softmax as *const (),
        softmax::log_softmax as *const (),
    ]
}

#[test]
fn no_intrinsic_is_called() -> Result<(), Box<dyn std::error::Error>> {
    assert!(black_box(kernels()).iter().all(|kernel| !kernel.is_null()));
    let program = std::env::current_exe()?;
    let arguments = ["--disassemble", "--no-show-raw-insn"];
    let Ok(code) = Command::new("objdump").args(arguments).arg(program).output() else {
        eprintln!("SKIPPED: no objdump (binutils) to read the machine code with");
        return Ok(());
    };
    let code = String::from_utf8_lossy(&code.stdout);
    let (mut function, mut wide, mut calls) = ("", 0, Vec::new());
    for line in code.lines() {
        if let Some((_, name)) = line.strip_suffix(">:").and_then(|line| line.split_once(" <")) {
            function = name;
        }
        wide += usize::from(line.contains("vfmadd") && line.contains("%ymm"));
        let intrinsic = line.rsplit_once('<').is_some_and(|(before, to)| {
            before.contains("call") && to.contains("core_arch") && to.contains("_mm")
        });
        // The crate `half` converts numbers by calls of its own, outside the kernels.
        if intrinsic && !function.contains("half") {
            calls.push(format!("{function}: {}", line.trim()));
        }
    }
    assert!(wide > 100, "the kernels are not in this program: {wide} wide products");
    assert!(calls.is_empty(), "{} calls of intrinsics:\n{}", calls.len(), calls.join("\n"));
    Ok(())
}
