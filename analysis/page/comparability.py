"""Where trials cannot be ranked by the metric, in a sentence."""

from analysis.load.contract import DEPENDS_ON
from analysis.load.study import Study
from analysis.page.wording import listed
from analysis.stats.comparable import incomparable_along, varied_settings


def comparability_gaps(metric: str, *studies: Study) -> list[str]:
    """A sentence where settings vary, within the studies or between them, that change what the metric measures.

    Only for studies of this project: what the settings of others do is not known.
    """
    if not all(study.is_ours for study in studies):
        return []
    varied, loss = varied_settings(*(study.study for study in studies))
    along = incomparable_along(metric, varied, loss)
    if not along:
        return []
    fit = [name for name in DEPENDS_ON if not incomparable_along(name, varied, loss) and known(name, studies)]
    return [
        f"Trials cannot be ranked by {metric}: it does not measure the same at each value of {listed(along)}. "
        f"Metrics by which they can be: {listed(fit) or 'none of those measured'}."
    ]


def known(metric: str, studies: tuple[Study, ...]) -> bool:
    """Whether each of the studies has measured the metric."""
    return all(metric in study.epochs and study.epochs[metric].notna().any() for study in studies)
