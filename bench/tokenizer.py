"""Token ids of a text by the `tokenizers` library and by llama-server, against ours.

    cargo run --release -p model --example dump -- text 1 200000 /tmp/mixed.txt
    cargo run --release -p model --example dump -- ids MODEL.gguf /tmp/mixed.txt /tmp/mixed.u32
    python bench/tokenizer.py MODEL.gguf /tmp/mixed.txt /tmp/mixed.u32 [--server http://127.0.0.1:PORT]

Needs: pip install tokenizers gguf numpy. Prints the number of ids, of differences, and the FNV-1a hash of
the reference ids that the test in crates/model/tests records.
"""

import argparse
import json
import urllib.request

import gguf
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def field(reader, key):
    return reader.fields[key].contents()


def reference(path):
    """The tokenizer of the GGUF file, as its model's own tokenizer.json states it."""
    reader = gguf.GGUFReader(path)
    tokens = field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(rule.split(" ", 1)) for rule in field(reader, "tokenizer.ggml.merges")]
    kinds = field(reader, "tokenizer.ggml.token_type")
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    match field(reader, "tokenizer.ggml.pre"):
        case "smollm":
            steps = [pre_tokenizers.Digits(individual_digits=True), byte_level]
        case "gpt-2":
            steps = [byte_level]
        case "qwen2":
            tokenizer.normalizer = normalizers.NFC()
            split = pre_tokenizers.Split(Regex(QWEN2), "isolated")
            steps = [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        case other:
            raise SystemExit(f"no reference for pre-tokenizer {other}")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t, k in zip(tokens, kinds) if k == 4])
    return tokenizer


def fnv(ids):
    """FNV-1a over the little-endian bytes of the ids."""
    value = 0xCBF29CE484222325
    for byte in np.asarray(ids, "<u4").tobytes():
        value = ((value ^ byte) * 0x100000001B3) % (1 << 64)
    return value


def compare(name, reference_ids, ours):
    same = list(reference_ids) == list(ours)
    print(f"{name}: {len(reference_ids)} ids, ours {len(ours)}, identical: {same}, hash {fnv(reference_ids):#018x}")
    if not same:
        at = next((i for i, (a, b) in enumerate(zip(reference_ids, ours)) if a != b), min(len(reference_ids), len(ours)))
        print(f"  first difference at {at}: {list(reference_ids[at:at + 8])} against {list(ours[at:at + 8])}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("ours")
    parser.add_argument("--server")
    args = parser.parse_args()
    with open(args.text, encoding="utf-8", newline="") as file:
        text = file.read()
    ours = np.fromfile(args.ours, "<u4").tolist()
    print(f"{len(text.encode())} bytes")
    compare("tokenizers", reference(args.model).encode(text, add_special_tokens=False).ids, ours)
    if args.server:
        body = json.dumps({"content": text, "add_special": False, "parse_special": False}).encode()
        request = urllib.request.Request(args.server + "/tokenize", body, {"Content-Type": "application/json"})
        compare("llama-server", json.load(urllib.request.urlopen(request))["tokens"], ours)


if __name__ == "__main__":
    main()
