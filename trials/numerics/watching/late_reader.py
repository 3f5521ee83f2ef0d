"""Numbers from the device for the host, without waiting for them: they arrive some steps later."""

from collections import deque
from typing import Any

import torch
from torch import Tensor


class LateReader:
    """`push` after each step; `arrived` gives what is there by then, at the latest `most_late` steps after its push.

    On CUDA each row is copied into pinned memory, and is read once an event says that the copy is done. On other
    devices rows are collected and read together, with one wait for `most_late` of them. On a CPU (most_late 0) each is
    read at once.
    """

    def __init__(self, device: torch.device, most_late: int):
        self._is_cuda, self._most_late = device.type == "cuda", most_late
        self._pending: deque[tuple[int, Tensor, Any]] = deque()

    def push(self, step: int, row: Tensor) -> None:
        """A row of numbers [n]; all rows are of one length and dtype."""
        if not self._is_cuda:
            self._pending.append((step, row, None))
            return
        host = torch.empty(row.shape, dtype=row.dtype, pin_memory=True)
        host.copy_(row, non_blocking=True)
        done = torch.cuda.Event()
        done.record()
        self._pending.append((step, host, done))

    def arrived(self, *, wait: bool = False) -> list[tuple[int, list[float]]]:
        """Steps and their rows, in order. wait: for all that were pushed."""
        if self._is_cuda:
            return self._arrived_events(wait)
        if not self._pending or (len(self._pending) <= self._most_late and not wait):
            return []
        rows = torch.stack([row for _, row, _ in self._pending]).tolist()
        steps = [step for step, _, _ in self._pending]
        self._pending.clear()
        return list(zip(steps, rows, strict=True))

    def _arrived_events(self, wait: bool) -> list[tuple[int, list[float]]]:
        rows = []
        while self._pending:
            step, host, done = self._pending[0]
            if not done.query():
                if not wait and len(self._pending) <= self._most_late:
                    break
                done.synchronize()
            self._pending.popleft()
            rows.append((step, host.tolist()))
        return rows
