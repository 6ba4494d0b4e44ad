"""Training speed beside PyTorch, interleaved on the same machine; writes the section of BENCHMARKS.md.

    cargo build --release
    python bench/train.py PYTHON TORCH_GPT ROUNDS [CONFIG …]

PYTHON is an interpreter with torch (and transformers, peft for lora and full), TORCH_GPT the script that trains tiny,
gpt-5m and gpt-30m with it; lora and full use bench/torch_smollm2.py. Every mode of the peer runs once, then the best
one and Gewu take turns; modes in bf16 only where the processor multiplies it (elsewhere PyTorch is dozens of times
slower in it). The table gives medians over the rounds. A second part compares losses from several seeds.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

GEWU = "target/release/gewu"
STEPS = {"tiny": 60, "gpt-5m": 15, "gpt-30m": 4, "lora": 2, "full": 2}
OTHERS = ["fp32", "bf16", "fp32compile", "bf16compile"]
SEEDS = {"tiny": 8, "gpt-5m": 8}
MODES = {"lora": ["fp32", "bf16", "autocast"], "full": ["fp32", "bf16", "autocast"]}
PROCESSOR = open("/proc/cpuinfo").read()
HAS_BF16 = "avx512_bf16" in PROCESSOR or "amx_bf16" in PROCESSOR
HEADING = "## Training beside PyTorch" if HAS_BF16 else "## Training beside PyTorch, without AVX-512"


def run(command):
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(lines[lines.index("{") :])


def ours(config, steps, *extra):
    return run([GEWU, "bench", "train", "--config", config, "--steps", str(steps), "--json", *extra])


def peer(python, script, config, mode, steps):
    if config in MODES:
        return run([python, "bench/torch_smollm2.py", config, mode, str(steps)])
    return run([python, script, config, mode, str(steps)])


def compare(python, script, rounds, config):
    steps = STEPS[config]
    modes = [mode for mode in MODES.get(config, OTHERS) if HAS_BF16 or mode.startswith("fp32")]
    first = {mode: peer(python, script, config, mode, steps) for mode in modes}
    best = max(first, key=lambda mode: first[mode]["tokens_per_s"])
    pairs = [(peer(python, script, config, best, steps), ours(config, steps)) for _ in range(rounds)]
    middle = lambda side, key: statistics.median(pair[side][key] for pair in pairs)
    theirs, own = middle(0, "tokens_per_s"), middle(1, "tokens_per_s")
    memory = ""
    if config in MODES:
        memory = f"{middle(1, 'rss_bytes') / 1e9:.2f} / {middle(0, 'rss_bytes') / 1e9:.2f} GB"
    spread = ", ".join(f"{pair[1]['tokens_per_s'] / pair[0]['tokens_per_s']:.2f}" for pair in pairs)
    return f"| {config} | {best} | {theirs:,.0f} | {own:,.0f} | {own / theirs:.2f} | {spread} | {middle(1, 'peak_fraction') * 100:.0f} % | {memory} |"


def seeded(script, seed):
    """A copy of the peer's script that begins from another seed."""
    text = open(script).read()
    assert "manual_seed(0)" in text, f"{script} sets no seed"
    text = text.replace("manual_seed(0)", f"manual_seed({seed})")
    copy = os.path.join(tempfile.mkdtemp(), "peer.py")
    open(copy, "w").write(text)
    return copy


def losses(python, script, config):
    """Losses of the last of 100 steps, each side from its own weights and stream."""
    own, theirs = [], []
    for seed in range(SEEDS[config]):
        theirs.append(peer(python, seeded(script, seed), config, "fp32", 97)["loss"])
        own.append(ours(config, 97, "--seed", str(seed))["loss"])
    means = [statistics.mean(side) for side in (theirs, own)]
    ranges = [f"{mean:.3f} ({min(side):.3f}–{max(side):.3f})" for mean, side in zip(means, (theirs, own))]
    return f"| {config} | {len(own)} | {ranges[0]} | {ranges[1]} | {(means[1] / means[0] - 1) * 100:+.1f} % |"


def main(python, script, rounds, configs):
    versions = run([python, "-c", "import torch, json; print(json.dumps({'torch': torch.__version__}))"])
    rows = ["| configuration | PyTorch's best mode | its tokens/s | Gewu's | ratio | of each round | of the peak | memory, Gewu / PyTorch |", "|---|---|---|---|---|---|---|---|"]
    for config in configs:
        rows.append(compare(python, script, rounds, config))
        print(rows[-1], flush=True)
    after = ["| configuration | seeds | PyTorch fp32 | Gewu | |", "|---|---|---|---|---|"]
    after += [losses(python, script, config) for config in configs if config in SEEDS]
    print("\n".join(after))
    processor = next(line.split(":")[1].strip() for line in PROCESSOR.splitlines() if line.startswith("model name"))
    text = f"""{HEADING}

`python bench/train.py PYTHON TORCH_GPT {rounds} {' '.join(configs)}`; {processor}, {os.cpu_count()} threads, torch {versions['torch']}. Medians of {rounds} interleaved rounds; the machine is shared, and single runs differ by a third.

{chr(10).join(rows)}

Loss of the last of 100 steps, each side from its own random weights and tokens, means and ranges over seeds:

{chr(10).join(after)}

"""
    path = "BENCHMARKS.md"
    page = open(path).read()
    section = re.compile(re.escape(HEADING) + r"\n.*?(?=^## |\Z)", re.S | re.M)
    page = section.sub(lambda _: text, page) if HEADING + "\n" in page else page.rstrip() + "\n\n" + text
    open(path, "w").write(page.rstrip() + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:] or list(STEPS))
