"""Faults planted into real training, each with what a perfect diagnoser says of it."""

from benchmarks.faults.fault import BASE, Fault
from benchmarks.faults.injectors import FAULTS, fault_named, half

__all__ = ["BASE", "FAULTS", "Fault", "fault_named", "half"]
