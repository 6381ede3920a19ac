import numpy as np
import pytest
from matplotlib.text import Text

import si_curation as sic


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(sic.example_folder())


@pytest.mark.slow
def test_suggestions_and_labels_are_drawn(analyzer):
    suggestions = sic.suggest_splits(analyzer, unit_ids=[10, 13])
    widget = sic.plot_split(analyzer, suggestions, 10)
    assert not any(isinstance(panel, str) for panel in widget.panels.values())
    np.testing.assert_array_equal(widget.labels, suggestions.labels(10))
    assert widget.panels["correlograms"].axes.size == 4
    same = sic.plot_split(analyzer, suggestions.labels(10) * 3 + 1, 10)
    np.testing.assert_array_equal(widget.labels, same.labels)
    # nothing in common to project on: the panel says so, the others are drawn
    three = sic.plot_split(analyzer, suggestions, 13).panels
    assert "no channel in common" in three["projections"]
    assert not isinstance(three["waveforms"], str)


@pytest.mark.slow
@pytest.mark.parametrize("num_parts", [2, 6])
def test_parts_are_named_as_parts_and_not_as_units(analyzer, num_parts):
    num_spikes = sic.CurationSession(analyzer).get_spikes(10).size
    widget = sic.plot_split(analyzer, np.arange(num_spikes) % num_parts, 10)
    words = [text.get_text() for text in widget.figure.findobj(Text)]
    for part in range(num_parts):
        count = np.count_nonzero(widget.labels == part)
        assert words.count(f"part {part}: {count} spikes") == 1
        assert words.count(f"part {part}") == 2  # of the matrix of correlograms
    # ids of a copy, which can be those of other units, are nowhere
    assert [word for word in words if "unit " in word] == [f"unit 10 in {num_parts} parts"]
    assert not [word for word in words if "×" in word or "11 " in word]
    assert not [ax for ax in widget.figure.axes if ax.get_legend() is not None]


def test_wrong_labels_are_one_error(analyzer):
    for labels in (np.zeros(909, int), np.arange(3), np.ones(909), np.arange(909)):
        with pytest.raises(sic.ParameterError, match="split has"):
            sic.plot_split(analyzer, labels, 4)
    with pytest.raises(sic.ParameterError, match=r"refractory_period_ms is -1.*split is \[\["):
        sic.plot_split(analyzer, [[1, 2], [3]], 4, refractory_period_ms=-1)
    with pytest.raises(sic.UnknownIdError):
        sic.plot_split(analyzer, np.zeros(3, int), 999)
