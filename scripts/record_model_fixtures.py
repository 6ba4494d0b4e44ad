"""Records tiny random checkpoints and their logits with transformers, for crates/model/tests.

    python3 -m pip install torch transformers safetensors
    python3 scripts/record_model_fixtures.py crates/model/tests/fixtures

One folder per family: config.json, model.safetensors, and logits.json with token ids and the float32 logits
after each of them. The weights are random (fixed seed), so the files say nothing but whether two
implementations compute the same function.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

SIZES = dict(
    vocab_size=160,
    hidden_size=32,
    intermediate_size=56,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SIZES, head_dim=8, tie_word_embeddings=True)),
    "llama3": (LlamaForCausalLM, LlamaConfig(**SIZES, head_dim=8, tie_word_embeddings=False, rope_parameters=LLAMA3)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SIZES, tie_word_embeddings=True)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SIZES, head_dim=16, tie_word_embeddings=False)),
}


def main(folder: Path) -> None:
    for index, (name, (family, config)) in enumerate(MODELS.items()):
        torch.manual_seed(index)
        model = family(config).float().eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                # Norms and biases start as ones and zeros; random ones show whether they are used.
                if parameter.dim() == 1:
                    parameter.add_(0.2 * torch.randn_like(parameter))
                else:
                    parameter.copy_(0.15 * torch.randn_like(parameter))
            tokens = torch.randint(0, config.vocab_size, (1, 96))
            logits = model(tokens).logits[0]
        target = folder / name
        target.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(target)
        for extra in target.glob("generation_config.json"):
            extra.unlink()
        rows = [[float(f"{value:.7g}") for value in row] for row in logits[::8].tolist()]
        record = {"tokens": tokens[0].tolist(), "rows": list(range(0, 96, 8)), "logits": rows}
        (target / "logits.json").write_text(json.dumps(record) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
