"""Extensions that figures compute: in memory, equal to `compute`, and nothing on disk changes."""

import hashlib
import inspect
import logging

import numpy as np
import pytest
import spikeinterface as si

import si_curation as sic
from si_curation.extensions.in_memory import extensions_in_memory

NAMES = [
    "template_assignment",
    "template_best_channels",
    "template_features",
    "unit_similarity",
    "cross_correlograms",
]


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def arrays(extension):
    found = extension.get_data()
    return [np.asarray(one) for one in (found if isinstance(found, tuple) else (found,))]


def test_they_are_those_that_compute_makes_and_the_log_says_so(caplog):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    again = analyzer.copy()
    again.compute(NAMES[1:])
    with caplog.at_level(logging.INFO, logger="si_curation"):
        found = extensions_in_memory(analyzer, *NAMES)
    for name, extension in zip(NAMES, found, strict=True):
        expected = again.get_extension(name)
        assert extension.params == expected.params
        for one, other in zip(arrays(extension), arrays(expected), strict=True):
            assert one.dtype == other.dtype
            if one.dtype != object:
                np.testing.assert_array_equal(one, other)
    said = [
        record.message for record in caplog.records if "computed for a figure" in record.message
    ]
    assert [text.split()[0] for text in said] == NAMES[1:]  # the first is read with the folder
    caplog.clear()
    assert extensions_in_memory(analyzer, *NAMES) == found
    assert not caplog.records


@pytest.mark.slow
@pytest.mark.parametrize("format", ["binary_folder", "zarr"])
def test_every_figure_works_at_once_and_nothing_on_disk_changes(format, tmp_path):
    """What depends on what is missing stays, too: SpikeInterface's `compute` deletes it."""
    folder = tmp_path / ("saved.zarr" if format == "zarr" else "saved")
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute("unit_similarity")
    analyzer.delete_extension("template_assignment")
    analyzer.save_as(format=format, folder=folder)
    before = contents(folder)
    right = {
        "source": None,
        "unit_id": 13,
        "unit_ids": [13, 4],
        "unit_a": 11,
        "unit_b": 12,
    }
    for name in sic.__all__:
        if not name.startswith("plot_") or name in ("plot_effect_vs_quality", "plot_split"):
            continue  # of no analyzer; of a copy
        analyzer = si.load(folder)
        assert analyzer.has_extension("unit_similarity")
        first, *others = inspect.signature(getattr(sic, name)).parameters.values()
        more = {p.name: right[p.name] for p in others if p.default is p.empty}
        widget = getattr(sic, name)(analyzer, **more)
        assert not [one for one in getattr(widget, "panels", {}).values() if isinstance(one, str)]
        assert contents(folder) == before, name
