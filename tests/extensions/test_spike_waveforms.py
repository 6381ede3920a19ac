"""`spike_waveforms`: statistics of rebuilt waveforms, through curation and storage."""

from __future__ import annotations

import shutil

import numba
import numpy as np
import pytest
from spikeinterface.core import load_sorting_analyzer

import si_curation as sic

NAME = "spike_waveforms"
OPTIONS = {"num_templates": 14, "num_channels": 24, "num_spikes": 1500, "curation": 5, "seed": 8}


@pytest.fixture(scope="module")
def truth(simulate):
    return simulate("kilosort4", **OPTIONS)


@pytest.fixture
def analyzer(truth):
    analyzer = sic.read_kilosort_as_analyzer(truth.folder)
    analyzer.compute(NAME)
    return analyzer


def expected(analyzer, unit_id, function, max_spikes=500):
    """A statistic of the waveforms of a unit, from `get_spike_waveforms`."""
    found = sic.get_spike_waveforms(analyzer, unit_id=unit_id, max_spikes=max_spikes)
    dense = np.zeros((found.waveforms.shape[1], len(analyzer.channel_ids)))
    columns = np.isin(analyzer.channel_ids, found.channel_ids)
    dense[:, columns] = function(found.waveforms.astype("float64"), axis=0)
    return dense


def check(analyzer, unit_ids=None):
    extension = analyzer.get_extension(NAME)
    for unit_id in analyzer.unit_ids if unit_ids is None else unit_ids:
        for operator, function in (("average", np.mean), ("std", np.std), ("median", np.median)):
            found = extension.get_unit_template(unit_id, operator)
            wanted = expected(analyzer, unit_id, function)
            atol = 2e-3 * np.abs(expected(analyzer, unit_id, np.mean)).max()
            np.testing.assert_allclose(found, wanted, atol=atol, err_msg=f"{unit_id} {operator}")


def test_statistics(analyzer):
    check(analyzer)
    extension = analyzer.get_extension(NAME)
    unit_id = analyzer.unit_ids[2]
    np.testing.assert_allclose(
        extension.get_unit_template(unit_id, "percentile", 25),
        expected(analyzer, unit_id, lambda values, axis: np.percentile(values, 25, axis=axis)),
        atol=1e-3,
    )
    one = extension.get_waveforms_one_unit(unit_id)
    dense = extension.get_waveforms_one_unit(unit_id, force_dense=True)
    channels = np.flatnonzero(analyzer.sparsity.mask[2])
    np.testing.assert_array_equal(dense[:, :, channels], one)
    assert one.shape[0] == extension.get_spike_indices_one_unit(unit_id).size
    stored = extension.get_stored_fraction()
    assert np.isnan(stored[~analyzer.sparsity.mask]).all()
    assert stored[analyzer.sparsity.mask].min() >= 0
    assert stored[analyzer.sparsity.mask].max() <= 1


def test_fewer_spikes_are_averaged(analyzer):
    extension = analyzer.compute(NAME, max_spikes_per_unit=7)
    counts = analyzer.sorting.count_num_spikes_per_unit(outputs="array")
    np.testing.assert_array_equal(extension.get_num_spikes(), np.minimum(counts, 7))
    unit_id = analyzer.unit_ids[0]
    wanted = expected(analyzer, unit_id, np.mean, max_spikes=7)
    np.testing.assert_allclose(extension.get_unit_template(unit_id), wanted, atol=1e-2)


def test_threads_do_not_matter(analyzer, monkeypatch):
    from si_curation.reading import feature_waveforms

    monkeypatch.setattr(feature_waveforms, "_SPIKES_PER_BLOCK", 64)
    results = []
    before = numba.get_num_threads()
    for threads in (1, before):
        numba.set_num_threads(threads)
        analyzer.compute(NAME, max_spikes_per_unit=None)
        extension = analyzer.get_extension(NAME)
        results.append([extension.get_templates(operator=one) for one in ("average", "std")])
    numba.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        np.testing.assert_array_equal(one, two)


def test_merges_splits_and_removals(analyzer):
    a, b, c, d = analyzer.unit_ids[:4].tolist()
    session = sic.CurationSession(analyzer)
    merged = session.merge([a, b])
    count = int(analyzer.sorting.count_num_spikes_per_unit()[c])
    parts = session.split(c, np.arange(count) % 2)
    session.remove([d])
    after = session.apply()
    new = [merged, *parts]
    check(after, new)
    same = [one for one in analyzer.unit_ids.tolist() if one not in (a, b, c, d)]
    np.testing.assert_array_equal(
        after.get_extension(NAME).get_templates(same),
        analyzer.get_extension(NAME).get_templates(same),
    )
    check(after, same[:2])


def test_spikeinterfaces_merges_and_selections(analyzer):
    a, b = analyzer.unit_ids[:2].tolist()
    merged, new = analyzer.merge_units([[a, b]], sparsity_overlap=0.0, return_new_unit_ids=True)
    check(merged, new)
    some = analyzer.select_units(analyzer.unit_ids[3:6])
    check(some)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["zarr", "binary_folder"])
def test_saved(analyzer, tmp_path, format):
    path = tmp_path / ("saved.zarr" if format == "zarr" else "saved")
    saved = analyzer.save_as(format=format, folder=path)
    loaded = load_sorting_analyzer(path)
    for one in (saved, loaded):
        extension = one.get_extension(NAME)
        np.testing.assert_array_equal(
            extension.get_templates(), analyzer.get_extension(NAME).get_templates()
        )
        assert extension.info == analyzer.get_extension(NAME).info
    check(loaded, loaded.unit_ids[:2])


def test_the_folder_is_gone(simulate, tmp_path, caplog):
    truth = simulate("kilosort4", **OPTIONS)
    analyzer = sic.read_kilosort_as_analyzer(truth.folder, principal_components=False)
    extension = analyzer.compute(NAME)
    average = extension.get_templates()
    shutil.move(truth.folder, tmp_path / "elsewhere")
    np.testing.assert_array_equal(extension.get_templates(), average)
    with pytest.raises(sic.FolderNotFoundError):
        extension.get_waveforms_one_unit(analyzer.unit_ids[0])
    a, b = analyzer.unit_ids[:2].tolist()
    session = sic.CurationSession(analyzer)
    merged = session.merge([a, b])
    after = session.apply().get_extension(NAME)
    assert "waveforms of new units are not known" in caplog.text
    assert np.isnan(after.get_unit_template(merged)).all(), "a placeholder"
    assert np.isnan(after.get_unit_template(merged, "std")).all()
    np.testing.assert_array_equal(after.get_templates([analyzer.unit_ids[3]]), average[[3]])


def test_channels_are_selected(analyzer):
    ids = analyzer.channel_ids[4:16]
    some = analyzer._select_channels(ids)
    np.testing.assert_array_equal(
        some.get_extension(NAME).get_templates(),
        analyzer.get_extension(NAME).get_templates()[:, :, 4:16],
    )
    check(some, some.unit_ids[:3])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"operator": "mode"}, "operator"),
        ({"operator": "percentile"}, "percentile is None"),
        ({"operator": "median", "percentile": 5}, "percentile is 5"),
        ({"operator": "percentile", "percentile": 101}, "percentile"),
    ],
)
def test_what_is_refused(analyzer, arguments, match):
    with pytest.raises(sic.ParameterError, match=match):
        analyzer.get_extension(NAME).get_templates(**arguments)


@pytest.mark.parametrize("name", ["max_spikes_per_unit", "feature_channels"])
def test_parameters_that_are_refused(analyzer, name):
    with pytest.raises(sic.ParameterError, match=name):
        analyzer.compute(NAME, **{name: 0})
    assert analyzer.has_extension(NAME), "what was there is gone"
