"""Records what mergekit makes of tiny Llama checkpoints: crates/knowledge/tests/fixtures/merge.

    python scripts/record_merge_fixtures.py

Needs torch, safetensors and mergekit (recorded with 0.1.5, CPU, float32). Writes three checkpoints that share an
ancestor (`base`, `finance`, `medicine`: config.json, tokenizer.json, model.safetensors) and, for every entry of CASES,
the merged tensors as `CASE.safetensors`.
"""

import json
import pathlib
import shutil
import tempfile

import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from safetensors.torch import load_file, save_file

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/knowledge/tests/fixtures/merge"
VOCABULARY, WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 64, 32, 32, 2, 4, 2, 8

# Weights of finance and medicine, and what else the method is told.
CASES = {
    "linear": ("linear", [0.7, 0.5], {}),
    "linear_sum": ("linear", [0.7, 0.5], {"normalize": False}),
    "slerp": ("slerp", [None], {"t": 0.3}),
    "task_arithmetic": ("task_arithmetic", [0.7, 0.5], {"lambda": 0.8}),
    "ties": ("ties", [0.7, 0.5], {"density": 0.4, "lambda": 0.9}),
    "ties_sum": ("ties", [0.6, 0.6], {"density": 0.25, "normalize": False}),
}


def shapes():
    yield "model.embed_tokens.weight", (VOCABULARY, WIDTH)
    for i in range(LAYERS):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (WIDTH,)
        yield p + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, WIDTH)
        yield p + "self_attn.k_proj.weight", (KV_HEADS * HEAD_DIM, WIDTH)
        yield p + "self_attn.v_proj.weight", (KV_HEADS * HEAD_DIM, WIDTH)
        yield p + "self_attn.o_proj.weight", (WIDTH, HEADS * HEAD_DIM)
        yield p + "post_attention_layernorm.weight", (WIDTH,)
        yield p + "mlp.gate_proj.weight", (HIDDEN, WIDTH)
        yield p + "mlp.up_proj.weight", (HIDDEN, WIDTH)
        yield p + "mlp.down_proj.weight", (WIDTH, HIDDEN)
    yield "model.norm.weight", (WIDTH,)


def write(name, tensors):
    folder = OUT / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": VOCABULARY, "hidden_size": WIDTH,
        "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "hidden_act": "silu", "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 1,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    markers = ["<|im_start|>", "<|im_end|>"]
    letters = [chr(c) for c in range(ord("!"), ord("!") + VOCABULARY - 4)] + ["Ġ", "Ċ"]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [
            {"id": i, "content": m, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": True} for i, m in enumerate(markers)
        ],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(markers + letters)}, "merges": [],
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, indent=1) + "\n")


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    draw = torch.Generator().manual_seed(20)
    noise = lambda shape: torch.randn(shape, generator=draw)
    base = {n: noise(s) * 0.1 + (1.0 if len(s) == 1 else 0.0) for n, s in shapes()}
    # Far enough apart that SLERP follows the arc in matrices; the norms' vectors stay nearly parallel.
    tuned = lambda scale: {n: v + noise(v.shape) * scale * (1.0 if v.dim() == 2 else 0.02) for n, v in base.items()}
    for name, tensors in [("base", base), ("finance", tuned(0.08)), ("medicine", tuned(0.03))]:
        write(name, tensors)
    for case, (method, weights, parameters) in CASES.items():
        per_model = {k: v for k, v in parameters.items() if k == "density"}
        entries = []
        for model, weight in zip(["finance", "medicine"], weights):
            own = dict(per_model) if weight is None else {"weight": weight, **per_model}
            entries.append({"model": str(OUT / model), "parameters": own})
        config = {
            "merge_method": method, "models": entries, "dtype": "float32",
            "parameters": {k: v for k, v in parameters.items() if k != "density"},
        }
        if method != "linear":
            config["base_model"] = str(OUT / "base")
        with tempfile.TemporaryDirectory() as folder:
            run_merge(MergeConfiguration.model_validate(config), folder, MergeOptions(quiet=True, copy_tokenizer=False))
            merged = {}
            for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
                merged.update(load_file(file))
        assert set(merged) == set(base), sorted(set(merged) ^ set(base))
        assert all(v.dtype == torch.float32 for v in merged.values())
        save_file(merged, OUT / f"{case}.safetensors", metadata={"format": "pt"})


main()
