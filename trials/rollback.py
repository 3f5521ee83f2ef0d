"""Back to the last good state, with a smaller learning rate: on_divergence=rollback."""

import copy

from trials.state import State

RATES = ("lr", "initial_lr", "max_lr", "min_lr")  # of an optimiser's group; the last two are the one-cycle schedule's


class Rollback:
    """The last good state, to go back to with a smaller learning rate, a bounded number of times."""

    def __init__(self, state: State, lr_factor: float, most: int):
        self._factor, self._most = lr_factor, most
        self.remember(state)

    def remember(self, state: State) -> None:
        """The state is good."""
        self._rollbacks_before = state.num_rollbacks
        self._good = copy.deepcopy(
            {name: getattr(state, name).state_dict() for name in ("model", "optimizer", "scaler", "scheduler")}
        )

    def back(self, state: State, *, keep_scale: bool) -> bool:
        """Puts the last good state back, its learning rate lowered once more; False where that was done too often.

        keep_scale: the loss scale stays as it has fallen, since the good state's froze the run. Steps are not counted
        back, so that the log stays true.
        """
        if state.num_rollbacks >= self._most:
            return False
        state.num_rollbacks += 1
        state.high_val_epochs = 0
        good, scale = copy.deepcopy(self._good), state.scaler.get_scale()
        for name, saved in good.items():
            getattr(state, name).load_state_dict(saved)
        if keep_scale and state.scaler.is_enabled():
            state.scaler.update(new_scale=scale)
        lower = self._factor ** (state.num_rollbacks - self._rollbacks_before)  # the state's own is lowered already
        for group, saved in zip(state.optimizer.param_groups, good["optimizer"]["param_groups"], strict=True):
            group |= {name: saved[name] * lower for name in RATES if name in saved}
        state.scheduler.base_lrs = [rate * lower for rate in good["scheduler"]["base_lrs"]]
        return True
