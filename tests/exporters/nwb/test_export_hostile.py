"""Exports to NWB that cannot work: one clear error, and every file is as it was, byte for byte."""

from __future__ import annotations

import os
import shutil
from datetime import datetime

import numpy as np
import pytest

import si_curation as sic
from helpers.links import make_link
from helpers.nwb_analyzers import make_analyzer, small_analyzer
from helpers.nwb_sources import FULL_METADATA, gapped_timestamps

pytestmark = pytest.mark.usefixtures("quiet_pynwb")


def export(analyzer, path, **kwargs):
    kwargs.setdefault("progress_bar", False)
    if kwargs.get("source_nwb") is None and kwargs.get("mode") != "append":
        kwargs.setdefault("metadata", FULL_METADATA)
    return sic.export_to_nwb(analyzer, path, **kwargs)


# --------------------------------------------------------------------------------------- the clock


def test_no_clock(refused, there):
    with refused(sic.MissingDataError, "t_start", "timestamps"):
        export(small_analyzer(), there, overwrite=True)


def test_no_clock_in_a_source_without_series(refused, there, source):
    path = source(series=False)
    with refused(sic.MissingDataError, "t_start"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


def test_two_series_and_no_path(refused, there, source):
    path = source(second_series=True)
    with refused(sic.SiCurationError, "acquisition/ElectricalSeries", "ElectricalSeriesLFP"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


def test_series_that_is_not_there(refused, there, source):
    path = source()
    with refused(sic.SiCurationError, "acquisition/Raw", "acquisition/ElectricalSeries"):
        export(
            small_analyzer(),
            there,
            source_nwb=path,
            overwrite=True,
            electrical_series_path="acquisition/Raw",
        )


@pytest.mark.parametrize("name", ["general", "general/subject", "intervals/trials", "", "/", ".."])
def test_path_of_something_that_is_no_series(refused, there, source, name):
    path = source()
    with refused(sic.SiCurationError, "ElectricalSeries"):
        export(
            small_analyzer(), there, source_nwb=path, overwrite=True, electrical_series_path=name
        )


def test_series_without_source(refused, there):
    with refused(sic.ParameterError, "electrical_series_path", "source_nwb"):
        export(
            small_analyzer(),
            there,
            t_start=0.0,
            overwrite=True,
            electrical_series_path="acquisition/ElectricalSeries",
        )


@pytest.mark.parametrize(
    "t_start", [np.nan, np.inf, "now", [0.0, 1.0], [], [[0.0]], datetime(2024, 1, 1), 1j, True]
)
def test_t_start_that_is_no_time(refused, there, t_start):
    with refused(sic.ParameterError, "t_start"):
        export(small_analyzer(), there, t_start=t_start, overwrite=True)


def bad_timestamps():
    good = gapped_timestamps(30_000)
    with_nan, repeated, reversed_, infinite = (good.copy() for _ in range(4))
    with_nan[500] = np.nan
    repeated[501] = repeated[500] - 1e-3
    infinite[-1] = np.inf
    return {
        "too short": good[:10_000],
        "empty": good[:0],
        "nan": with_nan,
        "infinite": infinite,
        "a step back": repeated,
        "reversed": reversed_[::-1],
        "two-dimensional": good[:, None],
        "text": ["a"] * 30_000,
        "two segments": [good, good + 100],
        "a number": 4.0,
    }


@pytest.mark.parametrize("name", list(bad_timestamps()))
def test_timestamps_that_are_no_clock(refused, there, name):
    with refused(sic.ParameterError, "timestamps"):
        export(small_analyzer(), there, timestamps=bad_timestamps()[name], overwrite=True)


def test_two_clocks_at_once(refused, there):
    with refused(sic.ParameterError, "t_start", "timestamps"):
        export(
            small_analyzer(),
            there,
            t_start=0.0,
            timestamps=gapped_timestamps(30_000),
            overwrite=True,
        )


@pytest.mark.parametrize(
    ("t_start", "words"),
    [([0.0, 0.5], ["0.5"]), ([5.0, 0.0], []), ([0.0, 0.0], []), (0.0, ["t_start", "2"])],
    ids=["overlap", "descending", "equal", "one for two"],
)
def test_segments_that_are_not_apart(refused, there, t_start, words):
    analyzer = make_analyzer([{0: [0, 29_999]}, {0: [5]}], num_samples=[30_000, 30_000])
    with refused(sic.ParameterError, "segment", *words):
        export(analyzer, there, t_start=t_start, overwrite=True)


def test_vectors_of_segments_that_overlap(refused, there):
    analyzer = make_analyzer([{0: [0, 29_999]}, {0: [5]}], num_samples=[30_000, 30_000])
    times = gapped_timestamps(30_000)
    with refused(sic.ParameterError, "segment"):
        export(analyzer, there, timestamps=[times, times + 1.0], overwrite=True)


@pytest.mark.parametrize("rate", [30_000.6, 25_000.0, 1000.0])
def test_nominal_rate_that_is_wrong(refused, there, source, rate):
    """Half a sample in a second, and much more; the message tells both rates."""
    path = source(rate=rate)
    with refused(sic.ParameterError, f"{rate:g}"[:5], "30000"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


def test_series_shorter_than_the_sorting(refused, there, source):
    """The spikes cannot be of that recording."""
    path = source(num_frames=10_000)
    with refused(sic.SiCurationError, "ElectricalSeries"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


@pytest.mark.parametrize("kind", ["short", "rate"])
def test_time_vector_of_a_series_that_does_not_fit(refused, there, source, kind):
    if kind == "short":
        path = source(num_frames=20_000, timestamps=gapped_timestamps(20_000))
    else:
        path = source(timestamps=np.arange(30_000) / 25_000.0)
    with refused(sic.SiCurationError, "ElectricalSeries"):
        export(small_analyzer(), there, source_nwb=path, overwrite=True)


def test_two_segments_and_one_series(refused, there, source):
    analyzer = make_analyzer([{0: [0, 10]}, {0: [5]}], num_samples=[30_000, 30_000])
    path = source()
    with refused(sic.SiCurationError, "segment"):
        export(analyzer, there, source_nwb=path, overwrite=True)


# ------------------------------------------------------------------------------------- the target


def test_target_exists(refused, there):
    with refused(sic.OutputExistsError, "out.nwb", "overwrite"):
        export(small_analyzer(), there, t_start=0.0)


@pytest.mark.parametrize("mode", ["sidecar", "export"])
def test_target_exists_beside_a_source(refused, there, source, mode):
    path = source()
    with refused(sic.OutputExistsError, "out.nwb"):
        export(small_analyzer(), there, source_nwb=path, mode=mode)


@pytest.mark.parametrize("overwrite", [False, True])
def test_target_is_a_folder(refused, tmp_path, overwrite):
    (tmp_path / "out.nwb").mkdir()
    (tmp_path / "out.nwb" / "file").write_text("x")
    with refused(sic.SiCurationError, "out.nwb"):
        export(small_analyzer(), tmp_path / "out.nwb", t_start=0.0, overwrite=overwrite)


def test_target_below_a_file(refused, there):
    with refused(sic.SiCurationError, "out.nwb"):
        export(small_analyzer(), there / "below.nwb", t_start=0.0, overwrite=True)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("mode", ["new", "sidecar", "export"])
@pytest.mark.parametrize("how", ["same", "link", "hard link", "dots"])
@pytest.mark.slow
def test_target_is_the_source(refused, tmp_path, source, mode, how, overwrite):
    path = source()
    target = path
    if how == "link":
        target = tmp_path / "link.nwb"
        make_link(target, path)
    elif how == "hard link":
        target = tmp_path / "hard.nwb"
        os.link(path, target)
    elif how == "dots":
        (tmp_path / "a").mkdir()
        target = tmp_path / "a" / ".." / "source.nwb"
    with refused(sic.SiCurationError, "source"):
        export(
            small_analyzer(),
            target,
            source_nwb=path,
            mode=mode,
            overwrite=overwrite,
            metadata=None if mode == "export" else FULL_METADATA,
            t_start=0.0,
        )


@pytest.mark.parametrize("units_name", ["units", "curated"])
def test_units_that_exist_already(refused, source, units_name):
    path = source(units={4: [0.1, 0.2]})
    if units_name == "curated":
        export(small_analyzer(), path, mode="append", units_name="curated")
    with refused(sic.OutputExistsError, units_name, "units_name"):
        export(small_analyzer(), path, mode="append", units_name=units_name)
    with refused(sic.OutputExistsError, units_name, "units_name"):
        export(small_analyzer(), path, mode="append", units_name=units_name, overwrite=True)


def test_export_onto_units_that_exist(refused, there, source):
    path = source(units={4: [0.1, 0.2]})
    with refused(sic.OutputExistsError, "units", "units_name"):
        export(small_analyzer(), there, source_nwb=path, mode="export", overwrite=True)


@pytest.mark.parametrize("units_name", ["", "a/b", "/", ".", "..", 5, None, "curation_log"])
def test_name_of_units_that_cannot_be(refused, there, units_name):
    with refused(sic.ParameterError, "units_name"):
        export(small_analyzer(), there, t_start=0.0, units_name=units_name, overwrite=True)


def test_append_to_what_is_not_there(refused, tmp_path):
    with refused(sic.FolderNotFoundError, "nothing.nwb"):
        export(small_analyzer(), tmp_path / "nothing.nwb", mode="append", t_start=0.0)


def test_append_to_another_file_than_the_source(refused, tmp_path, source):
    path = source()
    shutil.copy(path, tmp_path / "other.nwb")
    with refused(sic.ParameterError, "append"):
        export(small_analyzer(), tmp_path / "other.nwb", source_nwb=path, mode="append")


@pytest.mark.parametrize("mode", ["sidecar", "export"])
def test_mode_that_needs_a_source(refused, there, mode):
    with refused(sic.ParameterError, "source_nwb", mode):
        export(small_analyzer(), there, mode=mode, t_start=0.0, overwrite=True)


@pytest.mark.parametrize("mode", ["overwrite", "", "NEW", 3])
def test_mode_that_is_none(refused, there, mode):
    with refused(sic.ParameterError, "mode", "sidecar"):
        export(small_analyzer(), there, mode=mode, t_start=0.0, overwrite=True)
