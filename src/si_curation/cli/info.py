"""The command that lists what a folder holds."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from si_curation.cli.options import example, folder_argument, json_option, sampling_frequency_option
from si_curation.cli.output import echo

if TYPE_CHECKING:
    from si_curation.phy.folder import PhyFolder


@click.command(epilog=example("info si_curation_demo/phy"))
@folder_argument
@sampling_frequency_option
@json_option
def info(folder: Path, sampling_frequency: float | None, as_json: bool) -> None:
    """List what a Kilosort/phy folder holds."""
    from si_curation.phy.folder import read_phy_folder

    with read_phy_folder(folder, sampling_frequency=sampling_frequency) as phy_folder:
        facts = _facts(phy_folder)
    if as_json:
        echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            lines = [", ".join(f"{count} {key}" for key, count in value.items())]
        for i, line in enumerate(lines or ["none"]):
            label = name.replace("_", " ") if i == 0 else ""
            echo(f"{label:<{width}}  {line}")


def _facts(folder: PhyFolder) -> dict[str, Any]:
    used = np.unique(folder.spike_templates).size if folder.num_spikes else 0
    shape = "sparse" if folder.template_channels is not None else "dense"
    optional = {
        "pc_features": folder.pc_features,
        "template_features": folder.template_features,
        "spike_positions": folder.spike_positions,
        "amplitudes": folder.amplitudes,
        "similar_templates": folder.similar_templates,
        "whitening_mat": folder.whitening,
        "whitening_mat_inv": folder.whitening_inv,
        "ops": folder.ops,
    }
    num_samples = max(folder.raw_num_samples or 0, folder.last_sample + 1)
    length = "of the raw data" if folder.raw_num_samples else "to the last spike"
    return {
        "folder": str(folder.folder),
        "sorter": " ".join(filter(None, [folder.sorter.name, folder.sorter.version])),
        "known_by": folder.sorter.evidence,
        "sampling_frequency_hz": folder.sampling_frequency,
        "duration": f"{num_samples / folder.sampling_frequency:.3f} s ({length})",
        "spikes": folder.num_spikes,
        "clusters": int(folder.cluster_ids.size),
        "groups": dict(Counter(folder.groups.values())),
        "templates": f"{folder.num_templates} {shape}, {folder.num_templates - used} without "
        f"spikes, {folder.templates.shape[1]} samples, {folder.num_samples_before} before the peak "
        f"({folder.num_samples_before_evidence})"
        if folder.templates is not None
        else f"{used} that spikes name; templates.npy is missing",
        "whitening": _whitening(folder),
        "channels": folder.num_channels,
        "shanks": int(np.unique(folder.channel_shanks).size),
        "curated": bool(not np.array_equal(folder.spike_clusters, folder.spike_templates)),
        "has": ", ".join(name for name, value in optional.items() if value is not None),
        "columns": [f"{column.name} ({column.file})" for column in folder.columns.values()],
        "raw_data": [
            f"{path}{'' if os.path.isfile(path) else ' (not there)'}" for path in folder.data_paths
        ],
        "findings": [f"{finding.severity}: {finding}" for finding in folder.findings],
    }


def _whitening(folder: PhyFolder) -> str:
    if not folder.sorter.always_whitens:
        return "the sorter is not known to whiten"
    if folder.can_be_unwhitened:
        return "in the folder: templates are unwhitened with it"
    return "not in the folder: templates stay whitened, nothing is in µV"
