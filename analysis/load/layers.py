"""A trial's layers.jsonl -> its layers' headroom by epoch: how far each one's activations are from float16's limit."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.load.json_files import read_lines

FLOAT16_MAX = 65504.0
FILE = "layers.jsonl"


@dataclass(frozen=True)
class Headroom:
    """How many doublings each layer's largest activation of an epoch is from float16's largest number."""

    layers: list[str]  # in the order of the forward pass
    epochs: list[int]  # all from the first to the last, also those that were not measured
    bits: np.ndarray  # [layers, epochs]: log2(65504 / largest activation); -inf past the limit, nan if not measured
    first_bad: str | None  # the module whose output went wrong first, by the diagnosis


def read_headroom(trial: Path, first_bad: str | None) -> Headroom | None:
    """Of the newest layers.jsonl in a trial's folder; None where there is none that can be read."""
    found = sorted([*trial.glob(FILE), *trial.glob(f"checkpoint*/{FILE}")])
    rows = read_lines(found[-1])[0] if found else []
    rows = [row for row in rows if isinstance(row.get("epoch"), int) and isinstance(row.get("layer"), str)]
    if not rows:
        return None
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    seen = {row["epoch"] for row in rows}
    epochs = list(range(min(seen), max(seen) + 1))
    bits = np.full((len(layers), len(epochs)), np.nan)
    places = {name: place for place, name in enumerate(layers)}, {epoch: place for place, epoch in enumerate(epochs)}
    for row in rows:  # of several samples of an epoch, the one nearest to the limit
        place = places[0][row["layer"]], places[1][row["epoch"]]
        if "activation_max" in row:
            bits[place] = np.fmin(bits[place], bits_left(row["activation_max"]))
    return None if np.isnan(bits).all() else Headroom(layers, epochs, bits, first_bad)


def bits_left(largest: object) -> float:
    """Doublings until float16's largest number. The monitor writes null for a value that was not finite."""
    if not isinstance(largest, int | float) or isinstance(largest, bool) or not math.isfinite(largest):
        return -math.inf
    return math.log2(FLOAT16_MAX / largest) if largest > 0 else math.inf


def is_in(layer: str, module: str | None) -> bool:
    """Whether a layer is a module or lies in it."""
    return module is not None and (layer == module or layer.startswith(module + "."))
