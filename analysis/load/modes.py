"""Which end of this project's own metrics is the best; the other end is never asked for on purpose."""

from analysis.load import contract
from analysis.load.metric import NoMetric
from analysis.load.study import Study


def check_mode(study: Study, asked: str | None) -> None:
    """Raises NoMetric where the mode asked for contradicts what the metric of a study of ours means."""
    known = contract.MODES.get(study.metric) if study.study.get("schema_version") else None
    if asked and known and asked != known:
        best = "highest" if known == "max" else "lowest"
        raise NoMetric(f"--mode {asked}: the {best} {study.metric} is the best; leave it out, or say --mode {known}")
