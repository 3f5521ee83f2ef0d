"""Everything one run depends on, in one frozen record; what is written down is all that is needed to run it again."""

import dataclasses
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trials.data.augment import AUGMENTS
from trials.data.loader import BORDERS
from trials.data.mask_files import MASK_ORIENTATIONS, parse_foreground
from trials.data.sources import DATASETS
from trials.data.value_ranges import parse_range
from trials.guards import ON_DIVERGENCE
from trials.losses import LOSSES
from trials.measurements import METRICS
from trials.models import ATTENTIONS, HEADS, MODELS, UPSAMPLERS, check_size
from trials.optimizers import OPTIMIZERS, SCHEDULES
from trials.own import DOCS, SETTING, OwnFile, OwnSettings, is_own, named_files, parse_setting, parts_of

WHERE = "trials/config.py"
FLOAT32_MAX = 3.4e38  # rounded down
OLD_VALUES = {("augment", "report"): "lab2"}  # what older versions called it: still read, never written
BOOLS = {"true": True, "false": False}


def _one_of(default: str, allowed) -> Any:
    return field(default=default, metadata={"allowed": tuple(allowed)})


def _one_of_or_own(default: str, allowed) -> Any:
    """One of these names, or FILE.py:NAME (docs/own.md)."""
    return field(default=default, metadata={"allowed": tuple(allowed), "own": True})


def _number(default: float, low: float, high: float = math.inf, *, above: bool = False) -> Any:
    """A number from `low` (or `above` it) to `high`."""
    return field(default=default, metadata={"low": low, "high": high, "above": above})


@dataclass(frozen=True)
class TrialConfig:
    """One training run. Build it with `TrialConfig.from_dict`, which checks names, types and ranges."""

    model: str = _one_of_or_own("unet", MODELS)
    upsample: str = _one_of("deconv", UPSAMPLERS)
    attention: str = _one_of("none", ATTENTIONS)  # on the encoder's outputs
    width: int = _number(64, 1, 1024)  # channels of the first stage, the Lab 2 report's n
    head: str = _one_of("sigmoid", HEADS)

    loss: str = _one_of_or_own("bce", LOSSES)
    focal_gamma: float = _number(2.0, 0, FLOAT32_MAX)  # read by loss=focal
    hard_fraction: float = _number(0.25, 0, 1, above=True)  # read by loss=hard_bce

    optimizer: str = _one_of_or_own("adam", OPTIMIZERS)
    lr: float = _number(1e-3, 0, FLOAT32_MAX, above=True)  # the highest of the schedule
    weight_decay: float = _number(0.0, 0, FLOAT32_MAX)
    momentum: float = _number(0.9, 0, 1)  # read by optimizer=sgd
    schedule: str = _one_of_or_own("cosine", SCHEDULES)
    batch_size: int = _number(32, 1)  # images
    epochs: int = _number(200, 1)
    metric: str = _one_of("val_dice", METRICS)  # the weights, masks and scores of its best epoch are kept

    amp: bool = False
    amp_dtype: str = _one_of("float16", ("float16", "bfloat16"))
    loss_scale_init: float = _number(65536.0, 0, FLOAT32_MAX, above=True)
    loss_scale_growth_interval: int = _number(2000, 1)  # good steps until the scale doubles

    # A run has diverged at a value that is not finite, or at the first of these; it is frozen where a whole epoch's
    # steps, at least eight, were skipped.
    min_loss_scale: float = _number(0.0, 0)  # 0: where no pixel's gradient survives in float16, whatever the loss
    max_skipped_run: int = _number(50, 1)  # steps skipped in a row
    max_val_loss_ratio: float = _number(3.0, 1)  # validation loss over its best (and above that of 0.5 everywhere)
    val_loss_patience: int = _number(2, 1)  # epochs in a row beyond that ratio; one alone is often a passing lag
    diagnosis_budget_s: float = _number(60.0, 0)  # for the search for remedies, after a divergence

    # Guards (trials/guards.py)
    on_divergence: str = _one_of("stop", ON_DIVERGENCE)
    max_rollbacks: int = _number(3, 0)  # read by on_divergence=rollback
    rollback_lr_factor: float = _number(0.5, 0, 1, above=True)
    guard_statistics: bool = False  # BatchNorm's running statistics are kept only where the step was taken
    loss_scale_floor: float = _number(0.0, 0, FLOAT32_MAX)  # 0: none, as in torch
    float32_head: bool = False  # the head outside autocast
    clip_norm: float = _number(0.0, 0, FLOAT32_MAX)  # of the unscaled gradients; 0: not clipped, as in the Lab 2 report

    data: str = _one_of("drawn", DATASETS)
    data_root: str = ""  # empty: where torchvision would download to
    # The next five are of data=folder alone (README.md, Data)
    split_file: str = ""  # a CSV `name,split` or `name,group`, in the folder of data_root or as a whole path
    mask_suffix: str = ""  # of mask names, "_mask" for one; empty: found from the names
    foreground: str = ""  # what of a mask is the object: 7, 128-255, #800000 or alpha; empty: the mask is of two values
    mask_orientation: str = _one_of("auto", MASK_ORIENTATIONS)  # masks were drawn on images upright or as stored (EXIF)
    value_range: str = ""  # LOW,HIGH: black and white of images of more than 8 bits; empty: each one's own percentiles
    image_size: int = _number(256, 16, 8192)  # height and width, px
    in_channels: int = _number(3, 1, 64)  # of an image: 1 grey, 3 colours; of data=folder taken from the files
    border: str = _one_of("pet", BORDERS)  # what the trimaps' border (3) counts as
    train_limit: int = _number(0, 0)  # images used; 0 = all
    val_limit: int = _number(0, 0)
    images_per_epoch: int = _number(0, 0)  # at most; 0 = each training image once. Passes are whole all the same

    augment: str = _one_of_or_own("lab2", AUGMENTS)
    flip_p: float = _number(0.5, 0, 1)  # this and the following are read by augment=lab2
    rotate90_p: float = _number(0.5, 0, 1)
    crop_scale_min: float = _number(0.8, 0, 1, above=True)  # read by augment=flip_crop too
    affine_p: float = _number(0.5, 0, 1)
    blur_p: float = _number(0.5, 0, 1)
    elastic_p: float = _number(0.5, 0, 1)
    elastic_alpha: float = _number(1.0, 0)  # px; the library's defaults, which move hardly a pixel
    elastic_sigma: float = _number(50.0, 0, above=True)  # px

    tf32: bool = True  # on a GPU, convolutions in float32 round their operands to TF32: torch's default

    seed: int = _number(0, 0, 2**31 - 1)
    checkpoint_every: int = _number(0, 0)  # epochs; 0: the fewer the larger the state is, see trials/state.py
    device: str = _one_of("auto", ("auto", "cpu", "cuda"))  # auto: a GPU where there is one
    num_workers: int = _number(0, 0, 256)  # processes that load images

    own: Mapping[str, Any] = field(default_factory=OwnSettings, hash=False)  # `own.NAME`: settings of a user's own code
    code: Mapping[str, OwnFile] = field(default_factory=dict, hash=False)  # the files that values FILE.py:NAME are of

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialConfig":
        """The configuration with these fields, the others at their defaults.

        Raises ValueError, naming the field, what came and what is allowed.
        """
        code = {name: OwnFile.from_dict(file, name) for name, file in values.get("code", {}).items()}
        given = {name: valid_value(name, value) for name, value in values.items() if name != "code"}
        own = OwnSettings({name.removeprefix("own."): given.pop(name) for name in list(given) if SETTING.match(name)})
        config = cls(**given, own=own, code=code)
        for name, reference in config.own_parts().items():
            _check_file(name, reference, code)
        for names, check in CONSTRAINTS:
            check(*(getattr(config, name) for name in names))
        return config

    def to_dict(self) -> dict[str, Any]:
        """Every field, `own.NAME` for each setting of a user's own, and `code` where there is some; for JSON."""
        own = {f"own.{name}": value for name, value in self.own.items()}
        code = {"code": {name: file.to_dict() for name, file in self.code.items()}} if self.code else {}
        return {**{name: getattr(self, name) for name in FIELDS}, **own, **code}

    def own_parts(self) -> dict[str, str]:
        """The fields that name a user's own part, with FILE.py:NAME."""
        return {name: getattr(self, name) for name in OWN_FIELDS if is_own(getattr(self, name))}

    def used_code(self) -> dict[str, OwnFile]:
        """The files of a user's that this configuration runs; a study's trials hold those of all its levels."""
        return named_files(self.code, self.own_parts().values())


FIELDS = {f.name: f for f in dataclasses.fields(TrialConfig) if f.name not in ("own", "code")}
DEFAULTS = {name: f.default for name, f in FIELDS.items()}
OWN_FIELDS = tuple(name for name, f in FIELDS.items() if f.metadata.get("own"))  # that may name a file of a user's


def _check_loss_scale_floor(loss_scale_floor: float, loss_scale_init: float) -> None:
    if loss_scale_floor > loss_scale_init:
        raise ValueError(
            f"loss_scale_floor={loss_scale_floor:g} is above loss_scale_init={loss_scale_init:g}; "
            f"a floor is at most the scale that a run begins with ({WHERE})"
        )


def _check_least_loss_scale(amp: bool, min_loss_scale: float, loss_scale_init: float) -> None:
    if amp and min_loss_scale >= loss_scale_init:
        raise ValueError(
            f"min_loss_scale={min_loss_scale:g} is not below loss_scale_init={loss_scale_init:g}; "
            f"such a run counts as diverged at its first step ({WHERE})"
        )


OF_FOLDER = ("split_file", "mask_suffix", "foreground", "mask_orientation", "value_range")


def _check_is_folder(data: str, *values: str) -> None:
    changed = [name for name, value in zip(OF_FOLDER, values, strict=True) if value not in ("", "auto")]
    if data != "folder" and changed:
        raise ValueError(f"{changed[0]} is read with data=folder alone, and data={data!r}; leave it out ({WHERE})")


def _check_channels(data: str, in_channels: int) -> None:
    if data != "folder" and in_channels not in (1, 3):
        raise ValueError(f"in_channels={in_channels}; data={data!r} has colours (3), or as grey images 1 ({WHERE})")


# Fields that must fit together, and what raises ValueError where they do not. A study checks every combination of its
# axes' values against them before it starts.
CONSTRAINTS: tuple[tuple[tuple[str, ...], Callable[..., object]], ...] = (
    (("model", "image_size"), check_size),
    (("loss_scale_floor", "loss_scale_init"), _check_loss_scale_floor),
    (("amp", "min_loss_scale", "loss_scale_init"), _check_least_loss_scale),
    (("data", *OF_FOLDER), _check_is_folder),
    (("data", "in_channels"), _check_channels),
    (("foreground",), parse_foreground),
    (("value_range",), parse_range),
)


def valid_value(name: str, value: Any) -> Any:
    """The value of one field, if it may have it; a whole number where a real one is wanted becomes real.

    Raises ValueError, saying what is allowed.
    """
    if SETTING.match(name):
        return _valid_own(name, value)
    wanted = _field(name).type
    value = current(name, value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not wanted:
        raise ValueError(f"{name}={value!r} is {type(value).__name__}; {allowed(name)} ({WHERE})")
    metadata = _field(name).metadata
    in_list = value in metadata.get("allowed", (value,)) or ("own" in metadata and is_own(value))
    if not in_list or ("low" in metadata and not _in_range(value, **metadata)):
        raise ValueError(f"{name}={value!r}; {allowed(name)} ({WHERE})")
    return value


def current(name: str, value: Any) -> Any:
    """The value as this version calls it."""
    return OLD_VALUES.get((name, value), value) if isinstance(value, str) else value


def parse(name: str, text: str) -> Any:
    """The value of one field from the text after `--set name=`. Raises ValueError, saying what is allowed."""
    if SETTING.match(name):
        return valid_value(name, parse_setting(text))
    wanted = _field(name).type
    try:
        value = BOOLS[text.lower()] if wanted is bool else wanted(text)  # type: ignore[operator]  # int, float or str
    except (KeyError, ValueError):
        raise ValueError(f"{name}={text!r}; {allowed(name)} ({WHERE})") from None
    return valid_value(name, value)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """The fields that the texts of `--set key=value` name; raises ValueError for one that is not of that form."""
    parsed = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"--set {setting!r}; it takes key=value, --set lr=0.001 for one")
        if name in parsed:
            raise ValueError(f"--set {name} is given twice: {parsed[name]} and {text}; leave one out")
        parsed[name] = parse(name, text)
    return parsed


def allowed(name: str) -> str:
    """In words, what the field may be."""
    wanted, metadata = _field(name).type, _field(name).metadata
    if "allowed" in metadata:
        own = f", or FILE.py:NAME ({DOCS})" if "own" in metadata else ""
        return "allowed: " + ", ".join(metadata["allowed"]) + own
    if wanted is bool:
        return "allowed: true, false"
    if wanted is str:
        return "allowed: a text"
    kind = "a whole number" if wanted is int else "a finite number"
    low = f"above {metadata['low']:g}" if metadata["above"] else f"from {metadata['low']:g}"
    high = "" if math.isinf(metadata["high"]) else f" to {metadata['high']:g}"
    return f"allowed: {kind} {low}{high}"


def _field(name: str) -> dataclasses.Field:
    if name in FIELDS:
        return FIELDS[name]
    close = difflib.get_close_matches(name, FIELDS, n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    own = f"; a setting of your own code is own.{name} ({DOCS})" if name.isidentifier() else ""
    raise ValueError(f"unknown field {name!r}; {hint}known: {', '.join(FIELDS)} ({WHERE}){own}")


def _valid_own(name: str, value: Any) -> Any:
    matched = SETTING.fullmatch(name)
    if not matched:
        raise ValueError(f"{name!r} is no name of a setting; own.NAME has letters, digits and _ ({DOCS})")
    if matched[1] in (*FIELDS, "config"):
        raise ValueError(f"{name}: {matched[1]} is a setting already; give your own another name ({DOCS})")
    if type(value) not in (bool, int, float, str) or (type(value) is float and not math.isfinite(value)):
        raise ValueError(f"{name}={value!r}; allowed: true, false, a finite number or a text ({DOCS})")
    return value


def _check_file(field: str, reference: str, code: Mapping[str, OwnFile]) -> None:
    """Raises ValueError where the configuration lacks the file that a value of it names."""
    file, _ = parts_of(reference)
    if file not in code:
        raise ValueError(f"{field}={reference}: the configuration holds no {file} (code)")


def _in_range(value: float, low: float, high: float, above: bool) -> bool:
    return math.isfinite(value) and (value > low if above else value >= low) and value <= high
