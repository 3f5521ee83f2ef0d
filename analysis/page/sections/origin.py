"""The page's parts on what was asked and how the study was made."""

import pandas as pd

from analysis.load.factors import Factor, numbers
from analysis.load.study import Study
from analysis.page.blocks import Items, Section, Table, Text
from analysis.page.wording import data_line, show


def asked_section(study: Study, factors: list[Factor]) -> Section:
    """The data, and the settings that varied with their values."""
    space = study.study["space"]
    blocks = [Text(f"Data: {data_line(study.study['data'], study.trials)}.")] if study.is_ours else []
    notes = study.study["data"].get("notes")
    blocks += [Items([str(note) for note in notes])] if isinstance(notes, list) and notes else []
    rows = [
        {
            "axis": factor.name,
            "kind": factor.kind,
            "values": axis_values(space, factor, study.trials),
            "only_where": "=".join(factor.condition) if factor.condition else "",
        }
        for factor in factors
    ]
    frame = pd.DataFrame(rows, columns=["axis", "kind", "values", "only_where"])
    frame = frame if frame["only_where"].any() else frame.drop(columns="only_where")
    table = [Table("axes", "What varied.", frame, settings=("axis",))] if rows else []
    return Section("What was asked", [*blocks, *table], "the settings that varied, and the data")


def axis_values(space: dict, factor: Factor, trials: pd.DataFrame) -> str:
    """The levels; of a range its ends, or those of the trials where no space names them."""
    if factor.kind == "choice":
        return ", ".join(factor.levels)
    axes, values = space.get("axes"), numbers(trials, factor.name)
    axis = axes.get(factor.name) if isinstance(axes, dict) else {"low": values.min(), "high": values.max()}
    return f"{show((axis or {}).get('low'))} to {show((axis or {}).get('high'))}"


def made_section(study: Study) -> Section:
    """Command, commit, versions, hardware, options: as study.json has them."""
    record, origin = study.study, study.study["provenance"]
    dirty = " with uncommitted changes" if origin.get("dirty") is True else ""
    commit = f"{origin['commit']}{dirty}" if origin.get("commit") else None
    rows = {
        "command": origin.get("command"),
        "commit": commit,
        "created": record.get("created"),
        "finished": record.get("finished") or ("not yet" if study.state in ("running", "interrupted") else None),
    }
    for part in ("versions", "hardware"):
        values = origin.get(part)
        named = isinstance(values, dict)
        rows |= {f"{part}: {key}": value for key, value in values.items()} if named else {part: values}
    rows |= {f"option: {key}": value for key, value in record["options"].items()}
    rows |= {f"fixed: {key}": value for key, value in record["fixed"].items()}
    frame = pd.DataFrame([{"what": key, "value": value_text(key, value)} for key, value in rows.items()])
    return Section(
        "How this was made", [Table("origin", "What study.json records.", frame)], "command, versions, options"
    )


def value_text(name: str, value: object) -> str:
    """An option that was left open is not set; of the origin, what is not there was not recorded."""
    if value is not None:
        return show(value)
    return "not set" if name.startswith(("option: ", "fixed: ")) else "not recorded"
