"""Which combinations of an axis's values a space has: counted, listed and checked before anything is started."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from search_spaces import Choice, IntRange, Space
from search_spaces.space import Axis, Value
from trials.config import CONSTRAINTS, DEFAULTS


def combinations(space: Space, values: Mapping[str, Sequence[Value]]) -> Iterator[dict[str, Value]]:
    """Every combination of these values once, the last axis changing fastest; axes that do not exist are left out."""

    def extensions(chosen: dict[str, Value], names: list[str]) -> Iterator[dict[str, Value]]:
        if not names:
            yield chosen
        elif space.is_active(names[0], chosen):
            for value in values[names[0]]:
                yield from extensions({**chosen, names[0]: value}, names[1:])
        else:
            yield from extensions(chosen, names[1:])

    return extensions({}, list(values))


def num_combinations(space: Space, values: Mapping[str, Sequence[Value]]) -> int:
    """How many `combinations` gives, by arithmetic: a range of ten million values takes no longer than one of two."""
    waiting: dict[tuple[str, Value], list[str]] = {}
    for name in values:
        if name in space.conditions:
            waiting.setdefault(space.conditions[name], []).append(name)

    def below(name: str) -> int:
        conditions = [(value, names) for (other, value), names in waiting.items() if other == name]
        met = [names for value, names in conditions if value in values[name]]
        return len(values[name]) - len(met) + sum(math.prod(map(below, names)) for names in met)

    return math.prod(below(name) for name in values if name not in space.conditions)


def check_combinations(
    space: Space, fields: Mapping[str, Value], names: Sequence[str], check: Callable[..., None]
) -> None:
    """Calls `check` with every combination of these fields' values that a trial of the space may have.

    fields: what the space does not vary. Raises ValueError, naming the first combination that `check` refuses.
    """
    involved = involved_axes(space, names)
    values = {name: [*dict.fromkeys([*ends(space.axes[name]), *waited_for(space, name)])] for name in involved}
    for chosen in combinations(space, values):
        config = {**DEFAULTS, **fields, **chosen}
        try:
            check(*(config[name] for name in names))
        except ValueError as error:
            if not involved:
                raise
            listed = ", ".join(f"{name}={config[name]!r}" for name in dict.fromkeys((*chosen, *names)))
            raise ValueError(
                f"space {space.name!r} has trials with {listed}: {error}; --set fixes an axis that has such a value"
            ) from None


def check_space(space: Space, fields: Mapping[str, Value]) -> None:
    """Raises ValueError for a combination of values that TrialConfig does not allow."""
    for names, check in CONSTRAINTS:
        check_combinations(space, fields, names, check)


def ends(axis: Axis) -> Iterable[Value]:
    """The values of a choice; of a range its ends and what decides between whole numbers that are multiples or not."""
    if isinstance(axis, Choice):
        return axis.values
    if isinstance(axis, IntRange):
        return sorted({axis.low, axis.low + 1, axis.high})
    return (float(axis.low), float(axis.high))  # what is drawn from it is real, also where the ends are whole


def involved_axes(space: Space, names: Iterable[str]) -> list[str]:
    """The space's axes of these names and those that they wait for, in the space's order."""
    involved = set(names) & set(space.axes)
    for name in reversed(space.axes):  # what an axis waits for comes before it
        if name in involved and name in space.conditions:
            involved.add(space.conditions[name][0])
    return [name for name in space.axes if name in involved]


def waited_for(space: Space, name: str) -> list[Value]:
    """The values of an axis for which others wait."""
    return [value for other, value in space.conditions.values() if other == name]
