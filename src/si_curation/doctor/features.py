"""Feature files: what they need to mean anything."""

from __future__ import annotations

import numpy as np

from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, plural
from si_curation.phy.arrays import Findings
from si_curation.phy.feature_files import own_projections
from si_curation.variables import FileRows

_ROWS_LOOKED_AT = 200


def check_feature_files(facts: FolderFacts, findings: Findings) -> None:
    """Check that features have their index, and were written to the end."""
    part = facts.parts.features
    for name, features, index, index_name, rows, rows_name, meaning in (
        (
            "pc_features.npy",
            part.pc_features,
            part.pc_feature_channels,
            "pc_feature_ind.npy",
            part.pc_feature_rows,
            "pc_feature_spike_ids.npy",
            "channel",
        ),
        (
            "template_features.npy",
            part.template_features,
            part.template_feature_templates,
            "template_feature_ind.npy",
            part.template_feature_rows,
            "template_feature_spike_ids.npy",
            "template",
        ),
    ):
        if features is None:
            if facts.has(index_name) and not facts.has(name) and not facts.is_faulty(index_name):
                findings.info(
                    name, f"is missing, though {index_name} is there", "copy it if it is wanted"
                )
            continue
        if index is None and not facts.has(index_name):
            findings.warning(
                index_name,
                f"is missing, so that nobody knows the {meaning} of the columns of {name}",
                f"copy it again, or remove {name}",
            )
        if rows is not None and rows.size > 1:
            _check_rows(findings, rows_name, rows)
        tail = np.asarray(features[-_ROWS_LOOKED_AT:])
        if len(features) > _ROWS_LOOKED_AT and not np.any(tail) and np.any(features[:1000]):
            findings.warning(
                name,
                f"is zero in the last {_ROWS_LOOKED_AT} rows: it was not written to its end",
                "copy it again, or sort again",
                rows=[len(features) - _ROWS_LOOKED_AT, len(features) - 1],
            )


def check_own_templates(facts: FolderFacts, findings: Findings) -> None:
    """Check that template features tell of the spikes' own templates."""
    part, templates = facts.parts.features, facts.spike_templates
    values, name = part.template_features, "template_features.npy"
    if values is None or templates is None or facts.is_faulty(name):
        return
    if part.template_feature_rows is None and len(values) != templates.size:
        return
    found = own_projections(
        values, part.template_feature_templates, part.template_feature_rows, templates
    )
    num_without = found.num_absent + found.num_not_finite
    evidence = {
        "num_spikes": found.num_rows,
        "num_own_template_absent": found.num_absent,
        "num_not_finite": found.num_not_finite,
    }
    rebuilt = part.pc_features is not None
    if not found.are_usable:
        findings.warning(
            name,
            f"{found}: phy's TemplateFeatureView shows zeros",
            "this package rebuilds template features from pc_features.npy"
            if rebuilt
            else "compute template_features from the recording; there is no pc_features.npy",
            **evidence,
        )
    elif 2 * num_without > found.num_rows:
        findings.info(
            name,
            f"{found}, where phy's TemplateFeatureView shows zeros",
            "compute_template_features(source='pc_features') rebuilds them" if rebuilt else "",
            **evidence,
        )


def _check_rows(findings: Findings, name: str, rows: FileRows) -> None:
    repeated = rows.size - np.unique(rows).size
    if repeated:
        values, counts = np.unique(rows, return_counts=True)
        findings.warning(
            name,
            f"names {plural(repeated, 'spike')} more than once, spike "
            f"{values[counts.argmax()]} first",
            "files of different runs are mixed; copy the whole folder again",
            count=int(repeated),
            spikes=first_of(values[counts > 1]),
        )
    elif np.any(np.diff(rows) < 0):
        findings.info(name, "is not ascending", "phy looks spikes up as if it were")
