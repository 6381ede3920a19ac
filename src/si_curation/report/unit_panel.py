"""The numbers of one unit's panel, which the page draws when it is opened."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation._spikeinterface import as_array
from si_curation.kernels.template_similarity import most_similar
from si_curation.report.columns import Column
from si_curation.report.context import ReportContext
from si_curation.report.density import density, limits
from si_curation.report.encode import Packed, pack_pieces, signed_levels_of_pieces
from si_curation.report.unit_charts import (
    AMPLITUDE_CELLS,
    MAX_POINTS,
    UnitCharts,
    points_over_time,
)

NUM_SIMILAR = 5
MAX_CONSTITUENTS = 12
# finer than a screen shows
WAVEFORM_LEVELS = 2047
# channels of each further template of a merged unit
PEAKS = 4
# whose templates are in memory at once
_UNITS_AT_ONCE = 128


class UnitPanels:
    """The panels of all units of a report.

    Parameters
    ----------
    context : ReportContext
    columns : list of Column
        Of the table of units.
    """

    def __init__(self, context: ReportContext, columns: list[Column]):
        self._context = context
        self._assignment = context.extension("template_assignment")
        self._similarity = context.extension("unit_similarity")
        self._correlograms = context.extension("cross_correlograms")
        self._first = self._stop = 0  # the rows whose templates are in memory
        self._drawn: list[dict[str, Any] | None] = []
        by_key = {column.key: column for column in columns}
        self._periods_ms = by_key["contamination:refractory_period_ms"].values

    @property
    def notes(self) -> dict[str, str]:
        """What is missing from all panels, and what to compute."""
        found = {}
        if self._templates is None or self._channels is None:
            found["template"] = "compute template_assignment and template_best_channels"
        if self._correlograms is None:
            found["correlograms"] = "compute cross_correlograms"
        if self._amplitudes is None:
            found["amplitude"] = "compute spike_amplitudes"
        if self._similarity is None:
            found["similar"] = "compute unit_similarity"
        texts = {key: f"Not computed: {text} first." for key, text in found.items()}
        if self._has_no_file and "template" in texts:
            texts["template"] = "The folder has no templates.npy."
        return texts

    @property
    def bins_ms(self) -> list[float] | None:
        """Edges of the bins of correlograms."""
        if self._correlograms is None:
            return None
        return self._correlograms.get_acg(self._context.analyzer.unit_ids[0])[1].tolist()

    def get(self, row: int) -> dict[str, Any]:
        """Return the panel of the unit in a row of the report."""
        context = self._context
        index = int(context.rows[row])
        return {
            "id": context.unit_ids[row],
            "group": context.groups[index],
            "num_spikes": int(context.num_spikes[index]),
            "refractory_ms": self._periods_ms[row],
            "template": self._template(row),
            "isi": self._charts.intervals[row],
            "rate": self._charts.rates[row],
            "amplitude": self._charts.amplitude(row),
            **self._pairs(row),
        }

    def some(self, spikes: NDArray[np.integer]) -> dict[str, Any]:
        """Return what is drawn of some spikes, such as a part of a unit."""
        times = self._context.times_s(spikes)
        return {
            "num_spikes": int(spikes.size),
            "rate": self._context.time_bins.count(times).tolist(),
            "amplitude": self._amplitude(spikes),
        }

    # templates

    @cached_property
    def _templates_of_units(self) -> bool:
        """Whether each unit has one template: another sorter's, or the mean of the traces."""
        best = self._context.extension("template_best_channels")
        asked = None if best is None else best.params.get("source")
        return self._assignment is None or asked == "analyzer" or self._has_no_file

    @property
    def _has_no_file(self) -> bool:
        """Whether the folder has no ``templates.npy``."""
        return self._assignment is not None and not self._assignment.has_templates

    @cached_property
    def _templates(self) -> NDArray | None:
        if not self._templates_of_units:
            return self._assignment.get_templates()
        extension = self._context.extension("templates")
        if extension is None:
            return None
        return as_array(extension.get_data(operator="average"))

    @cached_property
    def _channels(self) -> list[NDArray[np.int64]] | None:
        extension = self._context.extension("template_best_channels")
        return None if extension is None else list(extension.get_data(outputs="indices").values())

    def _template(self, row: int) -> dict[str, Any] | None:
        """Return the templates of the unit in a row; those of the next rows are made with them."""
        if self._templates is None or self._channels is None:
            return None
        if not self._first <= row < self._stop:
            self._first, self._stop = row, min(row + _UNITS_AT_ONCE, self._context.rows.size)
            self._drawn = self._templates_of(self._context.rows[self._first : self._stop].tolist())
        return self._drawn[row - self._first]

    def _templates_of(self, indices: list[int]) -> list[dict[str, Any] | None]:
        """Return the templates of some units, by their unit indices; None where no channel is."""
        templates, ranked_of = self._templates, self._channels
        assert templates is not None
        assert ranked_of is not None
        shown: list[tuple[int, NDArray, NDArray[np.int64], list[int]]] = []
        # a row for each channel of each template of each unit
        template_of_row: list[int] = []
        channel_of_row: list[int] = []
        start = [0]
        for place, index in enumerate(indices):
            ranked = ranked_of[index]
            if ranked.size == 0:
                continue
            ids, numbers = self._constituents(index)
            channels = list(dict.fromkeys([*ranked.tolist(), *_peaks(templates, ids[1:])]))
            template_of_row += [one for one in ids.tolist() for _ in channels]
            channel_of_row += channels * ids.size
            start.append(len(channel_of_row))
            shown.append((place, ids, numbers, channels))
        drawn: list[dict[str, Any] | None] = [None] * len(indices)
        if not shown:
            return drawn
        waveforms = templates[template_of_row, :, channel_of_row]  # (n_rows, n_samples)
        if not np.isfinite(waveforms).all():
            waveforms = np.nan_to_num(waveforms)
        levels, steps = signed_levels_of_pieces(waveforms, np.array(start), WAVEFORM_LEVELS)
        amplitudes = np.ptp(waveforms[start[:-1]], axis=1).tolist()
        for one, (place, ids, numbers, channels) in enumerate(shown):
            its = levels[start[one] : start[one + 1]]
            drawn[place] = {
                "channels": channels,
                "num_ranked": ranked_of[indices[place]].size,
                "amplitude": amplitudes[one],
                "step_ms": 1e3 / self._context.fs,
                "num_samples": its.shape[1],
                "name": self._name(int(ids[0])),
                "template_ids": [self._name_of_template(i) for i in ids.tolist()],
                "counts": numbers.tolist(),
                "num_templates": self._num_templates(indices[place]),
                "waveforms": Packed(its.reshape(ids.size, len(channels), -1), float(steps[one])),
            }
        return drawn

    def _constituents(self, index: int) -> tuple[NDArray, NDArray[np.int64]]:
        """Return the templates of a unit and its spikes from each, most spikes first."""
        if self._templates_of_units:
            return np.array([index]), self._context.num_spikes[[index]]
        counts = self._assignment.get_template_counts()
        start, stop = counts.indptr[index], counts.indptr[index + 1]
        ids, numbers = counts.indices[start:stop], counts.data[start:stop]
        if ids.size > 1:
            order = np.lexsort((ids, -numbers))[:MAX_CONSTITUENTS]
            ids, numbers = ids[order], numbers[order]
        return ids, numbers

    def _num_templates(self, index: int) -> int:
        if self._templates_of_units:
            return 1
        counts = self._assignment.get_template_counts()
        return int(counts.indptr[index + 1] - counts.indptr[index])

    def _name(self, template_id: int) -> str:
        """Return what the first waveform is, for the title of the panel."""
        if self._templates_of_units and self._assignment is not None:
            return "Mean of the traces"
        is_sorters = self._assignment is not None and self._assignment.is_from_sorter
        of_sorter = f" ({self._assignment.source})" if is_sorters else ""
        return f"Template {self._name_of_template(template_id)}{of_sorter}"

    def _name_of_template(self, template_id: int) -> str:
        if self._templates_of_units:
            return str(self._context.analyzer.unit_ids[template_id])
        names = self._assignment.info.get("template_unit_ids")
        return str(template_id) if names is None else str(names[template_id])

    # spikes

    @property
    def isi_edges_ms(self) -> list[float]:
        """Edges of the bins of intervals."""
        width, num_bins = self._context.isi_bins
        return (np.arange(num_bins + 1) * width * 1e3 / self._context.fs).tolist()

    @cached_property
    def _charts(self) -> UnitCharts:
        return UnitCharts(self._context)

    @property
    def _amplitudes(self) -> NDArray | None:
        known = self._context.spike_amplitudes
        return None if known is None else known[1]

    def _amplitude(self, spikes: NDArray[np.integer]) -> dict[str, Any] | None:
        if self._amplitudes is None or spikes.size == 0:
            return None
        values = self._amplitudes[spikes]
        is_known = np.isfinite(values)
        if not is_known.all():
            spikes, values = spikes[is_known], values[is_known]
        if values.size == 0:
            return None
        context = self._context
        times = context.times_s(spikes)
        if values.size > MAX_POINTS:
            span, its_limits = context.span_s(spikes), limits(values)
            assert its_limits is not None
            return {"density": density([(times, values)], span, its_limits, AMPLITUDE_CELLS)}
        return points_over_time(times, values, np.array([values.size]), context.duration_s)[0]

    # pairs

    def correlograms(
        self, pairs: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], list[float | None]]:
        """Return the counts of pairs of units, by their unit indices.

        Returns
        -------
        at : array (n_pairs,)
            Which of the following are those of a pair; -1 where it is not counted.
        counts : array (n, n_bins)
        baselines : list of n float or None
            Counts of independent spikes in a bin; None where it is not the same in all bins.
        """
        extension = self._correlograms
        at = np.full(len(pairs), -1, dtype=np.int64)
        if extension is None:
            return at, np.zeros((0, 0), dtype=np.int64), []
        is_counted = self._is_counted(pairs)
        at[is_counted] = np.arange(int(is_counted.sum()))
        pairs = pairs[is_counted]
        counts = extension.get_counts_of_pairs(pairs)
        if extension.params["bins"] != "linear" or not self._context.duration_s > 0:
            return at, counts, [None] * len(pairs)
        return at, counts, extension.get_baseline_of_pairs(pairs).tolist()

    def _is_counted(self, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        extension = self._correlograms
        if extension.params["pairs"] == "all":
            return np.ones(len(pairs), dtype=bool)
        factors = np.array([len(self._context.analyzer.unit_ids), 1])
        return np.isin(np.sort(pairs, axis=1) @ factors, extension.get_pair_indices() @ factors)

    @cached_property
    def _similar(self) -> tuple[NDArray[np.int64], NDArray[np.floating], NDArray[np.int64]]:
        """Other units, similarities, and where those of each row of the report begin."""
        rows = self._context.rows
        if self._similarity is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(rows.size + 1, dtype=np.int64)
        return most_similar(self._similarity.get_data(), rows, NUM_SIMILAR)

    @cached_property
    def _correlograms_of_rows(
        self,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], list[float | None]]:
        """As `correlograms`: of each unit with itself, then with those most similar to it."""
        others, _, start = self._similar
        first, rows = np.repeat(self._context.rows, np.diff(start)), self._context.rows
        pairs = np.stack([np.concatenate([rows, first]), np.concatenate([rows, others])], axis=1)
        # of one unit after the other
        order = np.argsort(
            np.concatenate([np.arange(rows.size), np.repeat(np.arange(rows.size), np.diff(start))]),
            kind="stable",
        )
        return self.correlograms(pairs[order].astype(np.int64))

    @cached_property
    def _places(self) -> tuple[list[Any], list[float], list[int], list[int], list[Packed]]:
        """What `_pairs` takes, for all rows.

        Ids of the similar units, similarities, where those of each row begin, and where the
        correlograms of each row do; these are packed.
        """
        others, similarity, start = self._similar
        at, counts, _ = self._correlograms_of_rows
        # of each row its own, then those of the similar units
        begin = np.concatenate([[0], np.cumsum(at >= 0)])[start + np.arange(start.size)]
        ids = self._context.analyzer.unit_ids[others].tolist()
        packed = pack_pieces(counts, begin)
        return ids, similarity.tolist(), start.tolist(), begin.tolist(), packed

    def _pairs(self, row: int) -> dict[str, Any]:
        """Return the autocorrelogram of a row, the most similar units, and correlograms with them.

        ``acg`` and the ``ccg`` of similar units are rows of ``correlograms``; None: not counted.
        """
        ids, similarity, start, begin, packed = self._places
        at, _, baselines = self._correlograms_of_rows
        first, stop = start[row], start[row + 1]
        acg, *ccgs = [
            None if place < 0 else place - begin[row]
            for place in at[first + row : stop + row + 1].tolist()
        ]
        similar = [
            {"id": one, "row": self._context.row_of.get(one), "similarity": its, "ccg": ccg}
            for one, its, ccg in zip(ids[first:stop], similarity[first:stop], ccgs, strict=True)
        ]
        return {
            "acg": acg,
            "similar": None if self._similarity is None else similar,
            "correlograms": None if self._correlograms is None else packed[row],
            "baselines": baselines[begin[row] : begin[row + 1]],
        }


def _peaks(templates: NDArray[np.floating], template_ids: NDArray) -> list[int]:
    """Return the channels on which some templates are largest."""
    amplitudes = [np.ptp(templates[i], axis=0) for i in template_ids]
    return [int(c) for its in amplitudes for c in np.argsort(-its)[:PEAKS] if its[c] > 0]
