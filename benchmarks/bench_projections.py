"""Projections rebuilt from Kilosort 4's features against those of the traces that it sorted.

    python benchmarks/make_kilosort4_truth.py OUTPUT
    python benchmarks/bench_projections.py OUTPUT [OUTPUT ...]

Both come from the extension `template_features`: source="pc_features", with the channels as they
are listed and as they are repaired, and source="recording" on the whitened traces with the same
templates. One table for each OUTPUT.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np


def project(folder, recording, **params):
    import si_curation as sic

    analyzer = sic.read_kilosort_as_analyzer(folder, recording, unwhiten=False)
    features = analyzer.compute("template_features", progress_bar=False, **params)
    template_ids = analyzer.get_extension("template_assignment").get_spike_template_ids()
    values, index = features.get_data()
    dense = np.zeros((len(values), len(index) + 1), dtype=np.float32)  # the last column for -1
    np.put_along_axis(dense, index[template_ids], values, axis=1)
    return dense[:, :-1], template_ids, features.template_norms, analyzer


def well_isolated(truth, similarity):
    """Templates less similar than 0.5 to any other, found with an accuracy above 0.9."""
    others = similarity - np.diag(np.diag(similarity))
    return (others.max(axis=1) < 0.5) & (truth["unit_accuracy"] > 0.9)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("outputs", nargs="+", type=Path)
    warnings.simplefilter("ignore")
    import spikeinterface.core as sc

    for output in parser.parse_args().outputs:
        folder = output / "kilosort4"
        num_channels = np.load(folder / "channel_map.npy").size
        recording = sc.read_binary(
            output / "whitened.f32", 30_000.0, "float32", num_channels=num_channels
        )
        expected, template_ids, norms, analyzer = project(folder, recording, source="recording")
        similarity = analyzer.get_extension("template_assignment").get_template_similarity()
        with np.load(output / "fixture" / "truth.npz") as truth:
            isolated = well_isolated(truth, similarity)[template_ids]
        own = np.arange(template_ids.size), template_ids
        print(f"\n{output.name}: {template_ids.size} spikes, {norms.size} templates")
        print("| channels | own r by unit: median (smallest) | own wins, isolated | all |")
        print("| --- | --- | --- | --- |")
        print(
            f"| the traces themselves | | {wins(expected, norms, own)[isolated].mean():.4f} "
            f"| {wins(expected, norms, own).mean():.4f} |"
        )
        for channels in ("file", "repaired"):
            found, *_ = project(folder, None, source="pc_features", feature_channels=channels)
            r = [
                np.corrcoef(found[template_ids == k, k], expected[template_ids == k, k])[0, 1]
                for k in np.unique(template_ids)
            ]
            won = wins(found, norms, own)
            print(
                f"| {channels} | {np.median(r):.3f} ({min(r):.3f}) "
                f"| {won[isolated].mean():.4f} | {won.mean():.4f} |"
            )


def wins(values, norms, own):
    """Whether the own template has the largest projection over norm."""
    return (values / norms).argmax(axis=1) == own[1]


if __name__ == "__main__":
    main()
