"""The account of a divergence, divergence.json: when, where and why, what would cure it, and what it cost."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trials.numerics import capsule
from trials.numerics.explaining.remedies import MAX_SETS
from trials.numerics.explaining.rules import diagnose, undiagnosed
from trials.numerics.watching.health import Divergence

SCHEMA_VERSION = 2  # 1: a remedy that there was no time for was missing
FILE, CAPSULE = "divergence.json", "capsule"  # beside the checkpoints


def read(folder: Path) -> dict[str, Any] | None:
    """The account in a folder; None where there is none."""
    path = folder / FILE
    return json.loads(path.read_text()) if path.is_file() else None


def search_gap(account: Mapping[str, Any]) -> str | None:
    """What the search for remedies left out, and why, as a clause; None where it came to its end.

    account: divergence.json's content, or what `diagnose` gives.
    """
    if account["search_complete"]:
        return None
    if error := account["evidence"].get("error"):
        return f"not made: re-running the step raised {error}"
    named = [remedy["name"] for remedy in account["remedies"]]
    untried = [remedy["name"] for remedy in account["remedies"] if not remedy.get("tried", True)]
    missing = [f"{', '.join(untried)} not tried"] if untried else []
    if account["float32_modules"]:
        missing.append(f"fewer than the {len(account['float32_modules'])} modules listed may suffice in float32")
    elif "float32" in named and "float32" not in untried:
        missing.append("the search for modules that need float32 did not end")
    budget_s, cut_by = account.get("search_budget_s"), account.get("search_cut_by")
    after = "cut short" if budget_s is None else f"cut short after {budget_s:g} s"
    after = f"cut short after {MAX_SETS} sets of modules" if cut_by == "sets" else after
    return f"{after}: {'; '.join(missing)}" if missing else after


class Account:
    """Of one run's first event; written when it is explained, and again while the run goes on."""

    def __init__(self, out: Path, event: Divergence, seconds_before: float):
        self._out, self._event, self._seconds_before = out, event, seconds_before
        self._seconds_after = 0.0
        self.told: dict[str, Any] = {}

    @classmethod
    def taken_up(cls, out: Path, epoch: int) -> "Account | None":
        """The account that an interrupted run had written; None where its event lies after `epoch`, and so ahead."""
        told = read(out)
        if told is None or told["epoch"] > epoch:
            return None
        account = cls(out, Divergence(told["step"], told["where"]), told["seconds_before"])
        account._seconds_after, account.told = told.pop("seconds_after"), told
        return account

    def explain(self, device: torch.device) -> None:
        """Diagnoses the capsule that was written, on the device, and writes divergence.json."""
        started = time.perf_counter()
        kept = capsule.read(self._out / CAPSULE)
        threads = torch.get_num_threads()
        rng = torch.get_rng_state()  # building networks draws from it, and the run may go on
        try:
            found = self._diagnosed(kept, device)
        finally:
            torch.set_rng_state(rng)
            torch.set_num_threads(threads)
        first, event = kept.facts["first_sign"], kept.facts["event"]
        self.told = {
            "schema_version": SCHEMA_VERSION,
            "cause": found["cause"],
            "blame": found["blame"],
            "where": self._event.where,
            "epoch": event["epoch"],
            "step": self._event.step,
            "phase": found["phase"],
            "module": found["module"],
            "op": found["op"],
            "first_sign": {"epoch": first["epoch"], "step": first["step"]} if first else None,
            "remedies": found["remedies"],
            "float32_modules": found["float32_modules"],
            "float32_step": found["float32_step"],
            "search_complete": found["search_complete"],
            "search_cut_by": found["search_cut_by"],
            "search_budget_s": found["search_budget_s"],
            "evidence": found["evidence"],
            "on_divergence": kept.config.on_divergence,
            "capsule": {"folder": CAPSULE, "sha256": kept.facts["sha256"]},
            "seconds_before": self._seconds_before,
            "diagnosis_s": time.perf_counter() - started,
        }
        self._write()

    @staticmethod
    def _diagnosed(kept: capsule.Capsule, device: torch.device) -> dict[str, Any]:
        """The diagnosis; on the CPU where the device has no room beside the run; undetermined where the step raises."""
        for place in dict.fromkeys((device, torch.device("cpu"))):
            try:
                return diagnose(kept, kept.config.diagnosis_budget_s, place)
            except (RuntimeError, ValueError) as error:  # of the captured step; the run's own end must still be told
                text = f"{type(error).__name__}: {error}"
        return undiagnosed(text)

    def went_on(self, seconds: float) -> None:
        """The run trained on for so long."""
        self._seconds_after += seconds
        self._write()

    def _write(self) -> None:
        partial = self._out / f".{FILE}.part"
        content = {**self.told, "seconds_after": self._seconds_after}
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
        partial.replace(self._out / FILE)
