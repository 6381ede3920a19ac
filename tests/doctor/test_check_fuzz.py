"""The folder doctor on random damage: it always answers, and agrees with the reader.

``pytest -n 0 -m "" --fuzz 10 tests/doctor/test_check_fuzz.py`` looks further.
"""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import si_curation as sic
from helpers.fuzz_folders import ABSENT, MUTATIONS, NAMES, damaged, digests, small_copy
from helpers.fuzzing import bounded, examples

OTHERS = (
    *ABSENT,
    "pc_feature_spike_ids.npy",
    "template_feature_ind.npy",
    "kept_spikes.npy",
    "spike_detection_templates.npy",
    "whitening_mat_dat.npy",
    "results.pkl",
    "notes.npy",
    "._cluster_group.tsv",
    "cluster_info.csv",
    "recording.dat",
    ".phy/new_cluster_id.json",
    ".phy/spikes_per_cluster.pkl",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a small copy of the example folder that is broken and mended in turn."""
    made = small_copy(tmp_path_factory.mktemp("fuzz") / "ks4")
    (made / ".phy").mkdir()
    with damaged(made, [("similar_templates.npy", ("absent", None))]):
        sic.check_phy_folder(made)  # compiles what is not in every machine's cache
    return made


def check_doctor(folder, what):
    before = digests(folder)
    with bounded(f"the doctor, {what}"), warnings.catch_warnings():
        warnings.simplefilter("error")
        findings = sic.check_phy_folder(folder)
    assert digests(folder) == before
    for finding in findings:
        assert "failed" not in finding.evidence, finding
        assert finding.check
        assert finding.where
        assert len(str(finding).splitlines()) == 1
        assert len(str(finding)) < 1500
    evidence = [dict(finding.evidence) for finding in findings]
    assert json.loads(json.dumps(evidence, allow_nan=True)) is not None
    errors = [finding for finding in findings if finding.severity == "error"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sic.SiCurationWarning)
        refused = []
        try:
            sic.read_phy_folder(folder).close()
        except sic.PhyFolderError as refusal:
            refused = list(refusal.findings)
    assert errors == refused


@examples(250)
@given(st.lists(st.tuples(st.sampled_from([*NAMES, *OTHERS]), MUTATIONS), min_size=1, max_size=3))
def test_any_damage_is_answered(folder, mutations):
    with damaged(folder, mutations):
        if not folder.joinpath("spike_times.npy").exists() and not any(
            (folder / name).exists() for name in ("spike_templates.npy", "templates.npy")
        ):
            return
        check_doctor(folder, mutations)


INTEGERS = st.one_of(
    st.integers(-3, 12), st.integers(-(2**31), 2**31 - 1), st.sampled_from([2**31 - 1, -(2**31)])
)


@examples(100)
@given(
    st.dictionaries(
        st.sampled_from(["spike_times", "spike_templates", "spike_clusters"]),
        st.lists(st.tuples(st.integers(0, 299), INTEGERS), min_size=1, max_size=20),
        min_size=1,
    ),
    st.sampled_from([np.int32, np.int64, np.float64]),
)
def test_any_numbers_are_answered(folder, changes, dtype):
    """Files that are whole, with numbers in them that nobody would write."""
    names = [f"{name}.npy" for name in changes]
    contents = {name: (folder / name).read_bytes() for name in names}
    try:
        for name, values in changes.items():
            array = np.load(folder / f"{name}.npy").astype(dtype)
            for row, value in values:
                array[row] = value
            np.save(folder / f"{name}.npy", array)
        check_doctor(folder, changes)
    finally:
        for name, content in contents.items():
            (folder / name).write_bytes(content)


FLOATS = st.one_of(
    st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e38, -1e38, 1e-40]), st.floats(width=32)
)


@examples(100)
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "templates",
                "similar_templates",
                "whitening_mat",
                "whitening_mat_inv",
                "channel_positions",
                "amplitudes",
                "pc_features",
            ]
        ),
        st.lists(st.tuples(st.integers(0, 10_000), FLOATS), min_size=1, max_size=10),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
def test_any_floats_are_answered(folder, changes, everywhere):
    contents = {name: (folder / f"{name}.npy").read_bytes() for name in changes}
    try:
        for name, values in changes.items():
            array = np.load(folder / f"{name}.npy")
            for place, value in values:
                array.reshape(-1)[place % array.size] = value
            if everywhere:
                array[...] = values[0][1]
            np.save(folder / f"{name}.npy", array)
        check_doctor(folder, changes)
    finally:
        for name, content in contents.items():
            (folder / f"{name}.npy").write_bytes(content)
