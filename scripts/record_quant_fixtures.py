"""Records how the reference implementation reads and writes the block formats of GGUF files.

    pip install gguf numpy
    python scripts/record_quant_fixtures.py crates/kernels/src/quant/recorded.txt FILE.gguf...

A few blocks of each format come from the first tensor of that format in the files given (a quarter of the way in);
a format that no file has gets random codes under finite scales. Each line of the output is

    read FORMAT <blocks> <values>      the reference's values of these bytes
    write FORMAT <values> <blocks>     the reference's bytes of these values

with bytes in hexadecimal and values as the big-endian hexadecimal bits of f32.
"""

import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type, GGUFReader, quants

SCALES = {  # byte offsets of the f16 numbers in a block
    Type.Q8_0: [0], Type.Q4_0: [0], Type.Q5_0: [0], Type.Q4_1: [0, 2], Type.Q5_1: [0, 2],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}
WRITTEN = [Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0]


def find(kind, files):
    """Bytes of the first tensor of a type."""
    for file in files:
        for tensor in GGUFReader(file).tensors:
            if tensor.tensor_type == kind:
                return np.ascontiguousarray(tensor.data).view(np.uint8).reshape(-1)
    return None


def invented(kind, count, random):
    """Random blocks whose values are finite."""
    size = GGML_QUANT_SIZES[kind][1]
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)
    if kind == Type.BF16:
        return (random.standard_normal(count).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    if kind == Type.F16:
        return random.standard_normal(count).astype(np.float16).view(np.uint8)
    for at in SCALES[kind]:
        scales = (random.standard_normal(count) * 0.03).astype(np.float16)
        blocks[:, at : at + 2] = scales.view(np.uint8).reshape(count, 2)
    return blocks.reshape(-1)


def hexadecimal(values):
    return np.ascontiguousarray(values, dtype=np.float32).reshape(-1).view(np.uint32).astype(">u4").tobytes().hex()


def awkward(random):
    """Rows that test rounding: ordinary, zero, ties, tiny, one large, all alike."""
    rows = random.standard_normal((6, 32)).astype(np.float32)
    rows[0] *= 0.05
    rows[1] = 0
    rows[2] = np.arange(-16, 16) / 2  # scale 1 in Q4_0: every tie
    rows[3] *= 1e-9
    rows[4, 7] = 1000
    rows[5] = -0.37
    return rows


def main(out, files):
    random = np.random.default_rng(20240229)
    lines = []
    for kind in [Type.F16, Type.BF16, *SCALES]:
        length, size = GGML_QUANT_SIZES[kind]
        count = max(1, 64 // length) if length > 1 else 32
        stored = find(kind, files)
        if stored is None:
            blocks = invented(kind, count, random)
        else:
            start = stored.size // size // 4 * size
            blocks = stored[start : start + count * size]
        lines.append(f"read {kind.name} {blocks.tobytes().hex()} {hexadecimal(quants.dequantize(blocks, kind))}")
    values = awkward(random)
    for kind in WRITTEN:
        blocks = quants.quantize(values, kind)
        lines.append(f"write {kind.name} {hexadecimal(values)} {np.ascontiguousarray(blocks).tobytes().hex()}")
    with open(out, "w") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
