"""Damage of any kind to the files of a folder, for the tests that read what is broken."""

from __future__ import annotations

import hashlib
import io
import shutil
from contextlib import contextmanager

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import si_curation as sic

NAMES = (
    "spike_times.npy",
    "spike_templates.npy",
    "spike_clusters.npy",
    "amplitudes.npy",
    "spike_positions.npy",
    "templates.npy",
    "similar_templates.npy",
    "channel_map.npy",
    "channel_positions.npy",
    "channel_shanks.npy",
    "pc_features.npy",
    "pc_feature_ind.npy",
    "whitening_mat.npy",
    "whitening_mat_inv.npy",
    "ops.npy",
    "params.py",
    "cluster_group.tsv",
    "cluster_KSLabel.tsv",
    "cluster_Amplitude.tsv",
    "cluster_info.tsv",
)
ABSENT = ("template_ind.npy", "pc_feature_spike_ids.npy", "template_features.npy", "notes.csv")


def small_copy(folder):
    """Make a small copy of the example folder: few spikes and features, so that most matters."""
    folder.mkdir()
    for name in NAMES:
        shutil.copyfile(sic.example_folder() / name, folder / name)
    for name in NAMES[:5]:
        np.save(folder / name, np.load(folder / name)[:300])
    np.save(folder / "pc_features.npy", np.load(folder / "pc_features.npy")[:300, :1])
    return folder


def places(size=400):
    """Offsets in a file: mostly where its header is."""
    return st.one_of(st.integers(0, 130), st.integers(0, size), st.integers(0, 400_000))


MUTATIONS = st.one_of(
    st.tuples(
        st.just("flip"), st.lists(st.tuples(places(), st.integers(1, 255)), min_size=1, max_size=6)
    ),
    st.tuples(st.just("bit"), st.tuples(places(), st.integers(0, 7))),
    st.tuples(st.just("cut"), places()),
    st.tuples(st.just("swap"), st.sampled_from(NAMES)),
    st.tuples(st.just("random"), st.binary(max_size=300)),
    st.tuples(st.just("append"), st.binary(min_size=1, max_size=50)),
    st.tuples(st.just("insert"), st.tuples(places(), st.binary(min_size=1, max_size=8))),
    st.tuples(st.just("delete"), st.tuples(places(), st.integers(1, 20))),
    st.tuples(st.just("repeat"), st.tuples(places(), st.integers(1, 200))),
    st.tuples(
        st.just("array"),
        hnp.arrays(
            st.one_of(
                hnp.integer_dtypes(endianness="?"),
                hnp.unsigned_integer_dtypes(endianness="?"),
                hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
                hnp.boolean_dtypes(),
                hnp.complex_number_dtypes(),
                hnp.unicode_string_dtypes(max_len=3),
            ),
            hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        ),
    ),
    st.tuples(st.just("reshape"), st.none()),
    st.tuples(st.just("text"), st.text(max_size=60)),
    st.tuples(st.just("absent"), st.none()),
)


def mutate(content, kind, how):
    """Give the broken content of a file; None: no file."""
    if kind == "flip":
        broken = bytearray(content)
        for place, change in how:
            if broken:
                broken[place % len(broken)] ^= change
        return bytes(broken)
    if kind == "bit":
        broken = bytearray(content or b"\0")
        broken[how[0] % len(broken)] ^= 1 << how[1]
        return bytes(broken)
    if kind == "cut":
        return content[: how % (len(content) + 1)]
    if kind == "swap":
        return (sic.example_folder() / how).read_bytes()
    if kind == "append":
        return content + how
    if kind in ("insert", "delete", "repeat"):
        place = how[0] % (len(content) + 1)
        middle, after = {
            "insert": (how[1], content[place:]),
            "delete": (b"", content[place:][how[1] :] if kind == "delete" else b""),
            "repeat": (content[place : place + 20], content[place:]),
        }[kind]
        return content[:place] + middle + after
    if kind == "array":
        file = io.BytesIO()
        np.save(file, how)
        return file.getvalue()
    if kind == "reshape":
        try:
            values = np.load(io.BytesIO(content))
        except Exception:  # no array, or broken already
            return content[::-1]
        file = io.BytesIO()
        np.save(file, values.reshape(-1)[::-1].reshape(values.shape[::-1]))
        return file.getvalue()
    if kind == "text":
        return how.encode()
    return how


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).digest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextmanager
def damaged(folder, mutations):
    """Do mutations to the files of a folder, and mend it afterwards."""
    contents = {}
    try:
        for name, (kind, how) in mutations:
            path = folder / name
            content = path.read_bytes() if path.exists() else b""
            contents.setdefault(name, content if path.exists() else None)
            broken = mutate(content, kind, how)
            path.unlink(missing_ok=True)
            if broken is not None:
                path.write_bytes(broken)
        yield
    finally:
        for name, content in contents.items():
            (folder / name).unlink(missing_ok=True)
            if content is not None:
                (folder / name).write_bytes(content)
