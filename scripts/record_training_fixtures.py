"""Records what PyTorch's autograd says about small models with every mixer: crates/model/tests/fixtures/training.

    python scripts/record_training_fixtures.py

Needs torch (recorded with 2.15, CPU). For each case a folder with `config.json` (our configuration) and
`recorded.safetensors`: `weights.*` away from their first values, the packed `tokens` and document `starts` (as f32),
the mean next-token `loss`, `gradients.*` in f32, `autocast.*` (relative error, per tensor, of the gradients under
bfloat16 autocast), and `adamw`, the losses before each of ten AdamW steps and after the last (rate 1e-3, betas 0.9 and
0.95, epsilon 1e-8, weight decay 0.1 on matrices except the embedding).
"""

import json
import math
import pathlib
import struct

import torch
import torch.nn.functional as F

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/model/tests/fixtures/training"
VOCABULARY, WIDTH, HIDDEN, EPSILON = 37, 16, 24, 1e-5
STARTS, TOKENS = [0, 13, 14], 33
ATTENTION = {
    "heads": 4, "kv_heads": 2, "head_dim": 4, "qk_norm": True, "qkv_bias": True, "output_bias": True,
    "rope": {"base": 10000.0, "style": "half", "scaling": {"kind": "none"}},
}
DELTA = {
    "heads": 2, "key_dim": 8, "value_dim": 6, "kernel": 4, "negative_eigenvalues": True, "gate": "silu",
}


def config(layers, channel="swiglu", tied=True, **changes):
    return {
        "vocabulary": VOCABULARY, "width": WIDTH, "context": 64, "layers": layers, "norm_epsilon": EPSILON,
        "tied_embeddings": tied, "attention": ATTENTION, "delta": {**DELTA, **changes}, "conv": {"kernel": 3},
        "channel": {"kind": channel, "hidden": 0 if channel == "none" else HIDDEN},
    }


CASES = {
    "attention": config(["attention", "attention"]),
    "delta": config(["delta", "delta"]),
    "delta_sigmoid": config(["delta"], negative_eigenvalues=False, gate="sigmoid", tied=False),
    "conv": config(["conv", "conv"]),
    "relu2": config(["attention", "attention"], channel="relu2"),
    "hybrid": config(["delta", "conv", "attention"], channel="none"),
}


def shapes(c):
    """Names and shapes of the weights, with the center of each."""
    a, d, w = c["attention"], c["delta"], WIDTH
    out = {"embed": ((VOCABULARY, w), 0.0)}
    for i, mixer in enumerate(c["layers"]):
        p = f"blocks.{i}."
        out[p + "mixer_norm"] = ((w,), 1.0)
        m = p + "mixer."
        if mixer == "attention":
            q, k = a["heads"] * a["head_dim"], a["kv_heads"] * a["head_dim"]
            for name, rows in [("query", q), ("key", k), ("value", k)]:
                out[m + name] = ((rows, w), 0.0)
                out[m + name + "_bias"] = ((rows,), 0.0)
            out[m + "output"] = ((w, q), 0.0)
            out[m + "output_bias"] = ((w,), 0.0)
            out[m + "query_norm"] = ((a["head_dim"],), 1.0)
            out[m + "key_norm"] = ((a["head_dim"],), 1.0)
        elif mixer == "delta":
            h, k, v = d["heads"], d["heads"] * d["key_dim"], d["heads"] * d["value_dim"]
            for name, rows in [("query", k), ("key", k), ("value", v), ("gate", v), ("decay", h), ("strength", h)]:
                out[m + name] = ((rows, w), 0.0)
            out[m + "output"] = ((w, v), 0.0)
            for name, rows in [("query_conv", k), ("key_conv", k), ("value_conv", v)]:
                out[m + name] = ((rows, d["kernel"]), 0.0)
            out[m + "log_rate"] = ((h,), 0.5)
            out[m + "decay_bias"] = ((h,), -2.0)
            out[m + "output_norm"] = ((d["value_dim"],), 1.0)
        else:
            out[m + "input"] = ((3 * w, w), 0.0)
            out[m + "conv"] = ((w, c["conv"]["kernel"]), 0.0)
            out[m + "output"] = ((w, w), 0.0)
        kind, hidden = c["channel"]["kind"], c["channel"]["hidden"]
        if kind != "none":
            out[p + "channel_norm"] = ((w,), 1.0)
            if kind == "swiglu":
                out[p + "channel.gate"] = ((hidden, w), 0.0)
            out[p + "channel.up"] = ((hidden, w), 0.0)
            out[p + "channel.down"] = ((w, hidden), 0.0)
    out["final_norm"] = ((w,), 1.0)
    if not c["tied_embeddings"]:
        out["head"] = ((VOCABULARY, w), 0.0)
    return out


def draw(c, generator):
    weights = {}
    for name, (shape, center) in shapes(c).items():
        deviation = 0.15 if len(shape) == 1 else 0.7 / math.sqrt(shape[1])
        weights[name] = (center + deviation * torch.randn(shape, generator=generator)).requires_grad_()
    return weights


def norm(x, weight):
    return x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + EPSILON) * weight


def rotate(x, positions):
    half = x.shape[-1] // 2
    angles = positions[:, None] * (10000.0 ** (-torch.arange(half) / half))[None]
    cos, sin = angles.cos()[:, None], angles.sin()[:, None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attention(w, p, x, c):
    a, t = c["attention"], x.shape[0]
    def heads(name, count):
        y = F.linear(x, w[p + name], w[p + name + "_bias"])
        return y.view(t, count, a["head_dim"])
    q = norm(heads("query", a["heads"]), w[p + "query_norm"])
    k = norm(heads("key", a["kv_heads"]), w[p + "key_norm"])
    v = heads("value", a["kv_heads"])
    positions = torch.arange(t).float()
    q, k = rotate(q, positions), rotate(k, positions)
    group = a["heads"] // a["kv_heads"]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = torch.einsum("thd,shd->hts", q.to(v.dtype), k.to(v.dtype)) / math.sqrt(a["head_dim"])
    mask = torch.full((t, t), float("-inf")).triu(1)
    pattern = torch.softmax(scores.float() + mask, -1)
    y = torch.einsum("hts,shd->thd", pattern.to(v.dtype), v).reshape(t, -1)
    return F.linear(y, w[p + "output"], w[p + "output_bias"])


def short_conv(x, kernel):
    taps = kernel.shape[1]
    padded = F.pad(x.float().T[None], (taps - 1, 0))
    return F.conv1d(padded, kernel[:, None, :], groups=kernel.shape[0])[0].T


def delta(w, p, x, c):
    d, t = c["delta"], x.shape[0]
    h = d["heads"]
    q, k, v = (
        F.silu(short_conv(F.linear(x, w[p + name]), w[p + name + "_conv"])).view(t, h, -1)
        for name in ["query", "key", "value"]
    )
    unit = lambda y: y * torch.rsqrt(y.pow(2).sum(-1, keepdim=True) + 1e-6)
    q, k = unit(q), unit(k)
    g = -w[p + "log_rate"].exp() * F.softplus(F.linear(x, w[p + "decay"]).float() + w[p + "decay_bias"])
    beta = torch.sigmoid(F.linear(x, w[p + "strength"]).float())
    if d["negative_eigenvalues"]:
        beta = 2 * beta
    state, outputs = torch.zeros(h, d["key_dim"], d["value_dim"]), []
    for i in range(t):
        state = state * g[i].exp()[:, None, None]
        u = beta[i][:, None] * (v[i] - (k[i][:, :, None] * state).sum(1))
        state = state + k[i][:, :, None] * u[:, None, :]
        outputs.append((q[i][:, :, None] * state).sum(1) / math.sqrt(d["key_dim"]))
    o = norm(torch.stack(outputs), w[p + "output_norm"]).reshape(t, -1)
    gate = F.linear(x, w[p + "gate"])
    gate = F.silu(gate) if d["gate"] == "silu" else torch.sigmoid(gate)
    return F.linear(o * gate, w[p + "output"])


def conv(w, p, x, c):
    b, c_, x = F.linear(x, w[p + "input"]).chunk(3, -1)
    return F.linear(c_ * short_conv(b * x, w[p + "conv"]), w[p + "output"])


def channel(w, p, x, kind):
    up = F.linear(x, w[p + "up"])
    y = F.silu(F.linear(x, w[p + "gate"])) * up if kind == "swiglu" else F.relu(up) ** 2
    return F.linear(y, w[p + "down"])


def hidden(w, tokens, c):
    x = w["embed"][tokens]
    for i, mixer in enumerate(c["layers"]):
        p = f"blocks.{i}."
        mix = {"attention": attention, "delta": delta, "conv": conv}[mixer]
        x = x + mix(w, p + "mixer.", norm(x, w[p + "mixer_norm"]), c)
        if c["channel"]["kind"] != "none":
            x = x + channel(w, p + "channel.", norm(x, w[p + "channel_norm"]), c["channel"]["kind"])
    return norm(x, w["final_norm"])


def loss(w, tokens, c):
    """The mean over all next-token predictions of all documents."""
    losses = []
    for start, end in zip(STARTS, STARTS[1:] + [TOKENS]):
        document = tokens[start:end]
        logits = F.linear(hidden(w, document, c), w["embed" if c["tied_embeddings"] else "head"])
        losses.append(F.cross_entropy(logits[:-1].float(), document[1:], reduction="none"))
    return torch.cat(losses).mean()


def gradients(w, tokens, c, autocast=False):
    for weight in w.values():
        weight.grad = None
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value = loss(w, tokens, c)
    value.backward()
    return value.item(), {name: weight.grad.clone() for name, weight in w.items()}


def adamw(w, tokens, c):
    w = {name: weight.detach().clone().requires_grad_() for name, weight in w.items()}
    decays = lambda name: w[name].dim() == 2 and name != "embed"
    matrices = [weight for name, weight in w.items() if decays(name)]
    vectors = [weight for name, weight in w.items() if not decays(name)]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8,
    )
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        value = loss(w, tokens, c)
        value.backward()
        losses.append(value.item())
        optimizer.step()
    losses.append(loss(w, tokens, c).item())
    return torch.tensor(losses)


def write(path, tensors):
    header, data = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.detach().contiguous().float().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for index, (name, c) in enumerate(CASES.items()):
        generator = torch.Generator().manual_seed(100 + index)
        w = draw(c, generator)
        tokens = torch.randint(0, VOCABULARY, (TOKENS,), generator=generator)
        value, exact = gradients(w, tokens, c)
        _, rounded = gradients(w, tokens, c, autocast=True)
        relative = {n: (rounded[n] - g).norm() / g.norm() for n, g in exact.items()}
        folder = OUT / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(c, indent=1) + "\n")
        record = {"tokens": tokens, "starts": torch.tensor(STARTS), "loss": torch.tensor([value])}
        record["adamw"] = adamw(w, tokens, c)
        record |= {f"weights.{n}": t for n, t in w.items()}
        record |= {f"gradients.{n}": t for n, t in exact.items()}
        record |= {f"autocast.{n}": t.reshape(1) for n, t in relative.items()}
        write(folder / "recorded.safetensors", record)
        least = min(g.norm().item() for g in exact.values())
        worst = max(relative.values()).item()
        print(f"{name}: loss {value:.4f}, least gradient norm {least:.2e}, autocast up to {worst:.1e},",
              f"AdamW {record['adamw'][0]:.4f} -> {record['adamw'][-1]:.4f}")


if __name__ == "__main__":
    main()
