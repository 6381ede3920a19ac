"""What the examples of commands need beside a folder; ``demo`` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from si_curation.files import format_csv, replace_file

if TYPE_CHECKING:
    import pandas as pd

# the recording of the example is simulated, and began when its simulation says
_NWB = """\
# For `si-curation export-nwb --metadata`: write here what is true of your session.
NWBFile:
  session_start_time: "2026-01-01T12:00:00+00:00"  # with the offset of the time zone
  session_description: Simulated recording
  identifier: si_curation_demo
Subject:
  subject_id: simulated
  species: Mus musculus
  sex: U
  age: P90D
"""
_UNITS_OF_EACH = 40
_SESSIONS = 4


def write_example_inputs(folder: Path) -> None:
    """Write ``recipe.yaml``, ``nwb.yaml`` and ``made_up_units.csv`` into a folder."""
    from si_curation.batch.recipe_files import example_recipe

    replace_file(folder / "recipe.yaml", example_recipe().encode("utf-8"))
    replace_file(folder / "nwb.yaml", _NWB.encode("utf-8"))
    replace_file(folder / "made_up_units.csv", format_csv(made_up_units()))


def made_up_units() -> pd.DataFrame:
    """Return units with labels and metrics that are random numbers, to try ``learn`` with.

    Examples
    --------
    >>> made_up_units().groupby("group").size().to_dict()
    {'good': 40, 'mua': 40, 'noise': 40}
    """
    import pandas as pd

    random = np.random.default_rng(0)
    # medians of rate (Hz), contamination and presence
    kinds = {"good": (5.0, 0.01, 0.95), "mua": (12.0, 0.4, 0.9), "noise": (0.3, 0.8, 0.3)}
    tables = []
    for label, (rate, contamination, presence) in kinds.items():
        spread = random.normal(0, 0.3, (3, _UNITS_OF_EACH))
        tables.append(
            pd.DataFrame(
                {
                    "session": [f"day{1 + i % _SESSIONS}" for i in range(_UNITS_OF_EACH)],
                    "group": label,
                    "firing_rate": np.round(rate * np.exp(spread[0]), 3),
                    "rp_contamination": np.round(contamination * np.exp(spread[1]), 4),
                    "presence_ratio": np.round(np.clip(presence + spread[2] / 10, 0, 1), 3),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)
