#!/usr/bin/env python3
"""Records what the `gguf` package makes of random blocks of each number format, for src/model/source/quantised.rs. `pip install gguf numpy` first;
`just reference`."""
import json, pathlib

import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf.quants import dequantize

HERE = pathlib.Path(__file__).resolve().parent
# The bytes of a block, and where in it half-precision scales stand.
FORMATS = {"F16": (2, [0]), "BF16": (2, []), "Q4_0": (18, [0]), "Q4_1": (20, [0, 2]), "Q5_0": (22, [0]), "Q5_1": (24, [0, 2]), "Q8_0": (34, [0]),
           "Q4_K": (144, [0, 2]), "Q5_K": (176, [0, 2]), "Q6_K": (210, [208])}


def main():
    random, recorded = np.random.default_rng(5), {}
    for name, (size, scales) in FORMATS.items():
        blocks = random.integers(0, 256, (2, size), dtype=np.uint8)
        for at in scales:
            blocks[:, at : at + 2] = random.normal(0, 0.1, 2).astype(np.float16).view(np.uint8).reshape(2, 2)
        if name == "BF16":
            blocks[:, 1] = 0x3F
        values = dequantize(blocks, Kind[name]).astype(np.float32).reshape(-1)
        recorded[name] = {"number": Kind[name].value, "bytes": blocks.tobytes().hex(), "values": [float(value) for value in values]}
    (HERE / "quantised.json").write_text(json.dumps(recorded) + "\n")


if __name__ == "__main__":
    main()
