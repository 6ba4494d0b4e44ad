"""Runs datatrove's comparable pipeline on the corpus that the example `governance` generated.

Gopher quality, personal data (e-mail and IP), MinHash deduplication in its four steps, two workers. Prints one JSON
object with seconds, documents/s and MB/s.

    python -m venv V && V/bin/pip install "datatrove[processing]"
    V/bin/python crates/data/bench/minhash_peer.py /tmp/gewu-governance/corpus /tmp/gewu-datatrove
"""

import json
import shutil
import sys
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
from datatrove.pipeline.filters import GopherQualityFilter
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


def main() -> None:
    source, out = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(out, ignore_errors=True)
    files = sorted(source.glob("*.jsonl"))
    texts = [json.loads(line)["text"] for file in files for line in file.open(encoding="utf-8")]
    size = sum(len(text.encode()) for text in texts)
    config = MinhashConfig()
    tasks, workers = len(files), 2

    def run(name, pipeline, count, at_once=workers):
        start = time.perf_counter()
        LocalPipelineExecutor(
            pipeline=pipeline, tasks=count, workers=min(count, at_once), logging_dir=str(out / "logs" / name)
        ).run()
        steps[name] = time.perf_counter() - start

    steps: dict[str, float] = {}
    filtered, signatures = str(out / "filtered"), str(out / "signatures")
    buckets, removed = str(out / "buckets"), str(out / "removed")
    run(
        "quality_and_pii",
        [JsonlReader(str(source)), GopherQualityFilter(), PIIFormatter(), JsonlWriter(filtered)],
        tasks,
    )
    run("signatures", [JsonlReader(filtered), MinhashDedupSignature(signatures, config)], tasks)
    run("buckets", [MinhashDedupBuckets(signatures, buckets, config=config)], config.num_buckets)
    run("cluster", [MinhashDedupCluster(buckets, removed, config=config)], 1)
    run(
        "filter",
        [JsonlReader(filtered), MinhashDedupFilter(removed), JsonlWriter(str(out / "kept"))],
        tasks,
    )
    seconds = sum(steps.values())
    print(
        json.dumps(
            {
                "documents": len(texts),
                "bytes": size,
                "seconds": seconds,
                "steps": steps,
                "documents_per_second": len(texts) / seconds,
                "megabytes_per_second": size / 1e6 / seconds,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
