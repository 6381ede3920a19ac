"""Projections rebuilt from a real Kilosort 4's features, beside the traces that it sorted.

``data/kilosort4_with_truth`` was made by ``benchmarks/make_kilosort4_truth.py``: some spikes of a
Kilosort 4.1.7 sorting of a simulated recording, with the dot products of the whitened traces and
the templates.
"""

from pathlib import Path

import numpy as np
import pytest

import si_curation as sic

FOLDER = Path(__file__).parents[1] / "data" / "kilosort4_with_truth"


@pytest.fixture(scope="module")
def truth():
    with np.load(FOLDER / "truth.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def analyzer():
    return sic.read_kilosort_as_analyzer(FOLDER)


def project(analyzer, feature_channels):
    features = analyzer.compute(
        "template_features", feature_channels=feature_channels, progress_bar=False
    )
    values, index = features.get_data()
    template_ids = analyzer.get_extension("template_assignment").get_spike_template_ids()
    return features, values, index[template_ids], template_ids


def in_order_of(truth, index, template_ids, name):
    """Truth in the columns of `index` (n_spikes, K)."""
    dense = np.zeros((len(template_ids), len(truth["template_index"])))
    rows = np.arange(len(template_ids))[:, None]
    dense[rows, truth["template_index"][template_ids]] = truth[name]
    return dense[rows, index]


def own_is_largest(features, values, index):
    return (values / features.template_norms[index]).argmax(axis=1) == 0


def test_rebuilt_projections_are_those_of_the_traces_on_the_stored_channels(analyzer, truth):
    features, values, index, template_ids = project(analyzer, "repaired")
    assert features.source == "pc_features"
    assert features.info["feature_channels"] == "repaired"
    assert features.info["basis"] == "ops.npy (wPCA)"
    alone = ~truth["is_overlapped"].astype(bool)
    expected = in_order_of(truth, index, template_ids, "projections_stored_channels")
    assert np.corrcoef(values[alone].ravel(), expected[alone].ravel())[0, 1] > 0.99999
    slope = (values[alone] * expected[alone]).sum() / (expected[alone] ** 2).sum()
    assert slope == pytest.approx(1.0, abs=1e-3)
    # overlapping spikes are in the traces, and were taken out before the features were taken
    assert np.corrcoef(values.ravel(), expected.ravel())[0, 1] > 0.9


def test_agreement_with_the_traces_by_unit(analyzer, truth):
    _, values, index, template_ids = project(analyzer, "repaired")
    expected = in_order_of(truth, index, template_ids, "projections")
    alone = ~truth["is_overlapped"].astype(bool)
    correlations = []
    for template in np.unique(template_ids):
        spikes = (template_ids == template) & alone
        if spikes.sum() >= 20:
            correlations.append(np.corrcoef(values[spikes, 0], expected[spikes, 0])[0, 1])
    assert len(correlations) >= 10
    assert np.median(correlations) > 0.999
    assert min(correlations) > 0.98


def test_own_template_has_the_largest_normalised_projection(analyzer, truth):
    isolated = truth["is_well_isolated"].astype(bool)
    features, values, index, template_ids = project(analyzer, "repaired")
    repaired = own_is_largest(features, values, index)[isolated[template_ids]].mean()
    features, values, index, template_ids = project(analyzer, "file")
    as_listed = own_is_largest(features, values, index)[isolated[template_ids]].mean()
    assert repaired > 0.99
    assert as_listed < 0.95  # Kilosort 4 lists wrong channels where clusters share a template


def test_repaired_channels_are_those_that_kilosort_took_the_features_on(analyzer, truth):
    assignment = analyzer.get_extension("template_assignment")

    files, of_folder = assignment.get_feature_files(), assignment.get_spikes_of_folder()
    found = files.features_of_spikes(of_folder, "repaired")
    channels = found.channels[found.groups]
    expected = truth["feature_channels"]
    stored = expected >= 0
    np.testing.assert_array_equal(channels[stored], expected[stored])
    listed = files.features_of_spikes(of_folder, "file")
    wrong = (listed.channels[listed.groups] != expected) & stored
    assert wrong.any(axis=1).mean() > 0.3

    # and with them the features of a spike are where its waveform is
    spikes = np.flatnonzero(wrong.any(axis=1))[:50]
    all_channels = np.arange(analyzer.get_num_channels())
    as_phy = sic.get_spike_features(analyzer, spikes, all_channels)
    repaired = sic.get_spike_features(analyzer, spikes, all_channels, feature_channels="repaired")
    in_file = np.load(FOLDER / "pc_features.npy")
    for i, spike in enumerate(spikes):
        for column in np.flatnonzero(stored[spike]):
            channel = expected[spike, column]
            np.testing.assert_array_equal(repaired[i, channel], in_file[spike, :, column])
    assert not np.array_equal(as_phy, repaired)


@pytest.mark.slow
def test_recovered_basis_is_the_one_that_kilosort_wrote(tmp_path):
    import shutil

    target = tmp_path / "folder"
    shutil.copytree(FOLDER, target)
    known = sic.read_kilosort_as_analyzer(target)
    exact = known.compute("template_features", feature_channels="file", progress_bar=False)
    (target / "ops.npy").unlink()
    without = sic.read_kilosort_as_analyzer(target)
    found = without.compute("template_features", feature_channels="file", progress_bar=False)
    assert found.info["basis"] == "recovered"
    assert np.isfinite(found.info["basis_condition_number"])
    values, expected = found.get_data()[0], exact.get_data()[0]
    assert np.corrcoef(values.ravel(), expected.ravel())[0, 1] > 0.99
