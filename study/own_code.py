"""A user's own code in a study: read once, written into every trial's configuration, and tried out before anything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from search_spaces import Choice, Space
from search_spaces.space import Value
from study.combinations import check_combinations, ends
from trials.config import OWN_FIELDS, TrialConfig
from trials.own import OwnFile, find, is_own, read_files, without_folder, without_folders
from trials.parts import build_loss, takes_logits
from trials.rehearsal import check_own_settings, rehearse


def place_of_space(name_or_file: str) -> list[Path]:
    """Where the files lie that a space names: beside its own file, if it has one, else where the command was typed."""
    return [*([Path(name_or_file).parent] if name_or_file.endswith(".py") else []), Path()]


def with_files(
    space: Space, settings: Mapping[str, Value], folders: Sequence[Path]
) -> tuple[Space, dict[str, Value], dict[str, OwnFile]]:
    """Space and settings as trials hold them, and the files they name; the settings' lie where the command was typed.

    Raises OwnError for files that cannot be had.
    """
    in_settings = [find(value, [Path()]) for name, value in settings.items() if name in OWN_FIELDS and is_own(value)]
    in_space = [find(value, folders) for name in OWN_FIELDS if name not in settings for value in _values(space, name)]
    code = read_files([*in_settings, *in_space])

    def named_alike(name: str, value: Value) -> Value:
        return without_folder(value) if name in OWN_FIELDS else value

    return space.with_values(named_alike), without_folders(settings), code


def _values(space: Space, name: str) -> list[str]:
    """What the space names for a field, of a user's own."""
    axis = space.axes.get(name)
    values = axis.values if isinstance(axis, Choice) else [space.fixed.get(name)]
    return [value for value in values if is_own(value)]


def default_head(space: Space, fields: Mapping[str, Value], code: Mapping[str, OwnFile]) -> dict[str, str]:
    """head=logits, where nothing says what it is and a user's loss takes logits; else nothing."""
    if "head" in fields or "head" in space.axes:
        return {}
    own = {value for value in (fields.get("loss"), *_values(space, "loss")) if is_own(value)}
    return {"head": "logits"} if any(takes_logits(loss, TrialConfig(code=code)) for loss in own) else {}


def try_out(space: Space, config: TrialConfig) -> list[str]:
    """Takes a step with each of a user's own parts that the space has; gives what should be said of them.

    Raises OwnError, naming file and line, for what cannot be run or gives what it should not, ValueError for a
    combination of values under which a loss cannot be had.
    """
    if not config.code:
        check_own_settings([config])
        return []

    def check(loss: str, head: str, border: str) -> None:
        if is_own(loss):
            build_loss(replace(config, loss=loss, head=head, border=border))

    check_combinations(space, config.to_dict(), ["loss", "head", "border"], check)
    configs = list(_one_of_each(space, config))
    check_own_settings(configs)
    notes = [note for each in configs for note in rehearse(each)]
    return list(dict.fromkeys(notes))


def _one_of_each(space: Space, config: TrialConfig) -> Iterator[TrialConfig]:
    """The baseline, and with it each of a user's own parts in turn, a network at each size of the space's images."""
    yield config
    for name in OWN_FIELDS:
        for value in _values(space, name):
            if name not in space.axes:
                continue
            sizes = list(ends(space.axes["image_size"])) if name == "model" and "image_size" in space.axes else []
            for size in sizes or [config.image_size]:
                chosen = {name: value, "image_size": size}
                yield TrialConfig.from_dict({**config.to_dict(), **chosen, **_waiting(space, name, value)})


def _waiting(space: Space, name: str, value: str) -> dict[str, Value]:
    """A value for each axis that exists only where another has this one."""
    return {
        axis: next(iter(ends(space.axes[axis]))) for axis, other in space.conditions.items() if other == (name, value)
    }
