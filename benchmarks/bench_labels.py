"""Labels that are learnt, beside presets: right on recordings that were left out, and fast.

    python benchmarks/bench_labels.py --unitrefine FOLDER --truth FOLDER [FOLDER ...] [--speed]

``--unitrefine`` names the folder with ``noise_neural.csv`` and ``sua_mua.csv`` (labels of human
curators and metrics of 8 recordings, from the UnitRefine project: MIT, Anoushka Jain and the
UnitRefine authors). In the first label 1 is noise: its units fire less and have more violations,
and the units of label 0 are those that the second has. ``--truth`` names sorted simulated
recordings; see `truth.py`. Each recording is labelled by a model that was learnt from the others
alone, its threshold too.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import si_curation as sic
from _common import record
from si_curation.learning.report import area_under_roc
from truth import SortedTruth

# not in `curation_metrics`, or not of the same kind
NOT_OURS = ("sync_spike_2", "sync_spike_4", "sync_spike_8", "isi_violations_count", "rp_violations")
# of the same name in both, by what they need: spike times alone, also amplitudes, also features
OF_TIMES = ["firing_rate", "firing_range", "presence_ratio", "isi_violations_ratio"]
OF_TIMES += ["rp_contamination"]
OF_AMPLITUDES = ["amplitude_cutoff", "amplitude_cv_median", "amplitude_cv_range"]
OF_FEATURES = ["isolation_distance", "l_ratio", "d_prime", "nn_hit_rate", "nn_miss_rate"]
OF_FEATURES += ["silhouette"]
# the columns of presets that the table has: its sliding_rp_violation for IBL's, and no noise_cutoff
PRESETS = {
    "allen_default": [("isi_violations_ratio", ">", 0.5), ("amplitude_cutoff", ">", 0.1),
                      ("presence_ratio", "<", 0.95)],
    "allen_documented": [("isi_violations_ratio", ">=", 0.5), ("amplitude_cutoff", ">=", 0.1),
                         ("presence_ratio", "<=", 0.9)],
    "ibl_rigor, as far as it goes": [("sliding_rp_violation", ">", 0.1),
                                     ("amplitude_median", "<=", 50)],
    "bombcell-like": [("rp_contamination", ">", 0.1), ("amplitude_cutoff", ">", 0.2),
                      ("presence_ratio", "<", 0.7), ("num_spikes", "<", 300), ("snr", "<", 5)],
}  # fmt: skip
COMPARE = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}


def balanced(said, truth):
    return float(np.mean([np.mean(said[truth == one] == one) for one in np.unique(truth)]))


def kept_by(rules, table):
    """Units that a preset keeps; a value that is missing rejects none (which helps presets)."""
    kept = np.ones(len(table), dtype=bool)
    for column, comparison, threshold in rules:
        kept &= ~COMPARE[comparison](table[column].to_numpy(dtype=float), threshold)
    return kept


def leave_recordings_out(table, accuracy):
    """Return what models of the other recordings say of each unit, in the order of the table."""
    parts = []
    for name in table["session"].unique():
        model = sic.learn_labels(table[table["session"] != name], accuracy=accuracy)
        rows = table[table["session"] == name]
        found = model.label(metrics=rows.drop(columns=["session", "group"]))
        first = found.probabilities[model.labels[0]]
        parts.append(found.table.assign(chance=first, truth=rows["group"], session=name))
    return pd.concat(parts)


def show(title, found, first):
    truth = found["truth"].to_numpy()
    right, decided = found["likeliest"] == found["truth"], found["decided"]
    auc = area_under_roc(found["chance"].to_numpy(), truth == first)
    print(f"\n{title}: {len(found)} units, {found['session'].nunique()} recordings")
    exact = balanced(found["likeliest"].to_numpy(), truth)
    print(f"  AUC {auc:.4f}, balanced accuracy {exact:.3f}")
    print(f"  decided {decided.mean():.3f}, of these right {right[decided].mean():.4f}")
    each = right[decided].groupby(found["session"][decided]).mean()
    listed = ", ".join(f"{name}: {value:.3f}" for name, value in each.sort_values().items())
    print(f"  of each recording {listed}")


def human_labels(folder):
    for file, labels in (("noise_neural", ["neural", "noise"]), ("sua_mua", ["mua", "sua"])):
        table = pd.read_csv(folder / f"{file}.csv").dropna(subset=["firing_rate"])
        table = table.reset_index(drop=True).drop(columns=[*NOT_OURS, "unit_id"])
        table["group"] = np.array(labels)[table.pop("label")]
        table["session"] = table.pop("recording").map("recording {}".format)
        show(file, leave_recordings_out(table, 0.95), labels[0])
        good = labels[1] if file == "sua_mua" else labels[0]
        bad = next(one for one in labels if one != good)
        rules = sic.suggest_thresholds(table)
        print(f"  suggested: {rules.rules}: {rules.table.iloc[-1]['balanced_accuracy_unseen']:.3f}")
        for name, rules in PRESETS.items():
            said = np.where(kept_by(rules, table), good, bad)
            print(f"  {name}: balanced accuracy {balanced(said, table['group'].to_numpy()):.3f}")


def true_labels(sorted_truth):
    """Return "good" for units of one neuron, with few spikes of others and most of its own."""
    out = []
    trains = sorted_truth.trains
    for unit_id in sorted_truth.analyzer.unit_ids:
        own = sorted_truth.unit_train(unit_id)
        window = int(0.4e-3 * sorted_truth.analyzer.sampling_frequency)
        shared = [0]
        for train in trains[: sorted_truth.num_of_interest]:
            place = np.searchsorted(train, own)
            before = np.abs(own - train[np.maximum(place - 1, 0)]) if len(train) else own + 10**9
            after = np.abs(own - train[np.minimum(place, len(train) - 1)])
            shared.append(int((np.minimum(before, after) <= window).sum()))
        out.append("good" if max(shared) >= 0.9 * max(len(own), 1) else "mua")
    return out


def transfer(unitrefine, found):
    """Label the simulated units by models of the human labels, on columns of the same name."""
    table = pd.read_csv(unitrefine / "sua_mua.csv").dropna(subset=["firing_rate"])
    table["group"] = np.where(table.pop("label") == 1, "good", "mua")
    table["session"] = table.pop("recording")
    truth = found["group"].to_numpy()
    print("\nmodels of human labels on the simulated units")
    columns = []
    for name, more in (("times", OF_TIMES), ("+ amplitudes", OF_AMPLITUDES),
                       ("+ features", OF_FEATURES)):  # fmt: skip
        columns = columns + more
        model = sic.learn_labels(table, columns=columns)
        parts = [model.label(metrics=of) for _, of in found.groupby("sorting", sort=False)]
        chance = pd.concat([part.probabilities["good"] for part in parts]).to_numpy()
        said = pd.concat([part.table for part in parts])
        order = np.concatenate([of.index for _, of in found.groupby("sorting", sort=False)])
        of_truth, decided = truth[order], said["decided"].to_numpy()
        own = area_under_roc(model.learnt.left_out.log_odds[:, 0], model.learnt.labels == "good")
        right = (said["likeliest"].to_numpy() == of_truth)[decided].sum()
        print(f"  {name}: AUC {area_under_roc(chance, of_truth == 'good'):.3f} (own {own:.3f}), "
              f"balanced accuracy {balanced(said['likeliest'].to_numpy(), of_truth):.3f}, "
              f"decided {decided.mean():.2f}, {right} of {decided.sum()} right; "
              f"{said['doubt'].value_counts().to_dict()}")  # fmt: skip


def simulated(folders, unitrefine):
    tables = []
    for folder in folders:
        one = SortedTruth(folder)
        one.analyzer.compute("curation_metrics")
        table = one.analyzer.get_extension("curation_metrics").get_data()
        presets = {}
        for name in ("allen_default", "allen_documented", "ibl_rigor", "kilosort_good"):
            try:
                presets[name] = sic.label_units(one.analyzer, name).labels
            except sic.SiCurationError as fault:
                print(f"  {one.name}, {name}: {fault}")
        table = table.select_dtypes("number").drop(
            columns=["depth_um", "template_id", "num_templates", "num_spikes", "amp", "shank",
                     "best_channel_id"], errors="ignore",
        )  # fmt: skip
        table = table.assign(group=true_labels(one), session=one.recording, sorting=one.name)
        tables.append(table.assign(**{f"preset {n}": v for n, v in presets.items()}))
    table = pd.concat(tables, ignore_index=True)
    said = {name: table.pop(name) for name in list(table) if name.startswith("preset ")}
    print(f"\nsimulated: {table['group'].value_counts().to_dict()}")
    found = leave_recordings_out(table.drop(columns="sorting"), 0.95).sort_index()
    show("simulated, truth", found, "good")
    for name, labels in said.items():
        as_given = labels.where(labels == "good", "mua").to_numpy()
        print(f"  {name}: balanced accuracy {balanced(as_given, table['group'].to_numpy()):.3f}")
    rules = sic.suggest_thresholds(table.drop(columns="sorting"))
    print(f"  suggested: {rules.rules}: {rules.table.iloc[-1]['balanced_accuracy_unseen']:.3f}")
    if unitrefine is not None:
        transfer(unitrefine, table)


def speed():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(5000, 45)), columns=[f"metric {n}" for n in range(45)])
    score = table["metric 0"] + table["metric 1"] ** 2 + rng.normal(size=5000)
    table["group"] = np.where(score < 0, "noise", np.where(score < 1.5, "mua", "good"))
    table["session"] = np.arange(5000) % 10
    sic.learn_labels(table.iloc[:300])  # compiles
    start = time.perf_counter()
    model = sic.learn_labels(table)
    middle = time.perf_counter()
    for _ in range(10):
        model.label(metrics=table.iloc[:500, :45])
    record("labels", "learning from 5,000 units of 10 sessions, 45 columns", middle - start)
    record("labels", "labelling 10 sessions of 500 units", time.perf_counter() - middle)
    print(f"\nlearning from 5,000 units of 10 sessions, 45 columns: {middle - start:.1f} s")
    print(f"labelling 10 sessions of 500 units: {time.perf_counter() - middle:.2f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--unitrefine", type=Path)
    parser.add_argument("--truth", type=Path, nargs="+", default=[])
    parser.add_argument("--speed", action="store_true")
    given = parser.parse_args()
    if given.unitrefine is not None:
        human_labels(given.unitrefine)
    if given.truth:
        simulated(given.truth, given.unitrefine)
    if given.speed:
        speed()
