"""Times of spikes: order, range, and spikes that are there twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, listed, plural
from si_curation.kernels.parallel import blocks
from si_curation.kernels.repeated_spikes import find_repeated_spikes
from si_curation.phy.arrays import Findings, open_array
from si_curation.phy.raw import raw_num_samples

WINDOW_MS = 0.3
_TIMES = "spike_times.npy"


def _rows_where(values: Any, condition: Any) -> tuple[int, list[int]]:
    """Count the rows that meet a condition, block by block; give the first ones."""
    count, rows = 0, list[int]()
    for piece in blocks(len(values)):
        found = np.flatnonzero(condition(values[piece]))
        count += found.size
        rows += first_of(found + piece.start, 10 - len(rows))
    return count, rows


def check_spike_count(facts: FolderFacts, findings: Findings) -> None:
    """Check that there are spikes."""
    if facts.parts.spikes.count == 0:
        findings.warning(_TIMES, "holds no spike", "look whether the sorting failed")


def check_order(facts: FolderFacts, findings: Findings) -> None:
    """Check that spike times never fall."""
    samples = facts.samples
    if samples is None or facts.parts.spikes.spikes_are_sorted:
        return
    count, rows = 0, list[int]()
    for piece in blocks(samples.size):
        start = max(piece.start - 1, 0)
        found = np.flatnonzero(np.diff(samples[start : piece.stop]) < 0)
        count += found.size
        rows += first_of(found + start + 1, 10 - len(rows))
    findings.warning(
        _TIMES,
        f"is not in order of time: {plural(count, 'spike')} earlier than the one before, "
        f"row {rows[0]} first",
        "phy and many scripts take the order for granted; this package sorts all per-spike "
        "arrays alike. Do not sort this file alone",
        count=count,
        rows=rows,
    )


def check_negative(facts: FolderFacts, findings: Findings) -> None:
    """Check that no spike is before sample 0."""
    samples = facts.samples
    if samples is None or facts.parts.spikes.first_sample >= 0:
        return
    count, rows = _rows_where(samples, lambda block: block < 0)
    findings.warning(
        _TIMES,
        f"{plural(count, 'spike')} before the recording begins (sample "
        f"{facts.parts.spikes.first_sample} the earliest), row {rows[0]} first",
        "SpikeInterface cannot hold them; look whether an offset was taken off twice",
        count=count,
        rows=rows,
        first_sample=int(facts.parts.spikes.first_sample),
    )


def check_beyond_end(facts: FolderFacts, findings: Findings) -> None:
    """Check that no spike is after the end of the recording."""
    samples = facts.samples
    end, known_by, is_exact = _recording_end(facts)
    if samples is None:
        return
    if end is None:
        _check_wild_times(facts, findings)
        return
    if facts.parts.spikes.last_sample < end:
        return
    count, rows = _rows_where(samples, lambda block: block >= end)
    findings.warning(
        _TIMES,
        f"{plural(count, 'spike')} ({100 * count / samples.size:.3g} %) beyond the end of the "
        f"recording, which has {'' if is_exact else 'at most '}{end:,} samples ({known_by}); "
        f"the last spike is at {facts.parts.spikes.last_sample:,}",
        "look whether the raw file was cut, n_channels_dat or dtype are wrong, or the spikes "
        "are those of another recording",
        count=count,
        rows=rows,
        num_samples=end,
        last_sample=int(facts.parts.spikes.last_sample),
    )


def _check_wild_times(facts: FolderFacts, findings: Findings) -> None:
    """Where the length of the recording is not known: a few spikes far after all others."""
    samples, span = facts.samples, facts.num_samples_of_spikes
    if samples is None or span is None or samples.size < 200:
        return
    end = 3 * (max(facts.parts.spikes.first_sample, 0) + span)
    if facts.parts.spikes.last_sample <= end:
        return
    count, rows = _rows_where(samples, lambda block: block > end)
    findings.warning(
        _TIMES,
        f"{plural(count, 'spike')} far beyond all others: 98 % of the spikes span {span:,.0f} "
        f"samples, the last one is at {facts.parts.spikes.last_sample:,}",
        "the length of the recording is not known here; look whether those times are damaged",
        count=count,
        rows=rows,
        last_sample=int(facts.parts.spikes.last_sample),
    )


def _recording_end(facts: FolderFacts) -> tuple[int | None, str, bool]:
    raw = raw_num_samples(facts.data_paths, facts.parts.params)
    if raw is not None:
        return raw, "length of the raw data", True
    ops = facts.parts.ops or {}
    try:  # Kilosort 4 works in batches; the last one is padded
        if ops["tmin"] != 0:
            return None, "", False
        return int(ops["Nbatches"]) * int(ops["batch_size"]), "batches in ops.npy", False
    except (KeyError, TypeError, ValueError, OverflowError):
        return None, "", False


def check_repeated(facts: FolderFacts, findings: Findings) -> None:
    """Check that no unit has two spikes within 0.3 ms, beyond what chance would give."""
    samples, rate = facts.samples, facts.parts.sampling_frequency
    units, templates, ids = facts.unit_index, facts.parts.spikes.spike_templates, facts.cluster_ids
    if samples is None or rate is None or units is None or templates is None or ids is None:
        return
    if not samples.size == units.size == templates.size:
        return
    order = None
    if not facts.parts.spikes.spikes_are_sorted:
        order = np.argsort(samples, kind="stable")
        samples, units, templates = samples[order], units[order], templates[order]
    num_slots, window = int(facts.slots[-1]) + 1, int(WINDOW_MS / 1000 * rate + 1e-9)
    found = find_repeated_spikes(samples, units, templates, num_slots, window)
    same, near = found.same_count[facts.slots], found.near_count[facts.slots]

    def rows(first: NDArray[np.int64]) -> list[int]:
        """Return the first rows of the file that some units have such a spike in."""
        positions = np.sort(first[facts.slots][first[facts.slots] >= 0])
        return first_of(positions if order is None else order[positions])

    if same.any():
        worst = np.argsort(-same, kind="stable")[: np.count_nonzero(same)]
        num_spikes = np.array(list(facts.cluster_sizes.values()))
        # one or two among many are what Kilosort leaves where two of its batches meet
        many = same.sum() > max(2, 1e-4 * samples.size) or np.any(
            (same > 2) & (same > 1e-3 * num_spikes)
        )
        report = findings.warning if many else findings.info
        report(
            _TIMES,
            f"{plural(int(same.sum()), 'spike')} there twice: same sample, cluster and template "
            f"as another, in {plural(worst.size, 'unit')} ({listed(ids[worst])})",
            "the same spike counts twice in rates and correlograms; keep one of each",
            count=int(same.sum()),
            units=first_of(ids[worst]),
            rows=rows(found.same_first),
        )
    if near.any():
        _report_near(facts, findings, near, window, rows(found.near_first))


def _report_near(
    facts: FolderFacts,
    findings: Findings,
    near: NDArray[np.int64],
    window: int,
    rows: list[int],
) -> None:
    ids, num_spikes = facts.cluster_ids, np.array(list(facts.cluster_sizes.values()))
    span = facts.num_samples_of_spikes or 1.0
    chance = num_spikes.astype(float) ** 2 * window / span  # of a Poisson train
    share = near / num_spikes
    # three times chance, and more than three spikes: a rate that changes does not do that
    bad = (near > 3 * chance + 3) & (share > 0.005)
    total = int(near.sum())
    all_bad = total > 3 * chance.sum() + 10 and total > 0.001 * num_spikes.sum()
    what = (
        f"{plural(total, 'spike')} ({100 * total / num_spikes.sum():.2g} %; by chance "
        f"{chance.sum():.0f}) within {WINDOW_MS} ms after another of the same unit"
    )
    worst = np.argsort(-np.where(bad, share, -1), kind="stable")[: np.count_nonzero(bad)]
    evidence: dict[str, Any] = {
        "count": total,
        "expected_by_chance": round(float(chance.sum()), 1),
        "rows": rows,
    }
    if bad.any() or all_bad:
        if bad.any():
            shown = [f"{ids[i]} ({100 * share[i]:.1f} %)" for i in worst]  # type: ignore[index]
            what += f"; far more than chance in {plural(worst.size, 'unit')}: {listed(shown)}"
            evidence |= {
                "units": first_of(ids[worst]),  # type: ignore[index]
                "fractions": [round(float(share[i]), 4) for i in worst[:10]],
            }
        findings.warning(
            _TIMES,
            what,
            "no neuron fires twice so soon: the sorter found them twice, often with two templates "
            "that were merged. Take one of each pair out before rates, correlograms or "
            "contamination are read",
            **evidence,
        )
    else:
        findings.info(_TIMES, what, "not clearly more than chance gives", **evidence)


def check_amplitudes(facts: FolderFacts, findings: Findings) -> None:
    """Check that amplitudes are positive numbers."""
    amplitudes, name = facts.parts.spikes.amplitudes, "amplitudes.npy"
    if amplitudes is None and not facts.has(name) and not facts.is_faulty(name):
        report = findings.warning if facts.sorter.always_whitens else findings.info
        report(
            name,
            "is missing: phy shows amplitudes of 0, and this package has no spike amplitudes, nor "
            "metrics and figures of them",
            "copy it from the sorter's output"
            if facts.sorter.always_whitens
            else "where it came from a SortingAnalyzer, export again with complete=True",
        )
    if amplitudes is None or amplitudes.size == 0:
        return
    count, rows = _rows_where(amplitudes, lambda block: ~np.isfinite(block))
    if count:
        findings.warning(
            name,
            f"is NaN or infinite for {plural(count, 'spike')}, row {rows[0]} first",
            "what is computed from them is NaN too; leave those spikes out",
            count=count,
            rows=rows,
        )
    count, rows = _rows_where(amplitudes, lambda block: block <= 0)
    if count == amplitudes.size:
        findings.warning(name, "is zero or negative for all spikes", "restore the sorter's file")
    elif count:
        findings.info(
            name,
            f"is zero or negative for {plural(count, 'spike')}, row {rows[0]} first",
            "a factor of 0 is no spike; phy shows them at the bottom of the AmplitudeView",
            count=count,
            rows=rows,
        )


def check_kept_spikes(facts: FolderFacts, findings: Findings) -> None:
    """Check that Kilosort 4's ``kept_spikes.npy`` keeps as many spikes as there are."""
    name, count = "kept_spikes.npy", facts.parts.spikes.count
    kept = open_array(facts.folder, name, Findings())  # its faults are findings of another check
    if count is None or kept is None or kept.dtype.kind != "b":
        return
    num_kept = int(np.count_nonzero(kept))
    if num_kept != count:
        findings.warning(
            name,
            f"keeps {num_kept:,} spikes, spike_times.npy has {count:,}",
            "files of different runs are mixed; copy the whole folder again",
            num_kept=num_kept,
            num_spikes=count,
        )
