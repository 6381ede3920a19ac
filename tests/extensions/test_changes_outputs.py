"""One rule for `get_data(outputs=...)` of all extensions of this package."""

import inspect

import numpy as np
import pandas as pd
import pytest
import spikeinterface.core.sortinganalyzer as si_sortinganalyzer
from spikeinterface.core.analyzer_extension_core import BaseSpikeVectorExtension

import si_curation as sic
from helpers.other_sorters import other_analyzer
from si_curation.extensions.changes import UnitsExtension

OURS = sorted(
    name
    for name, module in si_sortinganalyzer._builtin_extensions.items()
    if module.startswith("si_curation.")
)
OF_UNITS = [name for name in OURS if name not in ("template_features",)]


@pytest.fixture(scope="module")
def analyzer():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute([name for name in OURS if name != "template_assignment"])
    return analyzer


def test_there_are_all():
    names = {
        value.extension_name
        for name in sic.__all__
        if inspect.isclass(value := getattr(sic, name)) and issubclass(value, UnitsExtension)
    }
    assert names == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_forms_and_default(analyzer, name):
    extension = analyzer.get_extension(name)
    parameter = inspect.signature(extension._get_data).parameters["outputs"]
    assert parameter.default == extension.outputs[0]
    for outputs in extension.outputs:
        assert extension.get_data(outputs=outputs) is not None
    for wrong in ("xarray", None, 3):
        with pytest.raises(sic.ParameterError, match=r"outputs is .*, expected ") as error:
            extension.get_data(outputs=wrong)
        assert all(repr(one) in str(error.value) for one in extension.outputs)


@pytest.mark.parametrize("name", OURS)
def test_units_have_data_frames_and_spikes_arrays(analyzer, name):
    extension = analyzer.get_extension(name)
    if name not in OF_UNITS:  # as SpikeInterface's extensions of single spikes
        assert isinstance(extension, BaseSpikeVectorExtension)
        assert extension.outputs == ("numpy", "by_unit")
        return
    table = extension.get_data(outputs="dataframe")
    assert isinstance(table, pd.DataFrame)
    named = [str(one) for one in (*table.index.names, *table.columns) if one is not None]
    index_is_units = list(table.index) == list(analyzer.unit_ids)
    assert index_is_units or any(one.startswith("unit_id") for one in named)


def test_the_frames_hold_the_numbers_of_the_arrays(analyzer):
    ids = analyzer.unit_ids
    one = analyzer.get_extension("unit_similarity")
    np.testing.assert_array_equal(one.get_data(outputs="dataframe"), one.get_data())
    assert one.get_data(outputs="dataframe").at[4, 13] == one.get_data()[0, -1]
    one = analyzer.get_extension("cross_correlograms")
    for arguments in ({}, {"convention": "phy", "normalization": "hz"}):
        values, bins = one.get_data(**arguments)
        table = one.get_data(outputs="dataframe", **arguments)
        np.testing.assert_array_equal(table.loc[(ids[1], ids[2])], values[1, 2])
        np.testing.assert_array_equal(table.columns, bins[:-1])
        assert table.shape == (ids.size**2, bins.size - 1)
    copy = analyzer.copy()
    pairs = copy.compute("cross_correlograms", pairs="neighbours")
    table = pairs.get_data(outputs="dataframe")
    assert list(table.index) == [tuple(pair) for pair in pairs.get_pairs()]
    np.testing.assert_array_equal(table, pairs.get_data()[0])
    one = analyzer.get_extension("spike_waveforms")
    table, values = one.get_data(outputs="dataframe"), one.get_data()
    stored = one.get_stored_fraction() > 0
    assert len(table) == stored.sum()
    assert not np.delete(table.columns, one.nbefore).tolist().count(0.0)
    assert table.columns[one.nbefore] == 0.0
    unit, channel = np.argwhere(stored)[-1]
    row = table.loc[(ids[unit], analyzer.channel_ids[channel])]
    np.testing.assert_array_equal(row, values[unit, :, channel])


def test_another_sorter_with_string_ids():
    analyzer = other_analyzer()
    analyzer.compute(["unit_similarity", "cross_correlograms"])
    for name in ("unit_similarity", "cross_correlograms"):
        table = analyzer.get_extension(name).get_data(outputs="dataframe")
        assert "none" in table.index.get_level_values(0)
