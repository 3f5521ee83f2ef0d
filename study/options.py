"""What a study was asked to do: the command line's options, complete, as they are written into study.json."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_spaces import Space
from study.combinations import check_space, ends
from study.own_code import default_head, with_files
from trials.config import TrialConfig, current, valid_value
from trials.measurements import METRICS, incomparable_along

# TrialConfig fields and numbers of trials, by how much time there is. A space's own fields and --set go before them.
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "samples": 12,
        "fields": {
            "data": "drawn",
            "image_size": 64,
            "width": 8,
            "epochs": 9,
            "images_per_epoch": 768,
            "batch_size": 16,
            "augment": "flip",
        },
    },
    "lab2": {
        "samples": 24,
        "fields": {
            "data": "pets",
            "image_size": 256,
            "width": 64,
            "epochs": 200,
            "batch_size": 32,
            "augment": "lab2",
        },
    },
}


OLD_PRESETS = {"report": "lab2"}  # what older versions called it: still read


def current_preset(name: str) -> str:
    """The preset's name in this version."""
    return OLD_PRESETS.get(name, name)


@dataclass(frozen=True)
class Options:
    """A study, but for its name and place."""

    preset: str
    search: str
    scheduler: str
    samples: int  # configurations
    seeds: int  # runs of each
    metric: str
    time_budget_s: float | None
    concurrent: int | None  # None: as many as the resources allow
    cpus_per_trial: float
    gpus_per_trial: float | None  # None: 1 where there is a GPU
    points: Mapping[str, list] = field(default_factory=dict)  # of the grid, on axes that are ranges

    @property
    def mode(self) -> str:
        """Whether more of the metric is better: "max" or "min"."""
        return METRICS[self.metric].mode

    def to_dict(self) -> dict[str, Any]:
        """Every option, and the mode that follows from the metric."""
        return {**dataclasses.asdict(self), "mode": self.mode}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Options":
        """The options that `to_dict` wrote down."""
        names = {f.name for f in dataclasses.fields(cls)}
        known = {name: value for name, value in data.items() if name in names}
        return cls(**{**known, "preset": current_preset(known["preset"])})


def settle(
    space: Space,
    preset: str,
    settings: Mapping[str, Any],
    metric: str = "val_dice",
    folders: Sequence[Path] = (Path(),),
) -> tuple[Space, TrialConfig]:
    """The space with the settings fixed, and the configuration that every trial starts from (the baseline).

    A field's value is the axis's, else that of `settings`, else the space's, else the preset's, else the default.
    folders: where the files lie that the space names as FILE.py:NAME.
    Raises ValueError, naming the field, for a value that some trial of the space could not have.
    """
    if "seed" in settings:
        raise ValueError("--set seed: every configuration runs under seeds 0 to k - 1; --seeds k says how many")
    if "metric" in {**space.fixed, **settings}:
        raise ValueError("metric is no setting of a study's trials; --metric says what is searched for and ranked by")
    space, settings, code = with_files(space.with_values(current), settings, folders)
    space = space.fixing(settings)
    fields = {**PRESETS[preset]["fields"], **default_head(space, space.fixed, code), **space.fixed}
    for name, value in space.fixed.items():
        _check_field(space, name, value)
    if "seed" in space.fixed:
        raise ValueError(f"space {space.name!r} fixes seed; --seeds k runs each configuration under seeds 0 to k - 1")
    if fields.get("data_root"):
        fields["data_root"] = str(Path(fields["data_root"]).absolute())  # Ray's workers have another folder
    check_axes(space, fields)
    return space, TrialConfig.from_dict(
        {**fields, **space.baseline, "metric": metric, "code": {name: file.to_dict() for name, file in code.items()}}
    )


# Fields that are the study's, not a trial's: what may not be an axis, and why.
NOT_AXES = {
    "seed": "--seeds says how many seeds each configuration runs under",
    "epochs": "the scheduler compares trials at equal epochs",
    "metric": "--metric says what all trials are compared by",
    "data": "trials are compared on one validation split",
    "data_root": "trials are compared on one validation split",
    "val_limit": "trials are compared on one validation split",
    "split_file": "trials are compared on one validation split",
    "mask_suffix": "trials are compared on the same masks",
    "foreground": "trials are compared on the same masks",
    "mask_orientation": "trials are compared on the same masks",
    "in_channels": "trials are compared on the same images",
    "checkpoint_every": "it changes what is written, not what is trained",
}


def check_axes(space: Space, fields: Mapping[str, Any]) -> None:
    """Raises ValueError for values, or a combination of them, that TrialConfig does not allow.

    fields: what the space does not vary.
    """
    for name, axis in space.axes.items():
        if name in NOT_AXES:
            raise ValueError(f"space {space.name!r} varies {name}, which cannot be an axis: {NOT_AXES[name]}")
        for value in ends(axis):
            _check_field(space, name, value)
    check_space(space, fields)


def _check_field(space: Space, name: str, value: object) -> None:
    try:
        valid_value(name, value)
    except ValueError as error:
        raise ValueError(f"space {space.name!r}: {error}") from None


def check_metric(space: Space, config: TrialConfig) -> None:
    """Raises ValueError where an axis of the space changes what the metric measures."""
    settings = config.to_dict()
    along = {name: incomparable_along(name, space.axes, settings) for name in METRICS}
    if not along[config.metric]:
        return
    fit = ", ".join(name for name, axes in along.items() if not axes) or "none"
    raise ValueError(
        f"--metric {config.metric} cannot rank trials that differ in {', '.join(along[config.metric])}, which space "
        f"{space.name!r} varies: it measures something else at each value; metrics that can: {fit}. "
        "--set NAME=VALUE fixes an axis."
    )
