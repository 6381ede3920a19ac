"""What the page needs to curate: the session, the suggestions to decide on, and their evidence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.curation.content import session_content
from si_curation.curation.units import IdSource
from si_curation.errors import MissingDataError, ParameterError, PhyFolderError
from si_curation.evidence.split_projections import projections_of_parts
from si_curation.evidence.splits import SplitSuggestions
from si_curation.kernels.correlogram_bins import bins_of_convention
from si_curation.kernels.correlograms import assemble, count_pairs, prepare_spikes
from si_curation.report.context import ReportContext
from si_curation.report.encode import pack, pack_counts, pack_levels, pack_signed, plain
from si_curation.report.formatting import format_value
from si_curation.report.unit_panel import WAVEFORM_LEVELS, UnitPanels
from si_curation.spikes.waveform_sets import get_waveform_sets
from si_curation.variables import SPLITS

MAX_SPLITS = 200
_MAX_CHANNELS = 12
_MAX_SPIKES = 5_000
_MAX_POINTS = 2_000
_POINT_LEVELS = 1024


def curation_values(
    context: ReportContext,
    panels: UnitPanels,
    pairs: list[dict[str, Any]],
    splits: SplitSuggestions,
    title: str,
) -> dict[str, Any]:
    """Return what the page needs to curate.

    Parameters
    ----------
    context : ReportContext
    panels : UnitPanels
    pairs : list of dict
        As of `merge_candidates`.
    splits : SplitSuggestions
    title : str
        Of the page.

    Returns
    -------
    dict
        ``session``: what the page's curation begins with; ``splits``: for each suggested split
        the part of every spike, and what is drawn of the parts.
    """
    analyzer = context.analyzer
    unit_ids = [plain(unit_id) for unit_id in analyzer.unit_ids.tolist()]
    _refuse_ids(unit_ids)
    suggested = splits.units()[:MAX_SPLITS]
    drawn = [SplitPanel(context, panels, splits, unit_id).get() for unit_id in suggested]
    session = {
        "content": session_content(analyzer),
        "name": title,
        "unit_ids": unit_ids,
        "labels": context.groups,
        "num_spikes": context.num_spikes.tolist(),
        "rows": [context.row_of.get(unit_id) for unit_id in unit_ids],
        "next_id": IdSource(unit_ids).peek(1)[0],
        "suggestions": [*_merges(context, pairs), *_splits(suggested, drawn)],
    }
    return {"session": session, "splits": drawn}


def _refuse_ids(unit_ids: list[Any]) -> None:
    """Raise where unit ids cannot be written to a file, or are no numbers and no text."""
    bad = [
        unit_id
        for unit_id in unit_ids
        if not isinstance(unit_id, int | str)
        or str(unit_id).encode("utf-8", "replace").decode("utf-8") != str(unit_id)
    ]
    if bad:
        raise ParameterError(
            f"a page that curates names units in a file, which unit ids {bad[:5]!r} cannot be "
            "written to: expected whole numbers or text"
        )


def _merges(context: ReportContext, pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = context.unit_ids
    found = []
    for number, pair in enumerate(pairs):
        if pair["is_suggested"]:
            units = [ids[pair["a"]], ids[pair["b"]]]
            key = _key("merge", units)
            found.append({"key": key, "kind": "merge", "units": units, "pair": number})
    return found


def _key(kind: str, unit_ids: list[Any]) -> str:
    """Return the name of a suggestion in files, the same on every page of these units."""
    return f"{kind}:{json.dumps(unit_ids, ensure_ascii=False)}"


def _splits(unit_ids: list[Any], drawn: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "key": _key("split", [unit_id]),
            "kind": "split",
            "units": [unit_id],
            "counts": one["counts"],
            "block": number,
        }
        for number, (unit_id, one) in enumerate(zip(unit_ids, drawn, strict=True))
    ]


class SplitPanel:
    """What is drawn of a suggested split.

    Parameters
    ----------
    context : ReportContext
    panels : UnitPanels
    splits : SplitSuggestions
    unit_id : int or str
    """

    def __init__(
        self, context: ReportContext, panels: UnitPanels, splits: SplitSuggestions, unit_id: Any
    ):
        self._context, self._panels = context, panels
        self._unit_id = unit_id
        self._index = context.analyzer.unit_ids.tolist().index(unit_id)
        self._labels = splits.labels(unit_id)
        self._num_parts = int(self._labels.max()) + 1
        self._spikes = context.spikes_of(self._index).astype(np.int64)
        self._parts = [self._spikes[self._labels == part] for part in range(self._num_parts)]
        table = splits.table
        self._row = table[table["unit_id"] == unit_id].iloc[0]

    def get(self) -> dict[str, Any]:
        """Return the labels of the spikes, the evidence, and what is drawn."""
        known = [name for name in self._row.index if name in SPLITS]
        return {
            "labels": pack_counts(self._labels),
            "counts": [part.size for part in self._parts],
            "evidence": [
                [name, format_value(plain(self._row[name])), str(SPLITS[name])] for name in known
            ],
            "parts": [self._panels.some(spikes) for spikes in self._parts],
            "correlograms": self._correlograms(),
            "template": self._waveforms(),
            "points": self._points(),
        }

    def _correlograms(self) -> list[list[Any]] | None:
        """Return the counts of each pair of parts, in the bins of the page."""
        extension = self._context.extension("cross_correlograms")
        if extension is None:
            return None
        vector = self._context.spikes[self._spikes]
        cells = extension.cells
        spikes = prepare_spikes(
            vector["sample_index"],
            self._labels,
            vector["segment_index"],
            self._num_parts,
            cells.max_lag,
        )
        bins = bins_of_convention(cells, extension.params["convention"])
        counts = assemble(count_pairs(spikes, self._num_parts, cells), bins)
        return [[pack_counts(one) for one in row] for row in counts]

    def _waveforms(self) -> dict[str, Any] | None:
        """Return the mean waveforms of the parts, as the template of a unit is."""
        context = self._context
        try:
            found = get_waveform_sets(context.analyzer, self._parts, max_spikes=_MAX_SPIKES)
        except (MissingDataError, PhyFolderError):
            return None
        waveforms = np.nan_to_num(found.waveforms)  # (n_parts, n_samples, n_channels)
        size = np.ptp(waveforms, axis=1).max(axis=0)
        best = np.argsort(-size, kind="stable")[:_MAX_CHANNELS]
        ids = context.analyzer.channel_ids.tolist()
        return {
            "channels": [ids.index(found.channel_ids[i]) for i in best],
            "num_ranked": best.size,
            "step_ms": 1e3 / context.fs,
            "num_samples": waveforms.shape[1],
            "waveforms": pack_signed(
                waveforms[:, :, best].transpose(0, 2, 1).astype(np.float64), WAVEFORM_LEVELS
            ),
        }

    def _points(self) -> dict[str, Any] | None:
        """Return spikes where their features tell the parts apart best."""
        context = self._context
        try:
            _, labels, points = projections_of_parts(
                context.analyzer, self._spikes, self._labels, self._index, _MAX_POINTS
            )
        except (MissingDataError, PhyFolderError):
            return None
        return {
            "parts": pack(labels, "uint8"),
            "x": _levels(points[:, 0]),
            "y": _levels(points[:, 1]),
        }


def _levels(values: NDArray[np.floating]) -> Any:
    return pack_levels(values, _POINT_LEVELS, float(values.min()), float(values.max()))
