"""Reading and writing speed beside llama.cpp, interleaved on the same machine; writes the table of BENCHMARKS.md.

    cargo build --release -p model --example speed
    python bench/inference.py LLAMA_BENCH ROUNDS MODEL.gguf [MODEL.gguf …]

Each round runs llama-bench and then `speed`, both with 512 prompt tokens, 128 written tokens and 2 threads;
the table gives the medians over the rounds and their ratio.
"""

import json
import statistics
import subprocess
import sys

PROMPT, WRITTEN, THREADS = 512, 128, 2


def llama(bench, model):
    command = [bench, "-m", model, "-p", str(PROMPT), "-n", str(WRITTEN), "-t", str(THREADS), "-r", "1", "-o", "json"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    read = next(r["avg_ts"] for r in rows if r["n_prompt"] == PROMPT)
    write = next(r["avg_ts"] for r in rows if r["n_gen"] == WRITTEN)
    return read, write


def ours(model):
    command = ["target/release/examples/speed", model, str(THREADS), "1"]
    row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return row["prompt_tokens_per_second"], row["decode_tokens_per_second"]


def main(bench, rounds, models):
    print("| file | read, llama.cpp | read, Gewu | ratio | write, llama.cpp | write, Gewu | ratio |")
    print("|---|---|---|---|---|---|---|")
    for model in models:
        pairs = [(llama(bench, model), ours(model)) for _ in range(rounds)]
        middle = lambda side, kind: statistics.median(pair[side][kind] for pair in pairs)
        cells = [model.rsplit("/", 1)[-1]]
        for kind in (0, 1):
            peer, own = middle(0, kind), middle(1, kind)
            cells += [f"{peer:.0f}", f"{own:.0f}", f"{own / peer:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
