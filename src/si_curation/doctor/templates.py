"""Templates: empty ones, ones without spikes, and their similarity."""

from __future__ import annotations

import numpy as np

from si_curation.checks import is_whole_number
from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, listed, plural
from si_curation.kernels.parallel import blocks
from si_curation.phy.arrays import Findings


def check_empty(facts: FolderFacts, findings: Findings) -> None:
    """Check that templates with spikes have a waveform."""
    templates = facts.parts.templates.templates
    if templates is None or not templates.size:
        return
    is_finite = np.zeros(len(templates), dtype=bool)
    is_zero = np.zeros(len(templates), dtype=bool)
    for piece in blocks(len(templates), 64):
        block = templates[piece]
        is_finite[piece] = np.isfinite(block).all(axis=(1, 2))
        is_zero[piece] = ~np.any(block, axis=(1, 2))
    sizes = facts.template_sizes
    for kind, wrong in (("NaN or infinite in places", ~is_finite), ("zero everywhere", is_zero)):
        if not wrong.any():
            continue
        ids = np.flatnonzero(wrong)
        evidence = {"count": int(ids.size), "templates": first_of(ids)}
        what = f"{plural(ids.size, 'template')} {'is' if ids.size == 1 else 'are'} "
        used = ids if sizes is None else ids[sizes[ids] > 0]
        if sizes is not None and used.size:
            num_spikes = int(sizes[used].sum())
            findings.warning(
                "templates.npy",
                f"{what}{kind}, and {plural(num_spikes, 'spike')} come from {listed(used)}",
                "those units have no best channel, depth or similarity; look at them in phy, or "
                "leave them out",
                num_spikes=num_spikes,
                templates_with_spikes=first_of(used),
                **evidence,
            )
        else:
            findings.info(
                "templates.npy",
                f"{what}{kind}: {listed(ids)}",
                "without spikes they do no harm; a NaN template becomes zero when phy opens the "
                "folder",
                **evidence,
            )


def check_without_spikes(facts: FolderFacts, findings: Findings) -> None:
    """Find templates without spikes."""
    sizes = facts.template_sizes
    if sizes is None or sizes.all():
        return
    ids = np.flatnonzero(sizes == 0)
    findings.info(
        "spike_templates.npy",
        f"{ids.size} of {plural(sizes.size, 'template')} found no spike: {listed(ids)}",
        "a row number of templates.npy is a template id, never a position in the list of units",
        count=int(ids.size),
        templates=first_of(ids),
    )


def check_similarity(facts: FolderFacts, findings: Findings) -> None:
    """Check that the similarity is a number for every template that has a waveform."""
    similarity, name = facts.parts.templates.similar_templates, "similar_templates.npy"
    templates = facts.dense_templates
    if similarity is None or templates is None or len(templates) != len(similarity):
        return
    has_signal = np.any(templates, axis=(1, 2))
    is_bad = ~np.isfinite(np.diagonal(similarity)) & has_signal
    values = similarity[np.ix_(has_signal, has_signal)]
    if is_bad.any() or not np.isfinite(values).all():
        count = int(np.count_nonzero(~np.isfinite(values)))
        findings.warning(
            name,
            f"has {plural(count, 'value')} that is NaN or infinite between templates with signal",
            "phy's list of similar clusters is wrong there; remove the file, and this package "
            "computes it from the templates",
            count=count,
        )
    elif values.size > 1 and not np.any(values):
        findings.warning(
            name,
            "is zero everywhere",
            "phy then finds nothing similar; remove the file, and this package computes it from "
            "the templates",
        )


def check_shape(facts: FolderFacts, findings: Findings) -> None:
    """Check that templates are as long as in Kilosort 4's ``ops.npy``."""
    ops, templates = facts.parts.ops, facts.parts.templates.templates
    if ops is None or templates is None:
        return
    length = ops.get("nt")
    if is_whole_number(length) and length != templates.shape[1]:
        findings.warning(
            "templates.npy",
            f"has {templates.shape[1]} samples, ops.npy says nt = {length}",
            "files of different runs are mixed; copy the whole folder again",
            num_samples=int(templates.shape[1]),
            nt=int(length),
        )
