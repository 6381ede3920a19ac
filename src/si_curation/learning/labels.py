"""`LearntLabels`: what a model says of the units of a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from si_curation.curation.label_rules import RuleSet
from si_curation.curation.labelling import UnitLabels


@dataclass(frozen=True, eq=False, repr=False)
class LearntLabels(UnitLabels):
    """Labels that a model gives, with probabilities and what spoke for each.

    It is used as the `UnitLabels` of `label_units`.

    Attributes
    ----------
    table : pandas.DataFrame
        Indexed by unit id, with the columns

        - ``label``: "unsorted" for undecided units;
        - ``decided``: False where the model is not sure, or the unit is outside of what it saw;
        - ``likeliest``, ``probability``: the label of the highest probability, and that;
        - ``doubt``: "" where it decided; "unsure", "unit_outside" or "session_outside";
        - ``num_outside``: number of columns in which the unit is outside of what the model saw;
        - ``column_1``, ``column_2``, ``column_3``: those that spoke most for the likeliest label;
        - ``order_of_work``: 1 for the unit to look at first; see `LabelModel.most_useful`;
        - ``reason``: text.
    rules : RuleSet
        Empty.
    model_name : str
        What the model is, in words.
    probabilities : pandas.DataFrame
        Indexed by unit id, a column for each label: its probability. Rows sum up to 1.
    """

    rules: RuleSet = field(default_factory=lambda: RuleSet((), name="learnt labels"))
    model_name: str = ""
    probabilities: pd.DataFrame = field(default_factory=pd.DataFrame)

    def _steps(self, decided: pd.DataFrame) -> Iterator[tuple[pd.DataFrame, str, str]]:
        """Yield a step for each label that the model gives."""
        for label in sorted(set(decided["label"])):
            rows = decided[decided["label"] == label]
            low = rows["probability"].min()
            yield rows, "learnt labels", f"{self.model_name}: probability {low:.3g} or more"
