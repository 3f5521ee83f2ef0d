"""The layers of a user's network over its steps: which is closest to float16's limit, and which will pass it first."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from trials.numerics.finite import finite_or_none
from trials.numerics.watching.forecast import first_overflow
from trials.numerics.watching.layers import HALF_MAX, LayerProbe, append_layers, largest_by_layer, tightest
from trials.numerics.watching.monitor import SAMPLE_EVERY


class LayerHistory:
    """`sampled` surrounds each step; one in SAMPLE_EVERY, the first included, is looked at.

    hooks: False for a network that is compiled: hooks on its layers would not be called.
    """

    def __init__(self, network: nn.Module, out: Path, *, hooks: bool = True):
        self._layers = {name: each for name, each in network.named_modules() if name and not list(each.children())}
        self._weighted = {name for name, each in self._layers.items() if any(True for _ in each.parameters())}
        self._out, self._hooks = out, hooks
        self._probe: LayerProbe | None = None  # the last one, which the host has not looked at yet
        self._largest: dict[str, dict[int, float]] = {}  # by layer, then by sample, from 1
        self._num_samples = 0
        self._tightest: dict[str, Any] | None = None
        self.head: list[str] = []

    @contextmanager
    def sampled(self, step: int) -> Iterator[None]:
        """step: from 1."""
        if not self._hooks or (step - 1) % SAMPLE_EVERY:
            yield
            return
        self._read()
        self._probe = LayerProbe(self._layers, step)
        with self._probe:
            yield
        self.head = self.head or self._head(self._probe.order)

    def _head(self, order: list[str]) -> list[str]:
        """The last layer with weights that ran, and those after it."""
        last = max((place for place, name in enumerate(order) if name in self._weighted), default=None)
        return [] if last is None else order[last:]

    def _read(self) -> None:
        """Brings the last sample to the host, long after the device has it."""
        if self._probe is None:
            return
        rows = self._probe.rows()
        self._probe = None
        self._num_samples += 1
        for layer, largest in largest_by_layer(rows).items():
            self._largest.setdefault(layer, {})[self._num_samples] = largest
        if row := tightest(rows):
            self._tightest = {"layer": row.layer, "step": row.step, "largest": finite_or_none(row.activation_max)}
        append_layers(self._out, rows, None)

    def headroom(self) -> dict[str, Any] | None:
        """The layer closest to float16's limit in the last sample, and the forecast; None where none was taken.

        largest: null where it was not finite. overflow_in_steps: null where no layer grows towards the limit.
        """
        self._read()
        if self._tightest is None:
            return None
        layer, left = first_overflow(self._largest, self._num_samples)
        steps = None if left is None else left * SAMPLE_EVERY
        return {**self._tightest, "limit": HALF_MAX, "overflow_layer": layer, "overflow_in_steps": steps}
