"""An analyzer whose unit names try to break pages, and everything that a page can show."""

from __future__ import annotations

import numpy as np
import spikeinterface.core as sc

EXTENSIONS = [
    "template_best_channels",
    "unit_similarity",
    "cross_correlograms",
    "curation_metrics",
]


HOSTILE = [
    "<script>window.hacked=1</script>",
    "</script><img src=x onerror='window.hacked=2'>",
    "a\"b'c & d\u2028",
    "<!--<script>",
    "plain",
]


def hostile_analyzer(names=HOSTILE, num_channels=6, duration_s=20.0, seed=0):
    """An analyzer of no sorter of ours, whose names and labels are markup."""
    recording, sorting = sc.generate_ground_truth_recording(
        durations=[duration_s], num_channels=num_channels, num_units=len(names), seed=seed
    )
    sorting = sc.NumpySorting.from_sorting(sorting).rename_units(names)
    sorting = sc.NumpySorting.from_sorting(sorting, with_metadata=True)
    sorting.set_property("quality", np.array([*names[1:], "good"]))
    sorting.set_property("note", np.array(list(names[::-1])))
    return sc.create_sorting_analyzer(sorting, recording, sparse=False)


def compute_all(analyzer):
    analyzer.compute(["random_spikes", "templates", "spike_amplitudes", "unit_locations"])
    analyzer.compute(["template_assignment", *EXTENSIONS])
