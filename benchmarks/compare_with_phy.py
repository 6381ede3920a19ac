"""Compare every cluster of any folders with the real phy, and print a table: n equal of n.

    python benchmarks/compare_with_phy.py FOLDER... [--sampling-frequency HZ] [--json FILE]

phy 2.1.0 is run by the Python that the environment variable SI_CURATION_PHY_PYTHON names. It gets
a copy of the small files and links to the large ones in a temporary folder, so nothing in the
folders is changed. Compared are, for each cluster: number of spikes, most frequent template, all
ranked channels, best channel, depth, shank, firing rate, amplitude, the five most similar clusters;
the table that phy saves (``cluster_info.tsv``); and, for the first and last clusters, the features
of their spikes on the best channel.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

import si_curation as sic
from si_curation.quality.metrics.cluster_info import make_cluster_info

PHY_PROGRAM = """
import json, os, sys
from pathlib import Path
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
import numpy as np
from phy.apps.template.gui import TemplateController
from phy.gui.qt import create_app
from phylib.io.model import load_model

folder = Path(sys.argv[1])
create_app()
model = load_model(folder / "params.py")
phy = TemplateController(
    model=model, dir_path=folder, config_dir=folder / ".phy_config", enable_threading=False
)
ids = [int(c) for c in phy.supervisor.clustering.cluster_ids]
answers, failed = {}, {}
for c in ids:
    try:
        answers[c] = {
            "num_spikes": int(phy.supervisor.n_spikes(c)),
            "template": int(phy.get_template_for_cluster(c)),
            "channels": [int(x) for x in phy.get_best_channels(c)],
            "best": int(phy.get_best_channel(c)),
            "depth": float(phy.get_probe_depth(c)),
            "shank": float(phy.get_channel_shank(c)),
            "rate": float(phy.get_mean_firing_rate(c)),
            "amplitude": float(phy.get_cluster_amplitude(c)),
            # the first of phy's list is the cluster itself
            "similar": [(int(a), float(b)) for a, b in phy.template_similarity(c) if a != c][:5],
        }
    except Exception as error:
        failed[c] = repr(error)
features = {}
if model.features is not None:
    for c in [*ids[:6], *ids[-3:]]:
        if c in answers:
            rows = np.asarray(phy.supervisor.clustering.spikes_per_cluster[c])[:500]
            values = model.get_features(rows, [answers[c]["best"]])
            if values is not None:
                features[c] = [rows.tolist(), np.asarray(values)[:, 0].tolist()]
phy.supervisor.save()
print("ANSWERS " + json.dumps({"clusters": answers, "failed": failed, "features": features}))
"""
ASPECTS = (
    "num_spikes",
    "template",
    "channels",
    "best",
    "depth",
    "shank",
    "rate",
    "amplitude",
    "similar",
)


def ask_phy(folder: Path, scratch: Path) -> dict:
    """Return phy's answers; `scratch` gets the folder as phy saves it."""
    scratch.mkdir()
    for path in sorted(folder.iterdir()):
        # what phy writes is copied, what it only reads is linked
        if path.suffix in (".tsv", ".csv", ".py") or path.name == "spike_clusters.npy":
            shutil.copyfile(path, scratch / path.name)
        elif path.is_file():
            (scratch / path.name).symlink_to(path.resolve())
    if not (scratch / "spike_clusters.npy").exists():
        shutil.copyfile(folder / "spike_templates.npy", scratch / "spike_clusters.npy")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [os.environ["SI_CURATION_PHY_PYTHON"], "-c", PHY_PROGRAM, str(scratch)],
        capture_output=True,
        text=True,
        check=False,
        env=environment | {"QT_QPA_PLATFORM": "offscreen"},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    if not lines:
        raise RuntimeError((done.stderr or done.stdout).strip().splitlines()[-1])
    found = json.loads(lines[-1].removeprefix("ANSWERS "))
    for name in ("clusters", "failed", "features"):
        found[name] = {int(cluster): value for cluster, value in found[name].items()}
    return found


def ask_ours(folder: Path, sampling_frequency: float | None) -> dict[int, dict]:
    """Return our answers, in the form of phy's."""
    analyzer = sic.read_kilosort_as_analyzer(
        folder, unwhiten="phy", sampling_frequency=sampling_frequency, principal_components=False
    )
    analyzer.compute(["template_best_channels", "unit_similarity"])
    best = analyzer.get_extension("template_best_channels")
    table = best.get_data(outputs="dataframe")
    first = table[table["rank"] == 0].set_index("unit_id")
    largest = table.groupby("unit_id")["amplitude"].max()
    channels = best.get_data(outputs="indices")
    assignment = analyzer.get_extension("template_assignment").get_data()
    similarity = analyzer.get_extension("unit_similarity")
    answers = {}
    for unit in analyzer.unit_ids.tolist():
        if unit not in first.index:
            continue
        similar = similarity.get_similar_units(unit)
        answers[unit] = {
            "num_spikes": int(assignment.loc[unit, "num_spikes"]),
            "template": int(assignment.loc[unit, "template_id"]),
            "channels": channels[unit].tolist(),
            "best": int(first.loc[unit, "channel_index"]),
            "depth": float(first.loc[unit, "y_um"]),
            "shank": first.loc[unit, "shank"],
            "rate": assignment.loc[unit, "num_spikes"] / analyzer.get_total_duration(),
            "amplitude": float(largest[unit]),
            "similar": list(similar["similarity"].items()),
        }
    return answers


def is_equal(aspect: str, ours: object, phys: object) -> bool:
    """Whether an answer is phy's; rates to 1e-5, similar clusters by their scores."""
    if aspect == "rate":
        return bool(np.isclose(ours, phys, rtol=1e-5))
    if aspect == "amplitude":
        return np.float32(ours) == np.float32(phys)
    if aspect == "similar":  # clusters of equal scores come in any order
        scores = dict(ours)
        return all(np.isclose(scores.get(unit, np.nan), score, atol=1e-6) for unit, score in phys)
    return ours == phys


def compare(folder: Path, scratch: Path, sampling_frequency: float | None) -> dict:
    """Return {aspect: (equal, compared)} of a folder, and what differs."""
    phys, ours = ask_phy(folder, scratch), ask_ours(folder, sampling_frequency)
    counts, differing = {}, []
    for aspect in ASPECTS:
        clusters = [c for c in phys["clusters"] if c in ours]
        same = [is_equal(aspect, ours[c][aspect], phys["clusters"][c][aspect]) for c in clusters]
        counts[aspect] = (sum(same), len(phys["clusters"]))
        differing += [
            (aspect, c, ours[c][aspect], phys["clusters"][c][aspect])
            for c, equal in zip(clusters, same, strict=True)
            if not equal
        ]
    counts["cluster_info rows"] = compare_tables(folder, scratch, sampling_frequency)
    counts["features"] = compare_features(folder, phys, sampling_frequency)
    return {"counts": counts, "differing": differing, "phy failed on": phys["failed"]}


def compare_tables(
    folder: Path, scratch: Path, sampling_frequency: float | None
) -> tuple[int, int]:
    """Count the rows of phy's table that ours has too."""
    saved = scratch / "cluster_info.tsv"
    if not saved.exists():
        return 0, 0
    rows = saved.read_text(encoding="utf-8").splitlines()[1:]
    ours = make_cluster_info(folder, sampling_frequency=sampling_frequency).decode().splitlines()
    known = set(ours[1:])
    return sum(row in known for row in rows), len(rows)


def compare_features(folder: Path, phys: dict, sampling_frequency: float | None) -> tuple[int, int]:
    """Count the clusters whose features on the best channel are phy's to the bit."""
    if not phys["features"]:
        return 0, 0
    analyzer = sic.read_kilosort_as_analyzer(
        folder, unwhiten="phy", sampling_frequency=sampling_frequency, principal_components=False
    )
    rows_of_spikes = analyzer.get_extension("template_assignment").get_spike_rows()
    order = np.argsort(rows_of_spikes)
    equal = 0
    for cluster, (rows, values) in phys["features"].items():
        place = order[np.searchsorted(rows_of_spikes, rows, sorter=order)]
        channel = phys["clusters"][cluster]["best"]
        ours = sic.get_spike_features(analyzer, place, [channel])[:, 0]
        equal += np.array_equal(ours, np.asarray(values, dtype=np.float32), equal_nan=True)
    return equal, len(phys["features"])


def main() -> None:
    """Compare the folders that are named, and print a markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--sampling-frequency", type=float, help="where there is no params.py")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    arguments = parser.parse_args()
    if not os.environ.get("SI_CURATION_PHY_PYTHON"):
        sys.exit("SI_CURATION_PHY_PYTHON names no Python that has phy")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    results: dict[str, dict] = {}
    for folder in filter(Path.is_dir, arguments.folders):
        with tempfile.TemporaryDirectory() as scratch:
            try:
                results[str(folder)] = compare(
                    folder, Path(scratch) / folder.name, arguments.sampling_frequency
                )
            except (RuntimeError, sic.SiCurationError) as error:
                results[str(folder)] = {"failed": str(error).splitlines()[0]}
    print_table(results)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, default=str, indent=1))


def print_table(results: dict[str, dict]) -> None:
    """Print one row for each folder, and the sum."""
    names = [*ASPECTS, "cluster_info rows", "features"]
    print(f"| folder | {' | '.join(names)} |\n{'| --- ' * (len(names) + 1)}|")
    total = dict.fromkeys(names, (0, 0))
    for folder, result in results.items():
        if "failed" in result:
            print(f"| {folder} | not compared: {result['failed']} |")
            continue
        counts = result["counts"]
        print(f"| {folder} | {' | '.join('{} of {}'.format(*counts[n]) for n in names)} |")
        total = {n: (total[n][0] + counts[n][0], total[n][1] + counts[n][1]) for n in names}
    print(f"| all | {' | '.join('{} of {}'.format(*total[n]) for n in names)} |")
    for folder, result in results.items():
        for aspect, cluster, ours, phys in result.get("differing", [])[:20]:
            shown = ours[:5] if aspect == "similar" else ours
            print(f"\n{folder}: {aspect} of cluster {cluster}: {shown}, phy {phys}")
        for cluster, error in result.get("phy failed on", {}).items():
            print(f"\n{folder}: phy fails on cluster {cluster}: {error}")


if __name__ == "__main__":
    main()
