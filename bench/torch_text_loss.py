"""The PyTorch twin of `text_loss` (crates/train/examples): the same model, first weights, windows and rates, in fp32.

usage: torch_text_loss.py FOLDER STEPS EVERY     (FOLDER as `text_loss` wrote it)
Prints the same JSON lines, and at the end the peak memory.
"""
import json, resource, sys, time
import numpy as np
import torch, torch.nn.functional as F
from safetensors.torch import load_file

folder, steps, every = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
shape = json.load(open(f"{folder}/shape.json"))
config, T, B, WINDOWS = shape["config"], shape["length"], shape["batch"], shape["windows"]
V, D, eps, attention = config["vocabulary"], config["width"], config["norm_epsilon"], config["attention"]
H, G, E = attention["heads"], attention["kv_heads"], attention["head_dim"]
assert not attention["qk_norm"] and not attention["qkv_bias"] and "dimensions" not in attention["rope"]
assert attention["rope"]["scaling"]["kind"] == "none" and config["channel"]["kind"] == "swiglu" and WINDOWS % B == 0
interleaved = attention["rope"]["style"] == "interleaved"
torch.set_num_threads(2)
data = torch.from_numpy(np.fromfile(f"{folder}/tokens.bin", dtype="<u4").astype(np.int64))
cut = len(data) // 20 * 19
training, held_out = data[:cut], data[cut:]
offsets = np.fromfile(f"{folder}/offsets.bin", dtype="<u4").reshape(-1, B)
rates = np.fromfile(f"{folder}/rates.bin", dtype="<f4")
weights = {name: torch.nn.Parameter(value.clone()) for name, value in load_file(f"{folder}/weights.safetensors").items()}
L = sum(name.endswith(".mixer_norm") for name in weights)
head = weights["embed" if config["tied_embeddings"] else "head"]
angle = torch.arange(T)[:, None] / attention["rope"]["base"] ** (torch.arange(0, E, 2) / E)
cos, sin = angle.cos(), angle.sin()


def rope(x):
    a, b = (x[..., ::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
    parts = (a * cos - b * sin, a * sin + b * cos)
    return torch.stack(parts, -1).flatten(-2) if interleaved else torch.cat(parts, -1)


def norm(x, name):
    return F.rms_norm(x, (D,), weights[name], eps)


def loss(x, y):
    h = F.embedding(x, weights["embed"])
    n = len(x)
    for i in range(L):
        w = lambda name: weights[f"blocks.{i}.{name}"]
        u = norm(h, f"blocks.{i}.mixer_norm")
        q, k, v = (F.linear(u, w(f"mixer.{part}")).view(n, T, -1, E).transpose(1, 2) for part in ("query", "key", "value"))
        a = F.scaled_dot_product_attention(rope(q), rope(k), v, is_causal=True, enable_gqa=G < H)
        h = h + F.linear(a.transpose(1, 2).reshape(n, T, H * E), w("mixer.output"))
        u = norm(h, f"blocks.{i}.channel_norm")
        h = h + F.linear(F.silu(F.linear(u, w("channel.gate"))) * F.linear(u, w("channel.up")), w("channel.down"))
    return F.cross_entropy(F.linear(norm(h, "final_norm"), head).view(-1, V), y.reshape(-1))


def windows(source, starts):
    rows = torch.stack([source[s : s + T + 1] for s in starts])
    return rows[:, :-1], rows[:, 1:]


decayed = [p for name, p in weights.items() if p.dim() > 1 and name != "embed"]
rest = [p for name, p in weights.items() if not (p.dim() > 1 and name != "embed")]
groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, fused=True)
spacing = (len(held_out) - T - 1) // WINDOWS
seconds, recent = 0.0, []
for step in range(steps):
    x, y = windows(training, offsets[step])
    start = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = float(rates[step])
    optimizer.zero_grad(set_to_none=True)
    value = loss(x, y)
    value.backward()
    torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
    optimizer.step()
    seconds += time.perf_counter() - start
    recent.append(value.item())
    if (step + 1) % every == 0 or step + 1 == steps:
        with torch.no_grad():
            parts = [windows(held_out, [i * spacing for i in range(at, at + B)]) for at in range(0, WINDOWS, B)]
            mean = sum(loss(x, y).item() for x, y in parts) / len(parts)
        print(json.dumps({"step": step + 1, "seconds": seconds, "train": sum(recent) / len(recent), "held_out": mean}), flush=True)
        recent = []
print(json.dumps({"rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
