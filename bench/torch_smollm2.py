"""PyTorch peer for `gewu bench train --config lora|full`: SmolLM2-135M's shape in transformers, AdamW, on the same kind of stream.

usage: torch_smollm2.py lora|full fp32|bf16|autocast [STEPS]
bf16: weights in bf16 (with lora: the adapters in f32, as peft makes them); autocast: f32 weights, bf16 products.
Prints one JSON object: tokens_per_s (median step after 2 warm-up steps), loss (last step), rss_bytes (peak).
"""
import json, resource, statistics, sys, time
import torch, transformers
from transformers import LlamaConfig, LlamaForCausalLM

kind, mode = sys.argv[1], sys.argv[2]
steps = int(sys.argv[3]) if len(sys.argv) > 3 else 5
V, T, B = 49152, 512, 4
torch.manual_seed(0)
torch.set_num_threads(2)
config = LlamaConfig(vocab_size=V, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                     num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=2048, rope_theta=100000.0,
                     rms_norm_eps=1e-5, attn_implementation="sdpa", use_cache=False)
model = LlamaForCausalLM(config).to(torch.bfloat16 if mode == "bf16" else torch.float32)
peer = f"torch {torch.__version__} transformers {transformers.__version__}"
if kind == "lora":
    import peft
    model = peft.get_peft_model(model, peft.LoraConfig(r=16, lora_alpha=32, target_modules="all-linear"))
    peer += f" peft {peft.__version__}"
model.train()
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)


def batch():
    x = torch.empty(B, T, dtype=torch.long)
    x[:, 0] = torch.randint(0, V, (B,))
    for t in range(T - 1):
        x[:, t + 1] = (5 * x[:, t] + 3) % V
    noise = torch.rand(B, T) < 0.1
    x[noise] = torch.randint(0, V, (int(noise.sum()),))
    return x


times, loss = [], None
for step in range(steps + 2):
    x = batch()
    t = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=mode == "autocast"):
        loss = model(input_ids=x, labels=x).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    times.append(time.perf_counter() - t)
dt = statistics.median(times[2:])
rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peer": f"{peer} {mode}", "config": kind, "tokens_per_s": round(B * T / dt, 1), "loss": round(loss.item(), 4),
                  "rss_bytes": rss, "parameters": sum(p.numel() for p in parameters)}))
