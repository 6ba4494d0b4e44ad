"""How soon Muon reaches the held-out loss of AdamW on a text; prints a table for BENCHMARKS.md.

    cargo build --release -p train --example text_loss
    python bench/muon.py TEXT FOLDER [ADAMW_STEPS MUON_STEPS]

Both optimizers train gpt-5m on the bytes of TEXT with a cosine; each takes the best of RATES on seed 0, then runs with
the other SEEDS. One run per processor at a time, each on one thread, so seconds are not taken from them but from short
runs afterwards, in turn, with all threads. FOLDER keeps the settings and what every run printed: runs that are there
are not run again.
"""

import concurrent.futures
import json
import os
import pathlib
import queue
import statistics
import subprocess
import sys

PROGRAM = "target/release/examples/text_loss"
RATES = {"adamw": [2.5e-4, 5e-4, 1e-3, 2e-3], "muon": [2e-3, 4e-3]}
SEEDS = [0, 1, 2]
ROUNDS = 5


def settings(method, rate, steps, seed):
    schedule = {"warmup": 20, "shape": {"kind": "cosine", "floor": 0.1}}
    optimizer = {"method": method}
    return {"optimizer": optimizer, "schedule": schedule, "rate": rate, "steps": steps, "seed": seed, "evaluate_every": 100}


def lines(text, folder, name, wanted, processor=None):
    """What a run printed, of a run that may have been made before."""
    out = folder / f"{name}.jsonl"
    if not out.exists():
        file = folder / f"{name}.json"
        file.write_text(json.dumps(wanted))
        command = [PROGRAM, text, str(file)]
        if processor is not None:
            command = ["taskset", "-c", str(processor), *command]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        out.write_text(printed)
    return [json.loads(line) for line in out.read_text().splitlines()]


def main(text, folder, steps):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    processors = queue.Queue()
    for processor in sorted(os.sched_getaffinity(0)):
        processors.put(processor)

    def loss(method, rate, seed):
        processor = processors.get()
        try:
            name = f"{method}-{rate:g}-{steps[method]}-{seed}"
            return lines(text, folder, name, settings(method, rate, steps[method], seed), processor)[-1]["held_out"]
        finally:
            processors.put(processor)

    with concurrent.futures.ThreadPoolExecutor(processors.qsize()) as pool:
        tuned = {(method, rate): pool.submit(loss, method, rate, 0) for method in RATES for rate in RATES[method]}
        tuned = {key: job.result() for key, job in tuned.items()}
        best = {method: min(RATES[method], key=lambda rate: tuned[method, rate]) for method in RATES}
        final = {(method, seed): pool.submit(loss, method, best[method], seed) for method in RATES for seed in SEEDS}
        final = {key: job.result() for key, job in final.items()}

    def seconds(method, round):
        name = f"time-{method}-{best[method]:g}-{round}"
        return lines(text, folder, name, settings(method, best[method], 60, 0))[-1]["seconds"] / 60

    rounds = [(seconds("adamw", round), seconds("muon", round)) for round in range(ROUNDS)]
    slower = statistics.median(muon / adamw for adamw, muon in rounds)
    print("rates on seed 0:", ", ".join(f"{method} {rate:g} → {value:.4f}" for (method, rate), value in tuned.items()))
    print("| seed | " + " | ".join(f"{method}, {steps[method]:,} steps at {best[method]:g}" for method in RATES) + " | apart |")
    print("|---|---|---|---|")
    for seed in SEEDS:
        values = [final[method, seed] for method in RATES]
        print(f"| {seed} | {values[0]:.4f} | {values[1]:.4f} | {values[1] - values[0]:+.4f} |")
    print(f"A step of Muon takes {slower:.2f} of one of AdamW (median of {ROUNDS} rounds), so its time is {slower * steps['muon'] / steps['adamw']:.2f} of AdamW's.")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5):
        sys.exit(__doc__)
    counts = [int(count) for count in sys.argv[3:]] or [2000, 1000]
    main(sys.argv[1], sys.argv[2], dict(zip(RATES, counts)))
