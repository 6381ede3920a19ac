"""`check_phy_folder`: read what can be read, run every check, give the findings in order."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from si_curation.checks import check_arguments, local_path
from si_curation.doctor import (
    arrays,
    channels,
    clusters,
    features,
    labels,
    leftovers,
    params,
    raw,
    safety,
    spikes,
    tables,
    templates,
    whitening,
)
from si_curation.doctor.facts import FolderFacts
from si_curation.errors import Finding, ParameterError
from si_curation.phy.arrays import Findings, one_line
from si_curation.phy.folder import read_parts
from si_curation.phy.locate import CORE_FILES, advice_on, folders_below, has_core_files
from si_curation.phy.params import is_rate, rate_problem
from si_curation.reading.loading import is_saved_analyzer

logger = logging.getLogger(__name__)

SEVERITIES = ("error", "warning", "info")

Check = Callable[[FolderFacts, Findings], None]
#: Every check by its name, which its findings have too, in the order in which they are run: a check
#: may ask what was found before it.
CHECKS: dict[str, Check] = {
    "array_files": arrays.check_array_files,
    "per_spike_lengths": arrays.check_per_spike_lengths,
    "id_dtypes": arrays.check_id_dtypes,
    "channel_positions": channels.check_positions,
    "channel_map_and_ops": channels.check_ops,
    "cluster_ids_reused": clusters.check_reused_ids,
    "clusters_many": clusters.check_many,
    "cluster_ids_large": clusters.check_large_ids,
    "spike_clusters_missing": clusters.check_clusters_missing,
    "templates_overwritten": clusters.check_templates_overwritten,
    "phy_cache": clusters.check_phy_cache,
    "detection_templates": clusters.check_detection_templates,
    "feature_files": features.check_feature_files,
    "own_template_features": features.check_own_templates,
    "unknown_groups": labels.check_groups,
    "groups_against_sorter": labels.check_against_sorter,
    "labels_on_few_spikes": labels.check_few_spikes,
    "contamination_range": labels.check_contamination,
    "interrupted_save": leftovers.check_interrupted,
    "zero_byte_files": leftovers.check_zero_bytes,
    "broken_links": leftovers.check_links,
    "other_files": leftovers.check_others,
    "sampling_rate": params.check_rate,
    "params_missing": params.check_params_missing,
    "sorter_settings": params.check_settings,
    "raw_params": raw.check_raw_params,
    "raw_paths": raw.check_raw_paths,
    "raw_size": raw.check_raw_size,
    "pickles": safety.check_pickles,
    "code": safety.check_code,
    "saved_analyzer": safety.check_saved_analyzer,
    "spike_count": spikes.check_spike_count,
    "spike_order": spikes.check_order,
    "spikes_before_start": spikes.check_negative,
    "spikes_beyond_end": spikes.check_beyond_end,
    "repeated_spikes": spikes.check_repeated,
    "amplitudes": spikes.check_amplitudes,
    "kept_spikes": spikes.check_kept_spikes,
    "table_ids": tables.check_table_ids,
    "other_readers": tables.check_other_readers,
    "blank_columns": tables.check_blank_columns,
    "cluster_info": tables.check_cluster_info,
    "columns_after_merges": tables.check_columns_after_merges,
    "empty_templates": templates.check_empty,
    "templates_without_spikes": templates.check_without_spikes,
    "similar_templates": templates.check_similarity,
    "template_shape": templates.check_shape,
    "whitening_inverse": whitening.check_inverse,
    "whitening_shape": whitening.check_shape,
}


def check_phy_folder(
    folder_path: str | Path, *, sampling_frequency: float | None = None
) -> list[Finding]:
    """Find what is wrong with a folder of Kilosort or phy, and what to do about it.

    Nothing is written, and nothing in the folder is run: ``params.py`` and pickles are read as
    data. The folder may be broken in any way; what cannot be opened is a finding too. Per-spike
    files are memory-mapped.

    Parameters
    ----------
    folder_path : str or Path
    sampling_frequency : float, optional
        In Hz, for a folder without ``params.py``.

    Returns
    -------
    list of Finding
        Errors first. "error": `read_phy_folder` refuses the folder, or SpikeInterface would run
        code if it loaded a saved analyzer that is there; "warning": it is read, but
        something is wrong, or will go wrong in phy or other programs; "info": good to know.
        ``.check`` names the check, ``.evidence`` has the figures (counts, first rows, ids).

    Raises
    ------
    ParameterError
        `sampling_frequency` is no number from 1,000 to 10,000,000.

    Examples
    --------
    >>> import si_curation as sic
    >>> findings = sic.check_phy_folder(sic.example_folder())
    >>> sorted({finding.severity for finding in findings})
    ['info', 'warning']
    >>> [finding.check for finding in findings if finding.severity == "warning"]
    ['repeated_spikes']
    """
    check_arguments(check_phy_folder, locals())
    if sampling_frequency is not None and not is_rate(sampling_frequency):
        raise ParameterError(rate_problem("sampling_frequency", sampling_frequency))
    findings = Findings()
    findings.check = "folder"
    try:
        path = local_path(folder_path, "folder_path")
        if _is_phy_folder(path, findings):
            _check(path.resolve(), findings, sampling_frequency)
    except (OSError, ValueError) as fault:  # ValueError: names that no file can have
        findings.check = "folder"
        findings.error(
            str(folder_path), f"cannot be opened: {one_line(fault)}", "make it readable for you"
        )
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def _is_phy_folder(path: Path, findings: Findings) -> bool:
    """Return whether there is something to check; a finding where there is not."""
    where, advice = str(path), "give the folder that holds spike_times.npy"
    if not os.path.isdir(path):
        fault = "is a file" if os.path.exists(path) else "does not exist"
        findings.error(where, f"{fault}, expected a Kilosort/phy folder", advice_on(path))
        return False
    os.listdir(path)  # raises where it may not be read
    if has_core_files(path):
        return True
    if is_saved_analyzer(path):
        findings.check = "saved_analyzer"
        safety.find_untrusted_parts(path, findings)
        findings.check = "folder"
        advice = "it is a saved SortingAnalyzer: only what is unsafe in it was looked for"
    below = folders_below(path)
    if below:
        advice = f"check what is below it: {', '.join(below)}"
    findings.error(
        where,
        f"has none of {', '.join(CORE_FILES)}: no Kilosort/phy folder",
        advice,
        folders_below=below,
    )
    return False


def _check(path: Path, findings: Findings, sampling_frequency: float | None) -> None:
    with np.errstate(all="ignore"):
        facts = FolderFacts(path, read_parts(path, findings, sampling_frequency), findings)
        for name, function in CHECKS.items():
            findings.check = name
            try:
                function(facts, findings)
            except OSError as fault:
                findings.error(
                    str(path),
                    f"the check {name!r} could not read what it needs: {one_line(fault)}",
                    "make the files readable for you",
                )
            except Exception as fault:
                # a check that fails on a kind of damage that nobody thought of must not hide
                # what the others find
                logger.debug("check %s on %s", name, path, exc_info=True)
                findings.warning(
                    str(path),
                    f"the check {name!r} failed: {type(fault).__name__}: {one_line(fault)}",
                    "the folder is damaged in an unusual way; look at the other findings first",
                    failed=name,
                )
