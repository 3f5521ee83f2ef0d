"""Faults planted into real training on pets, and what the diagnosis says of each: a confusion matrix.

    python benchmarks/fault_injection.py --half open          # what the diagnosis may be built on
    python benchmarks/fault_injection.py --half held_out      # what it is judged by, once
    python benchmarks/fault_injection.py --fault NAME
    python benchmarks/fault_injection.py --network smp_unet   # the same faults in a plain loop under segstudy.watch

A fault (benchmarks/faults) changes the state or the batch right before a training step. Judged are cause, phase and
module (a prefix is enough) against the truth that stands beside the injector. Rows go to --out as JSON lines.
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

import trials.training
from benchmarks.faults import BASE, FAULTS, Fault, fault_named, half
from benchmarks.faults.in_loop import can_be_planted, planted_in_loop, truth_of
from trials.config import TrialConfig
from trials.numerics.explaining.record import DivergenceRecord, read

NETWORKS = ("ours", "smp_unet")  # a trial of ours; or a plain loop of a foreign network under segstudy.watch
NONE = "(no alarm)"
BUDGET_S = 5.0  # for remedies and modules, which are not judged here


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("open", "held_out"))
    parser.add_argument("--fault", help="a part of names")
    parser.add_argument("--network", choices=NETWORKS, default="ours")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="a file for the rows, JSON lines; what it has is not run again")
    options = parser.parse_args()
    chosen = [
        fault.name
        for fault in FAULTS
        if (not options.half or half(fault) == options.half) and (not options.fault or options.fault in fault.name)
        if options.network == "ours" or can_be_planted(fault)
    ]
    started = time.perf_counter()
    rows = [row for row in rows_of(options.out) if row["fault"] in chosen and row["network"] == options.network]
    chosen = [name for name in chosen if name not in {row["fault"] for row in rows}]
    with multiprocessing.get_context("spawn").Pool(
        options.processes, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        for row in pool.imap_unordered(partial(judged, network=options.network), chosen):
            rows.append(row)
            if not row["right"]:
                print(f"{row['fault']}: wanted {row['truth']}, got {row['found']} ({row['where']})", flush=True)
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(confusion(rows))
    print(f"{time.perf_counter() - started:.0f} s")


def rows_of(path: Path | None) -> list[dict[str, Any]]:
    """The rows that a run before has left."""
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path and path.is_file() else []
    return [{"network": "ours", **row} for row in rows]


def judged(name: str, network: str = "ours") -> dict[str, Any]:
    """The fault's truth beside what divergence.json says, as a row. network: of NETWORKS."""
    fault = fault_named(name)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        started = time.perf_counter()
        record = planted(fault, out) if network == "ours" else planted_in_loop(fault, out)
        seconds = time.perf_counter() - started
    truth = {"cause": fault.cause, "phase": fault.phase, "module": fault.module}
    truth = truth if network == "ours" else truth_of(fault)
    diagnosis = record.diagnosis if record else None
    found = {key: getattr(diagnosis, key) if diagnosis else NONE for key in truth}
    right = {
        "cause": found["cause"] == truth["cause"],
        "phase": truth["phase"] is None or found["phase"] == truth["phase"],
        "module": truth["module"] is None or is_within(found["module"], truth["module"]),
    }
    return {
        "network": network,
        "fault": name,
        "half": half(fault),
        "truth": truth,
        "found": found,
        "judged": right,
        "right": all(right.values()),
        "where": record.where if record else None,
        "steps_late": record.event.step - fault.first_step if record and network == "ours" else None,
        "remedies": [remedy.name for remedy in diagnosis.remedies if remedy.worked] if diagnosis else [],
        "float32_modules": diagnosis.float32_modules if diagnosis else None,
        "diagnosis_s": record.diagnosis_s if record else None,
        "seconds": seconds,
    }


def is_within(module: str | None, truth: str) -> bool:
    """Whether the module is the true one or a part of it."""
    return module is not None and (module == truth or module.startswith(f"{truth}."))


def planted(fault: Fault, out: Path) -> DivergenceRecord | None:
    """Trains a trial of ours with the fault; None where nothing went wrong."""
    config = TrialConfig.from_dict({**BASE, **fault.config, "diagnosis_budget_s": BUDGET_S})
    step = trials.training.train_step

    def faulty_step(state, batch, watch, config):
        planted_batch = fault.plant(state, batch) if state.step >= fault.first_step else batch
        return step(state, planted_batch, watch, config)

    trials.training.train_step = faulty_step
    try:
        with fault.around():
            for _ in trials.training.run(config, out=out):
                pass
    finally:
        trials.training.train_step = step
    return read(out)


def confusion(rows: list[dict[str, Any]]) -> str:
    """True causes down, found ones across, as a Markdown table; then the shares that are right."""
    counts = Counter((row["truth"]["cause"], row["found"]["cause"]) for row in rows)
    causes = sorted({cause for pair in counts for cause in pair})
    lines = ["| true cause | " + " | ".join(causes) + " |", "|---" * (len(causes) + 1) + "|"]
    for true in sorted({true for true, _ in counts}):
        lines.append(f"| {true} | " + " | ".join(str(counts[true, found] or "") for found in causes) + " |")
    shares = []
    for key in ("cause", "phase", "module"):
        counted = [row for row in rows if row["truth"][key] is not None]
        shares.append(f"{key} {sum(row['judged'][key] for row in counted)} of {len(counted)}")
    return "\n".join([*lines, "", f"right: {', '.join(shares)}"])


if __name__ == "__main__":
    main()
