"""The door: what others may import, and `python -m segstudy`; everything else belongs to the program.

    watch = segstudy.watch(model, optimizer, scaler=scaler, out="runs/mine")
    for batch in loader:
        with watch.step(batch):
            ...                                  # forward, loss, backward, update, as ever
        if watch.broken:
            print(watch.explain(loss=lambda model, batch: criterion(model(batch["image"]), batch["mask"])))
            break
"""

import sys

from trials.numerics.watch import Watch as watch

__all__ = ["watch"]


if __name__ == "__main__":
    from trials.numerics.explain_command import main

    sys.exit(main())
