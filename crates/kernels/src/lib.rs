//! Slices in, slices out: the arithmetic of language models on the CPU.
