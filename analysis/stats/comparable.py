"""Which metrics runs can be ranked by, where settings vary that change what a metric measures. Pure.

As trials/measurements.py has it, which the analysis does not import; tests/test_comparable.py compares the two.
"""

from collections.abc import Iterable, Mapping

from analysis.load.contract import DEPENDS_ON, OWN, READ_BY_LOSS


def incomparable_along(metric: str, varied: Iterable[str], loss: str | None) -> list[str]:
    """Those of the settings that vary which change what the metric measures: trials cannot be ranked by it.

    loss: the one that all have, where it does not vary and is known; a loss's own settings count only for that loss.
    """
    depends_on, varied = DEPENDS_ON.get(metric, ()), set(varied)
    found = varied & set(depends_on)
    if "loss" in depends_on and "loss" not in varied and loss is not None:
        found -= {name for name, losses in READ_BY_LOSS.items() if not may_read(loss, name, losses)}
    if "augment" in depends_on or ("loss" in depends_on and OWN in (loss or OWN)):  # own code may read any of its own
        found |= {name for name in varied if name.startswith("own.")}
    return sorted(found)


def may_read(loss: str, name: str, losses: tuple[str, ...]) -> bool:
    """Whether the loss looks at the setting, which `losses` do; a user's own may be taken over a whole batch."""
    return loss in losses or (OWN in loss and name == "batch_size")


def varied_settings(*studies: Mapping) -> tuple[set[str], str | None]:
    """The axes of the studies (study.json), and the fixed settings in which they differ; and the loss that all have."""
    fixed = [{**study["space"].get("fixed", {}), **study["fixed"]} for study in studies]
    axes = {name for study in studies for name in study["space"].get("axes") or {}}
    names = {name for each in fixed for name in each} - axes
    differ = {name for name in names if len({repr(each.get(name)) for each in fixed}) > 1}
    losses = {each.get("loss") for each in fixed}
    return axes | differ, losses.pop() if len(losses) == 1 else None
