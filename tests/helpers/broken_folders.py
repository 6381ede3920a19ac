"""Folders with one fault each (some with several), and the check that has to find it.

Every fault is a function that breaks a copy of a clean folder. ``FAULTS`` has them by name.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import si_curation as sic
from helpers.links import make_link

RATE = 30_000
DURATION_S = 40
NUM_CHANNELS = 16


@dataclass(frozen=True)
class Fault:
    """A fault: the clean folder it is done to, and every finding above info that it must lead to.

    ``infos``: checks of which an info has to be among the findings.
    """

    name: str
    base: str
    break_folder: Callable[[Path], None]
    expected: frozenset[tuple[str, str]]
    infos: frozenset[str]
    words: tuple[str, ...]


FAULTS: dict[str, Fault] = {}


def fault(base="ks4", *, error=(), warning=(), info=(), words=()):
    """Register a fault with the checks that must find it."""

    def as_tuple(names):
        return (names,) if isinstance(names, str) else tuple(names)

    def register(function):
        expected = [("error", name) for name in as_tuple(error)]
        expected += [("warning", name) for name in as_tuple(warning)]
        assert expected or info
        FAULTS[function.__name__] = Fault(
            function.__name__,
            base,
            function,
            frozenset(expected),
            frozenset(as_tuple(info)),
            as_tuple(words),
        )
        return function

    return register


def make_clean_folders(root: Path) -> dict[str, Path]:
    """Make the clean folders that are broken."""
    common = {
        "num_templates": 8,
        "num_spikes": 4000,
        "num_channels": NUM_CHANNELS,
        "duration_s": DURATION_S,
        "shared_fraction": 0.0,
        "seed": 3,
    }
    curation = [("merge", [1, 3]), ("split", 5, 2), ("label", [8], "good"), ("label", [2], "noise")]
    folders = {
        "ks4": ("kilosort4", {}),
        "ks4_curated": ("kilosort4", {"curation": curation}),
        "ks4_silent": ("kilosort4", {"num_empty_templates": 1, "num_zero_templates": 1}),
        "ks1": ("kilosort1", {"feature_rows": 500, "num_channels": 24}),
        "ks2": ("kilosort2", {}),
        "ks2_curated": ("kilosort2", {"curation": curation}),
        "ks3": ("kilosort3", {}),
    }
    made = {}
    for name, (dialect, arguments) in folders.items():
        folder = root / name
        sic.simulate_kilosort_folder(folder, dialect=dialect, **{**common, **arguments})
        made[name] = folder
    made["example"] = root / "example"
    shutil.copytree(sic.example_folder(), made["example"])
    for path in [made["example"], *made["example"].iterdir()]:
        path.chmod(0o755)
    return made


# ------------------------------------------------------------------------------------- helpers


def load(folder, name):
    return np.load(folder / f"{name}.npy")


def save(folder, name, values):
    np.save(folder / f"{name}.npy", values)


def change(folder, name, function):
    """Replace an array by what a function makes of it (or changes in place)."""
    values = load(folder, name)
    changed = function(values)
    save(folder, name, values if changed is None else changed)


def cut(folder, name, num_bytes):
    path = folder / name
    os.truncate(path, path.stat().st_size - num_bytes)


def set_param(folder, name, text):
    """Replace the value of a line of ``params.py`` (or add the line)."""
    path = folder / "params.py"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not line.startswith(f"{name} ")] + [f"{name} = {text}"]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_table(folder, name, rows, column=None):
    column = column or name
    lines = [f"cluster_id\t{column}", *(f"{i}\t{value}" for i, value in rows)]
    (folder / f"cluster_{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_raw(folder, num_bytes=0, num_samples=RATE * DURATION_S):
    """Make a raw file of the right size and so many bytes more, without writing its content."""
    path = folder / "recording.dat"
    path.touch()
    os.truncate(path, num_samples * NUM_CHANNELS * 2 + num_bytes)


def add_rows(folder, rows):
    """Add copies of some rows to every per-spike file of Kilosort 4, in order of time."""
    order = np.sort(np.r_[np.arange(len(load(folder, "spike_times"))), rows])
    for name in ("spike_times", "spike_templates", "spike_clusters", "amplitudes"):
        change(folder, name, lambda values: values[order])
    for name in ("spike_positions", "pc_features", "spike_detection_templates"):
        change(folder, name, lambda values: values[order])
    (folder / "kept_spikes.npy").unlink()


class Foreign:
    """What a hostile pickle holds: to load it is to call a function."""

    def __reduce__(self):
        return os.mkdir, ("pwned",)


# ----------------------------------------------------------------------------- arrays


@fault(error="spikes", words="truncated")
def truncated_spike_times(folder):
    cut(folder, "spike_times.npy", 800)


@fault(warning="features", words=("truncated", "pc_features.npy"))
def truncated_features(folder):
    cut(folder, "pc_features.npy", 5)


@fault(error="templates", words="truncated")
def truncated_templates(folder):
    cut(folder, "templates.npy", 1)


@fault(warning="array_files", words=("truncated", "whitening_mat_dat.npy"))
def truncated_file_nobody_reads(folder):
    cut(folder, "whitening_mat_dat.npy", 10)


@fault(warning="array_files", words="more than its header says")
def file_longer_than_its_header(folder):
    with (folder / "amplitudes.npy").open("ab") as file:
        file.write(bytes(400))


@fault(error="spikes", words="spike_clusters.npy")
def clusters_of_another_run(folder):
    change(folder, "spike_clusters", lambda values: values[:-7])


@fault(warning="spikes", words="amplitudes.npy")
def amplitudes_of_another_run(folder):
    change(folder, "amplitudes", lambda values: np.r_[values, values[:3]])


@fault(error="spikes", warning="spikes", words=("3993", "spike_templates.npy"))
def times_of_another_run(folder):
    change(folder, "spike_times", lambda values: values[:-7])
    (folder / "kept_spikes.npy").unlink()
    (folder / "pc_features.npy").unlink()
    (folder / "spike_detection_templates.npy").unlink()


@fault(error="spikes", words="is missing")
def no_spike_templates(folder):
    (folder / "spike_templates.npy").unlink()


@fault(warning="kept_spikes")
def kept_spikes_of_another_run(folder):
    change(folder, "kept_spikes", lambda values: np.r_[values, np.ones(5, bool)])


@fault(warning="per_spike_lengths", words="spike_detection_templates.npy")
def detection_templates_of_another_run(folder):
    change(folder, "spike_detection_templates", lambda values: values[:-1])


@fault(error="spikes", words="bytes")
def zero_bytes(folder):
    (folder / "spike_times.npy").write_bytes(b"")


@fault(error="spikes", words="whole numbers")
def ids_with_fractions(folder):
    change(folder, "spike_clusters", lambda values: values + 0.5)


@fault(info="id_dtypes")
def ids_as_floats(folder):
    change(folder, "spike_clusters", lambda values: values.astype(float))


@fault(warning="amplitudes", words="NaN")
def amplitudes_with_nan(folder):
    def spoil(values):
        values[[5, 9]] = np.nan

    change(folder, "amplitudes", spoil)


@fault(warning="features", words="pc_feature_ind.npy")
def feature_index_of_another_run(folder):
    change(folder, "pc_feature_ind", lambda values: values[:-1])


@fault(warning="features", words="pc_feature_spike_ids.npy")
def features_of_some_spikes_without_their_rows(folder):
    change(folder, "pc_features", lambda values: values[:100])


@fault(warning="feature_files", words="not written to its end")
def features_not_written_to_the_end(folder):
    def spoil(values):
        values[-1500:] = 0

    change(folder, "pc_features", spoil)


@fault("ks1", warning="feature_files", words="more than once")
def feature_rows_twice(folder):
    def spoil(values):
        values[1] = values[0]

    change(folder, "pc_feature_spike_ids", spoil)


@fault("ks1", warning="feature_files", words="template_feature_ind.npy")
def template_features_without_index(folder):
    (folder / "template_feature_ind.npy").unlink()


# ----------------------------------------------------------------------------- spikes


@fault(warning="spike_order", words="2 spikes")
def spikes_out_of_order(folder):
    def swap(values):
        for i in (100, 200):
            values[[i, i + 1]] = values[[i + 1, i]]

    change(folder, "spike_times", swap)


@fault(warning="spikes_before_start", words="2 spikes")
def negative_times(folder):
    def spoil(values):
        values[:2] = [-50, -10]

    change(folder, "spike_times", spoil)


@fault(error="spikes", words="negative number stored unsigned")
def negative_times_unsigned(folder):
    def spoil(values):
        values = values.astype(np.uint64)
        values[0] = 2**64 - 5
        return values

    change(folder, "spike_times", spoil)


@fault("ks2", warning="spikes_beyond_end", words=("beyond the end", "length of the raw data"))
def spikes_beyond_the_raw_file(folder):
    write_raw(folder, num_samples=RATE * DURATION_S // 2)


@fault(warning="spikes_beyond_end", words=("3 spikes", "ops.npy"))
def spikes_beyond_the_batches(folder):
    def spoil(values):
        values[-3:] = [10**8, 2 * 10**8, 3 * 10**8]

    change(folder, "spike_times", spoil)


@fault("ks2", warning="spikes_beyond_end", words="2 spikes far beyond all others")
def wild_times_and_no_raw_file(folder):
    def spoil(values):
        values[-2:] = [[10**10], [10**11]]

    change(folder, "spike_times", spoil)


@fault(warning="repeated_spikes", words=("30 spikes", "there twice"))
def spikes_there_twice(folder):
    add_rows(folder, np.arange(0, 3000, 100))


@fault(warning="repeated_spikes", words="within 0.3 ms")
def spikes_found_twice(folder):
    rows = np.arange(0, 3000, 20)
    add_rows(folder, rows)
    times = load(folder, "spike_times")
    times[rows + np.arange(1, rows.size + 1)] += 4
    save(folder, "spike_times", np.maximum.accumulate(times))


# ----------------------------------------------------------------------------- ids


@fault(error="spikes", words="holds template 8")
def template_that_does_not_exist(folder):
    def spoil(values):
        values[[3, 4]] = 8

    change(folder, "spike_templates", spoil)


@fault("ks4_curated", error="spikes", info="templates_overwritten")
def clusters_written_over_templates(folder):
    shutil.copyfile(folder / "spike_clusters.npy", folder / "spike_templates.npy")


@fault(error="spikes", words="negative ids")
def negative_clusters(folder):
    def spoil(values):
        values[:4] = -1

    change(folder, "spike_clusters", spoil)


@fault(error="spikes", words="expected ids below")
def enormous_ids(folder):
    change(folder, "spike_clusters", lambda values: values.astype(np.int64) + 2**40)


@fault(error="spikes", warning="spikes_beyond_end", words=("1 of ", "days", "1,000,000,000,000"))
def a_rogue_time(folder):
    def spoil(values):
        values = values.astype(np.int64)
        values[-1] = 10**12
        return values

    change(folder, "spike_times", spoil)


@fault("ks1", warning="cluster_ids_large")
def large_ids(folder):
    def spoil(values):
        values[values == 7] = 5_000_000

    change(folder, "spike_clusters", spoil)


@fault("ks1", info="cluster_ids_large", words="50007")
def gap_in_ids(folder):
    def spoil(values):
        values[values == 7] = 50_007

    change(folder, "spike_clusters", spoil)


@fault("ks1", warning="cluster_ids_reused", words="(template 7)")
def clusters_renumbered(folder):
    change(folder, "spike_clusters", lambda values: 7 - values.astype(np.int32))


@fault("ks4_curated", warning="spike_clusters_missing", words="merges and splits are lost")
def curated_clusters_lost(folder):
    (folder / "spike_clusters.npy").unlink()
    for path in folder.glob("cluster_*.tsv"):
        if path.name != "cluster_info.tsv":
            path.unlink()
    rows = [(i, n) for i, n in enumerate(np.bincount(load(folder, "spike_templates")))]
    write_table(folder, "info", rows, "n_spikes")


@fault("ks4_curated", warning="phy_cache")
def cache_of_other_clusters(folder):
    (folder / ".phy").mkdir()
    (folder / ".phy" / "new_cluster_id.json").write_text('{"new_cluster_id": 4}')


# ----------------------------------------------------------------------------- tables


@fault("ks4_curated", warning="table_ids", words=("covers the sorter's templates", "KSLabel"))
def sorter_table_from_before_curation(folder):
    write_table(folder, "KSLabel", [(i, "good") for i in range(8)])
    info = folder / "cluster_info.tsv"  # the same in the snapshot, but for the ids
    text = info.read_text().replace("\tmua\t", "\tgood\t")
    info.write_text(text.replace("KSLabel", "KSLabel_old"))


@fault("ks4", warning="other_readers", words=("6 of 8 units", "read_phy"))
def labels_of_some_clusters_and_no_snapshot(folder):
    write_table(folder, "group", [(0, "good"), (3, "mua")])


@fault(warning=("table_ids", "other_readers"), words="no row for 2 clusters")
def sorter_table_without_some_clusters(folder):
    write_table(folder, "ContamPct", [(i, 5.0) for i in range(6)])


@fault("ks2_curated", warning=("cluster_info", "other_readers"), words="no row for 1 cluster")
def snapshot_without_a_cluster(folder):
    path = folder / "cluster_info.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


@fault("ks2_curated", warning="cluster_info", words="n_spikes wrong in 2 rows")
def snapshot_from_before_a_change(folder):
    clusters = load(folder, "spike_clusters")
    clusters[np.flatnonzero(clusters == 0)[:9]] = 2
    save(folder, "spike_clusters", clusters)


@fault("ks2_curated", warning="cluster_info", words="group differs from cluster_group.tsv")
def snapshot_with_other_labels(folder):
    write_table(folder, "group", [(8, "mua"), (2, "noise")])


@fault(warning="table_ids", words="ids without spikes")
def stale_rows(folder):
    write_table(folder, "snr", [(i, 2.5) for i in range(12)])


@fault(warning="blank_columns", words="blank in all of 8 rows")
def blank_column(folder):
    write_table(folder, "snr", [(i, "") for i in range(8)])


@fault("ks1", warning=("blank_columns", "other_readers"), words="a header and no row")
def table_without_rows(folder):
    write_table(folder, "snr", [])


@fault(warning="blank_columns", words="blank for 1 cluster: 3")
def blank_in_a_sorter_column(folder):
    write_table(folder, "ContamPct", [(i, "" if i == 3 else 4.0) for i in range(8)])


@fault(warning="tables", words="expected each id once")
def ids_twice_in_a_table(folder):
    write_table(folder, "snr", [*((i, 2.5) for i in range(8)), (3, 1.0)])


@fault(warning="tables", words="UTF-8")
def table_in_another_encoding(folder):
    (folder / "cluster_note.tsv").write_bytes(b"cluster_id\tnote\n0\tM\xfcller\n")


@fault(warning="tables", words="differs from the one in")
def two_tables_that_differ(folder):
    write_table(folder, "group", [(i, "good") for i in range(8)])
    write_table(folder, "group_old", [(i, "mua") for i in range(8)], "group")


@fault(warning="unknown_groups", words="'Good'")
def misspelt_group(folder):
    write_table(folder, "group", [(i, "Good" if i == 2 else "good") for i in range(8)])


@fault(info="unknown_groups", words="'axon'")
def group_of_ones_own(folder):
    write_table(folder, "group", [(i, "axon" if i == 2 else "good") for i in range(8)])


@fault(info="groups_against_sorter")
def curator_and_sorter_disagree(folder):
    write_table(folder, "KSLabel", [(i, "good") for i in range(8)])
    write_table(folder, "ContamPct", [(i, 1.5) for i in range(8)])
    write_table(folder, "group", [(i, "noise" if i == 2 else "good") for i in range(8)])


@fault(warning="labels_on_few_spikes", words="20 (6)")
def good_unit_of_six_spikes(folder):
    clusters = load(folder, "spike_clusters")
    clusters[np.flatnonzero(clusters == 0)[:6]] = 20
    save(folder, "spike_clusters", clusters)
    for name, value in (("KSLabel", "good"), ("group", "good"), ("ContamPct", 0.0)):
        column = "KSLabel" if name == "group" else name
        write_table(folder, name, [(i, value) for i in (*range(8), 20)], column)
    (folder / "cluster_Amplitude.tsv").unlink()


@fault(warning="contamination_range", words="50 or more")
def good_and_contaminated(folder):
    for name in ("KSLabel", "group"):
        write_table(folder, name, [(i, "good") for i in range(8)], "KSLabel")
    write_table(folder, "ContamPct", [(i, 80.0 if i == 4 else 1.0) for i in range(8)])


@fault(warning="amplitudes", words="amplitudes of 0")
def amplitudes_missing(folder):
    (folder / "amplitudes.npy").unlink()


@fault("ks2", warning="amplitudes", words="copy it from the sorter's output")
def amplitudes_of_kilosort2_missing(folder):
    (folder / "amplitudes.npy").unlink()


def change_ops(folder, **values):
    ops = np.load(folder / "ops.npy", allow_pickle=True).item()
    np.save(folder / "ops.npy", np.array({**ops, **values}), allow_pickle=True)


@fault(info="sorter_settings", words=("multiplied by -200", "upside down"))
def scaled_and_inverted(folder):
    change_ops(folder, scale=200.0, invert_sign=True)


@fault(info="sorter_settings", words="from the start to 100 s")
def sorted_to_a_time(folder):
    change_ops(folder, tmax=100.0)


# ----------------------------------------------------------------------------- templates


@fault(warning="empty_templates", words="zero everywhere")
def zero_template_with_spikes(folder):
    def spoil(values):
        values[2] = 0

    change(folder, "templates", spoil)


@fault(warning="empty_templates", words="NaN")
def nan_template_with_spikes(folder):
    def spoil(values):
        values[2] = np.nan

    change(folder, "templates", spoil)


@fault("ks4_silent", info=("empty_templates", "templates_without_spikes"))
def templates_without_spikes(folder):
    pass


@fault(warning="templates", words="similar_templates.npy")
def similarity_of_another_run(folder):
    change(folder, "similar_templates", lambda values: values[:-1, :-1])


@fault(warning="similar_templates", words="NaN")
def similarity_with_nan(folder):
    def spoil(values):
        values[1, 2] = np.nan

    change(folder, "similar_templates", spoil)


@fault("ks1", error="templates", words="template_ind.npy")
def sparse_templates_without_channels(folder):
    (folder / "template_ind.npy").unlink()


@fault("ks1", error="templates", words="template_ind.npy")
def sparse_templates_on_channels_that_are_not_there(folder):
    def spoil(values):
        values[0, 0] = 24

    change(folder, "template_ind", spoil)


# ----------------------------------------------------------------------------- whitening


@fault(warning="whitening_inverse", words="is not the inverse")
def wrong_inverse(folder):
    change(folder, "whitening_mat_inv", lambda values: values + np.float32(0.1))


@fault(warning="whitening_inverse", words="its transpose is")
def transposed_inverse(folder):
    change(folder, "whitening_mat_inv", lambda values: values.T)


@fault(warning="whitening_shape", words="is diagonal")
def diagonal_whitening_of_kilosort4(folder):
    save(folder, "whitening_mat", np.eye(NUM_CHANNELS, dtype="f4") * 2)
    save(folder, "whitening_mat_inv", np.eye(NUM_CHANNELS, dtype="f4") / 2)


@fault("ks3", info="whitening_shape", words="as Kilosort 2.5 and 3 write it")
def diagonal_whitening(folder):
    pass


@fault(info="whitening_shape", words="another best channel")
def asymmetric_whitening(folder):
    pass


@fault(warning="whitening", words="whitening_mat.npy")
def whitening_of_another_probe(folder):
    change(folder, "whitening_mat", lambda values: values[:4, :4])


@fault(warning="whitening_inverse", words="singular")
def singular_whitening(folder):
    (folder / "whitening_mat_inv.npy").unlink()
    change(folder, "whitening_mat", lambda values: np.full_like(values, 0.5))


# ----------------------------------------------------------------------------- channels, raw


@fault("ks2", error="channels", words="n_channels_dat")
def channel_beyond_the_raw_file(folder):
    change(folder, "channel_map", lambda values: values + 10)


@fault("ks2", error="channels", words="2 times")
def channel_twice(folder):
    def spoil(values):
        values[0] = values[1]

    change(folder, "channel_map", spoil)


@fault(warning="channel_map_and_ops", words="chanMap")
def channel_map_of_another_run(folder):
    change(folder, "channel_map", lambda values: values[::-1])


@fault(warning="channel_map_and_ops", words=("channel_shanks.npy", "kcoords"))
def shanks_of_another_probe(folder):
    change(folder, "channel_shanks", lambda values: np.arange(values.size) % 2)


@fault(warning="channels", words="one position")
def channels_at_one_place(folder):
    def spoil(values):
        values[3] = values[4]

    change(folder, "channel_positions", spoil)


@fault(error="channels", words="NaN")
def channel_without_position(folder):
    def spoil(values):
        values[3] = np.nan

    change(folder, "channel_positions", spoil)


@fault(warning="channel_positions", words="hardly in µm")
def positions_in_metres(folder):
    change(folder, "channel_positions", lambda values: values * 1e-6)


@fault("ks2", info="raw_paths", words="is not there")
def raw_file_missing(folder):
    pass


@fault("ks2", warning="raw_size", words="no whole number of frames")
def raw_file_cut(folder):
    write_raw(folder, num_bytes=7)


@fault("ks2", warning="raw_size", words="17 channels would fit")
def raw_file_of_more_channels(folder):
    num_samples = RATE * DURATION_S + 1
    write_raw(folder, num_samples=0, num_bytes=num_samples * (NUM_CHANNELS + 1) * 2)


@fault("ks2", info="raw_paths", words="path of Windows")
def raw_path_of_windows(folder):
    set_param(folder, "dat_path", r"r'D:\data\session 1\raw.bin'")


@fault("ks2", info="raw_paths", words="another machine")
def raw_path_of_another_machine(folder):
    set_param(folder, "dat_path", "['/no_such_disk_here/data/raw.bin']")


@fault("ks2", warning="raw_paths", words="control character")
def raw_path_with_escapes(folder):
    set_param(folder, "dat_path", r"'D:\new\test.bin'")


@fault("ks2", warning="raw_params", words="n_channels_dat")
def no_number_of_channels(folder):
    set_param(folder, "n_channels_dat", "'16'")


# ----------------------------------------------------------------------------- params


@fault(info="sampling_rate", words="no whole number")
def rate_with_a_fraction(folder):
    set_param(folder, "sample_rate", "29999.954")
    ops = folder / "ops.npy"
    content = np.load(ops, allow_pickle=True).item()  # ours: just made
    content["fs"] = 29999.954
    np.save(ops, np.array(content))


@fault(error="params", warning="channel_map_and_ops", words="kHz")
def rate_in_kilohertz(folder):
    set_param(folder, "sample_rate", "30.0")


@fault(error="params", words="sample_rate")
def rate_that_is_no_number(folder):
    set_param(folder, "sample_rate", "'fast'")


@fault(error="params", words="is missing")
def no_params(folder):
    (folder / "params.py").unlink()


@fault(error="params", words="is code")
def code_in_params(folder):
    with (folder / "params.py").open("a") as file:
        file.write("\nimport os; os.mkdir('pwned')\n")


# ----------------------------------------------------------------------------- safety, leftovers


@fault(warning="ops", words="mkdir")
def hostile_ops(folder):
    np.save(folder / "ops.npy", np.array({"fs": Foreign()}), allow_pickle=True)


@fault(warning="pickles", words="mkdir")
def hostile_pickle(folder):
    (folder / "results.pkl").write_bytes(pickle.dumps(Foreign()))


@fault(warning="pickles", words=".phy/spikes_per_cluster.pkl")
def hostile_cache(folder):
    (folder / ".phy").mkdir()
    (folder / ".phy" / "spikes_per_cluster.pkl").write_bytes(pickle.dumps({0: Foreign()}))


@fault(warning="pickles", words="mkdir")
def hostile_cache_after_an_array(folder):
    import joblib

    (folder / ".phy").mkdir()
    content = {0: np.arange(1000), 1: Foreign(), 2: np.arange(50)}
    joblib.dump(content, folder / ".phy" / "spikes_per_cluster.pkl")


@fault(error="spikes", words="Python objects")
def objects_instead_of_numbers(folder):
    change(folder, "spike_times", lambda values: values.astype(object))


@fault(info="pickles", words="plain data")
def objects_in_a_file_nobody_reads(folder):
    save(folder, "notes", np.array([{"a": 1}, None], dtype=object))


@fault(info="code", words="analysis.py")
def program_in_the_folder(folder):
    (folder / "analysis.py").write_text("raise SystemExit('never run')\n")


@fault(warning="interrupted_save", words=".si_curation.tmp")
def our_save_interrupted(folder):
    (folder / ".spike_clusters.npy.0123456789ab.si_curation.tmp").write_bytes(b"half")


@fault(warning="interrupted_save", words="begun and not finished")
def change_not_finished(folder):
    sic.write_phy_columns(folder, {"snr": {i: float(i) for i in range(8)}})
    for done in (folder / ".si_curation_backup").glob("*/done"):
        done.unlink()


@fault(info="other_files", words="cluster_group.tsv.bak")
def old_copies(folder):
    (folder / "cluster_group.tsv.bak").write_text("cluster_id\tgroup\n")


@fault(warning="other_files", words="macOS")
def hidden_files_of_macos(folder):
    (folder / "._cluster_group.tsv").write_bytes(b"\0\5\x16\7")


@fault(warning="zero_byte_files", words="rez.mat")
def file_of_zero_bytes(folder):
    (folder / "rez.mat").touch()


@fault(warning="broken_links", error="channels", words="recording_of_yesterday")
def link_to_nowhere(folder):
    path = folder / "channel_positions.npy"
    path.unlink()
    make_link(path, folder / "recording_of_yesterday.npy")


# ----------------------------------------------------------------------------- several at once


@fault(
    warning=("spikes", "tables", "spike_order", "whitening_inverse", "zero_byte_files"),
    info="code",
)
def several(folder):
    cut(folder, "amplitudes.npy", 3)
    change(folder, "spike_times", lambda values: values[::-1])
    ids_twice_in_a_table(folder)
    wrong_inverse(folder)
    file_of_zero_bytes(folder)
    program_in_the_folder(folder)


@fault(
    "example",
    error=("templates", "params"),
    warning=("interrupted_save", "repeated_spikes"),
    info="raw_paths",
)
def several_in_the_example(folder):
    cut(folder, "templates.npy", 3)
    with (folder / "params.py").open("a") as file:
        file.write("\nx = 1 + 1\nprint(x)\n")
    our_save_interrupted(folder)
