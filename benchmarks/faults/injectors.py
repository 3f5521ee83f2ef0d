"""All faults, and which half each belongs to: one that a diagnoser may be built on, one that it is judged by."""

from collections import Counter

from benchmarks.faults.activations import forward_overflow, saturated_head
from benchmarks.faults.batches import bad_data
from benchmarks.faults.fault import Fault
from benchmarks.faults.losses import loss_domain
from benchmarks.faults.statistics import poisoned_batchnorm, running_stats_explosion
from benchmarks.faults.updates import optimizer_instability, scale_collapse

HALVES = ("open", "held_out")
FAULTS: tuple[Fault, ...] = (
    *saturated_head(),
    *forward_overflow(),
    *scale_collapse(),
    *poisoned_batchnorm(),
    *running_stats_explosion(),
    *optimizer_instability(),
    *loss_domain(),
    *bad_data(),
)


def fault_named(name: str) -> Fault:
    """The one of that name."""
    return next(fault for fault in FAULTS if fault.name == name)


def half(fault: Fault) -> str:
    """ "open" or "held_out"."""
    return _HALF_OF[fault.name]


def _halves(faults: tuple[Fault, ...]) -> dict[str, str]:
    """Each kind in both halves, evenly; then causes with their networks, times, precisions and places."""
    seen: Counter[tuple] = Counter()
    halves: dict[str, str] = {}
    for fault in faults:
        amp, part = fault.config.get("amp", False), (fault.module or "").split(".")[0]
        keys = [(fault.cause, group) for group in ("", fault.when, fault.model, fault.model, amp, part)]

        def crowding(half: str, fault: Fault = fault, keys: list[tuple] = keys) -> int:
            return 100 * seen[half, fault.kind] + sum(seen[half, *key] for key in keys)

        chosen = min(HALVES, key=crowding)
        seen.update([(chosen, fault.kind), *((chosen, *key) for key in keys)])
        halves[fault.name] = chosen
    assert len(halves) == len(faults), "two faults of one name"
    return halves


_HALF_OF = _halves(FAULTS)
