"""Teacher-forced agreement of our logits, and llama.cpp's, with a dequantized PyTorch reference.

    cargo run --release -p model --example dump -- logits MODEL.gguf f32 TEXT.txt WINDOW WINDOWS OUT.f32
    python bench/agreement.py MODEL.gguf TEXT.txt WINDOW WINDOWS OUT.f32 [OUT.f32 …] [--llama BASE.kld]

OUT.f32: logits after every token of the first WINDOWS windows of WINDOW tokens, each window on its own.
BASE.kld: `llama-perplexity -m MODEL -f TEXT -c WINDOW --chunks WINDOWS --kl-divergence-base BASE.kld`; it
covers the second half of each window, so that half is compared for both.
Needs: pip install torch gguf tokenizers numpy. The forward pass is written out here, in float32.
"""

import argparse

import gguf
import numpy as np
import torch
from gguf.quants import dequantize

from tokenizer import field, reference


class Reference:
    """Llama (GGUF's interleaved rotation) in plain torch operations."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.w = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).reshape(t.shape[::-1].tolist()).copy()) for t in reader.tensors}
        key = lambda name: field(reader, f"llama.{name}")
        self.layers, self.heads, self.kv = key("block_count"), key("attention.head_count"), key("attention.head_count_kv")
        self.eps, self.base = key("attention.layer_norm_rms_epsilon"), key("rope.freq_base")

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.w[name]

    def rope(self, x):
        length, _, dim = x.shape
        angle = torch.outer(torch.arange(length).double(), self.base ** (-torch.arange(0, dim, 2).double() / dim))
        cos, sin = angle.cos().float()[:, None], angle.sin().float()[:, None]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)

    @torch.no_grad()
    def logits(self, ids):
        x = self.w["token_embd.weight"][ids]
        length = len(ids)
        for i in range(self.layers):
            p = lambda name: self.w[f"blk.{i}.{name}.weight"]
            h = self.norm(x, f"blk.{i}.attn_norm.weight")
            split = lambda y, n: y.view(length, n, -1)
            q, k = self.rope(split(h @ p("attn_q").T, self.heads)), self.rope(split(h @ p("attn_k").T, self.kv))
            v = split(h @ p("attn_v").T, self.kv)
            k, v = (y.repeat_interleave(self.heads // self.kv, 1) for y in (k, v))
            q, k, v = (y.transpose(0, 1) for y in (q, k, v))
            mix = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + mix.transpose(0, 1).reshape(length, -1) @ p("attn_output").T
            h = self.norm(x, f"blk.{i}.ffn_norm.weight")
            x = x + (torch.nn.functional.silu(h @ p("ffn_gate").T) * (h @ p("ffn_up").T)) @ p("ffn_down").T
        head = self.w.get("output.weight", self.w["token_embd.weight"])
        return self.norm(x, "output_norm.weight") @ head.T


def llama_top(path, ids, window, windows):
    """Top tokens in a base file of llama-perplexity: 16-bit log-probabilities of the second halves."""
    with open(path, "rb") as file:
        assert file.read(8) == b"_logits_"
        n_ctx, n_vocab, n_chunk = np.fromfile(file, "<i4", 3)
        tokens = np.fromfile(file, "<i4", n_chunk * n_ctx)
        assert n_ctx == window and n_chunk >= windows, "another window"
        same = tokens[: window * windows].tolist() == ids
        print(f"llama.cpp's {window * windows} token ids are {'identical' if same else 'DIFFERENT'}")
        row, rows = 2 * ((n_vocab + 1) // 2) + 4, window - 1 - window // 2
        tops = []
        for _ in range(windows):
            chunk = np.fromfile(file, "<u2", rows * row).reshape(rows, row)[:, 4 : 4 + n_vocab]
            tops.append(chunk.argmax(1))
        return np.concatenate(tops)


def main():
    parser = argparse.ArgumentParser()
    for name in ("model", "text"):
        parser.add_argument(name)
    parser.add_argument("window", type=int)
    parser.add_argument("windows", type=int)
    parser.add_argument("ours", nargs="+")
    parser.add_argument("--llama")
    args = parser.parse_args()
    window, windows = args.window, args.windows
    with open(args.text, encoding="utf-8", newline="") as file:
        ids = reference(args.model).encode(file.read(), add_special_tokens=False).ids[: window * windows]
    model = Reference(args.model)
    expected = [model.logits(torch.tensor(ids[i : i + window])).numpy() for i in range(0, len(ids), window)]
    expected = np.stack(expected)
    top = expected.argmax(-1)
    half = slice(window // 2, window - 1)
    for path in args.ours:
        ours = np.fromfile(path, "<f4").reshape(expected.shape)
        # Relative to the largest logit of the position, as small logits have no scale of their own.
        relative = np.abs(ours - expected).max(-1) / np.abs(expected).max(-1)
        all_equal, half_equal = (ours.argmax(-1) == top), (ours.argmax(-1) == top)[:, half]
        print(
            f"{path}: top-1 agreement {all_equal.mean():.4%} over {all_equal.size} tokens, "
            f"{half_equal.mean():.4%} over the {half_equal.size} of the second halves; "
            f"relative logit difference max {relative.max():.2e}, mean {relative.mean():.2e}"
        )
    if args.llama:
        equal = llama_top(args.llama, ids, window, windows) == top[:, half].reshape(-1)
        print(f"llama.cpp: top-1 agreement {equal.mean():.4%} over the {equal.size} of the second halves")


if __name__ == "__main__":
    main()
