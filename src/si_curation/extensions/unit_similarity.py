"""Extension `unit_similarity`: how similar the units are, by phy's rule."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pandas as pd
import spikeinterface.metrics
import spikeinterface.postprocessing  # noqa: F401  (before registering; see _spikeinterface.py)
from numpy.typing import NDArray
from scipy import sparse
from spikeinterface.core.core_tools import materialize_array

from si_curation._spikeinterface import (
    as_array,
    extension_function,
    register_extension,
    spike_vector_of,
)
from si_curation.checks import Checks, check_arguments, unit_index_of
from si_curation.errors import MissingDataError
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.extensions.template_assignment import assignment_of_named_folder, check_templates
from si_curation.kernels.template_similarity import lagged_cosine_similarity, similarity_of_groups
from si_curation.reading.unit_templates import check_num_units

SOURCES = ("auto", "file", "templates")


class UnitSimilarity(UnitsExtension):
    """Similarity of all pairs of units: that of the two most similar templates of both, as in phy.

    The similarities of templates are the sorter's (``similar_templates.npy``). Where there are
    none - other sorters, folders without the file - they are computed from the templates: the
    cosine at the best lag, over the channels of both.

    Parameters
    ----------
    source : {"auto", "file", "templates"}
        Where the similarities of templates come from: the sorter's file where there is one, else
        the templates; the file or an error; the templates even where there is a file.
    max_lag_ms : float, default: 1.0
        Largest shift of one template against the other, in both directions, rounded to whole
        samples, for similarities that are computed. Kilosort takes all shifts.

    Returns
    -------
    array (n_units, n_units) float32
        ``[a, b]`` is what phy shows for `b` when `a` is selected; symmetric, unless the sorter's
        file is not. 1 is the largest. NaN for units without spikes. Of computed similarities those
        with a unit whose templates have no signal are 0.

    Raises
    ------
    MissingDataError
        The analyzer has neither "templates" nor "template_assignment", or ``source="file"`` and
        the sorter wrote no file.
    ParameterError
        A parameter cannot be used.

    Notes
    -----
    Sources: phy 2.1.0, ``TemplateController.template_similarity``, for units; Kilosort 4,
    ``CCG.similarity``, for templates. phy shows 0 for all units of a folder without
    ``similar_templates.npy``. Without "template_assignment" the units are the templates.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> similarity = analyzer.compute("unit_similarity")
    >>> similarity.get_data().shape, similarity.source
    ((8, 8), 'file')
    >>> similarity.get_similar_units(4)["similarity"].round(3).head(2)
    unit_id
    10    0.574
    7     0.338
    Name: similarity, dtype: float32
    """

    extension_name = "unit_similarity"
    outputs = ("numpy", "dataframe")
    depend_on: list[str] = []  # "templates" or "template_assignment", which is checked here
    need_recording = False
    use_nodepipeline = False
    need_job_kwargs = False

    @classmethod
    def get_optional_dependencies(cls, **params: Any) -> list[str]:
        """Come after the templates where several extensions are computed, or units change."""
        return ["templates", "template_assignment"]

    def _set_params(
        self, source: Literal["auto", "file", "templates"] = "auto", max_lag_ms: float = 1.0
    ) -> dict[str, Any]:
        checks = Checks.of_call(UnitSimilarity._set_params, locals())
        checks.choice("source", source, SOURCES)
        max_lag_ms = checks.number("max_lag_ms", max_lag_ms, at_least=0)
        checks.finish()
        assignment_of_named_folder(self.sorting_analyzer)
        check_templates(self.sorting_analyzer, self.extension_name)
        if source == "file" and not _has_file(self.sorting_analyzer):
            raise MissingDataError(
                "source='file' needs the sorter's similar_templates.npy, which this analyzer does "
                "not have; pass source='templates' to compute it"
            )
        return {"source": source, "max_lag_ms": max_lag_ms}

    def _run(self, verbose: bool = False) -> None:
        self.data = self._compute(self.sorting_analyzer, None)

    def _compute(self, analyzer: Any, known: NDArray | None) -> dict[str, Any]:
        """Similarities of units; `known` are those of templates where they were computed before."""
        check_num_units(len(analyzer.unit_ids), "unit_similarity: the analyzer")
        assignment = analyzer.get_extension("template_assignment")
        if self.params["source"] != "templates" and _has_file(analyzer):
            table = assignment.get_template_similarity()
            similarity = similarity_of_groups(table, assignment.get_template_counts())
            return {"similarity": similarity, "similarity_info": {"source": "file"}}
        lag = round(self.params["max_lag_ms"] * analyzer.sampling_frequency * 1e-3)
        info = {"source": "templates"}
        if assignment is None:
            templates = _unit_templates(analyzer)
            similarity = lagged_cosine_similarity(templates, lag)
            counts = np.bincount(
                spike_vector_of(analyzer.sorting)["unit_index"], minlength=len(templates)
            )
            own = sparse.csr_array(np.diag((counts > 0).astype(np.int64)))
            return {"similarity": similarity_of_groups(similarity, own), "similarity_info": info}
        if known is None:
            known = lagged_cosine_similarity(assignment.get_templates(), lag)
        similarity = similarity_of_groups(known, assignment.get_template_counts())
        return {"similarity": similarity, "similarity_of_templates": known, "similarity_info": info}

    def _known(self) -> NDArray | None:
        if "similarity_of_templates" not in self.data:
            return None
        return materialize_array(self.data["similarity_of_templates"])

    def data_after(self, change: UnitChange) -> dict[str, Any]:
        """Group the same similarities of templates by the new units."""
        if change.is_new.any():
            return self._compute(change.after, self._known())
        keep = change.same_before
        data = {
            "similarity": as_array(self.data["similarity"])[np.ix_(keep, keep)],
            "similarity_info": dict(self.data["similarity_info"]),
        }
        known = self._known()
        return data if known is None else {**data, "similarity_of_templates": known}

    def _select_channels_extension_data(self, channel_ids: Any) -> dict[str, Any]:
        # as with the sorter's file: similarities stay those of the whole templates
        arrays = {k: materialize_array(v) for k, v in self.data.items() if k != "similarity_info"}
        return {**arrays, "similarity_info": dict(self.data["similarity_info"])}

    def _get_data(
        self, outputs: Literal["numpy", "dataframe"] = "numpy"
    ) -> NDArray[np.float32] | pd.DataFrame:
        self.check_outputs(outputs)
        similarity = as_array(self.data["similarity"])
        if outputs == "numpy":
            return similarity
        units = pd.Index(self.sorting_analyzer.unit_ids, name="unit_id")
        return pd.DataFrame(np.array(similarity), index=units, columns=units)

    @property
    def source(self) -> str:
        """Where the similarities of templates come from: "file" or "templates"."""
        return str(self.data["similarity_info"]["source"])

    def get_similar_units(self, unit_id: Any, num_units: int | None = None) -> pd.DataFrame:
        """Other units by decreasing similarity: phy's SimilarityView.

        Parameters
        ----------
        unit_id : int or str
        num_units : int, optional
            At most so many; all by default.

        Returns
        -------
        pandas.DataFrame
            Indexed by unit id; ``similarity``. Units without spikes are left out, ties are in the
            order of the analyzer.

        Raises
        ------
        UnknownIdError
            There is no such unit.
        """
        check_arguments(UnitSimilarity.get_similar_units, locals())
        position = unit_index_of(self.sorting_analyzer, unit_id)
        row = np.array(as_array(self.data["similarity"])[position])
        row[position] = np.nan
        order = np.argsort(-row, kind="stable")
        order = order[np.isfinite(row[order])][:num_units]
        index = pd.Index(self.sorting_analyzer.unit_ids[order], name="unit_id")
        return pd.DataFrame({"similarity": row[order]}, index=index)


def _has_file(analyzer: Any) -> bool:
    assignment = analyzer.get_extension("template_assignment")
    return assignment is not None and assignment.has_sorter_similarity


def _unit_templates(analyzer: Any) -> NDArray[np.floating]:
    extension = analyzer.get_extension("templates")
    if extension is None:
        raise MissingDataError(
            "unit_similarity needs the extension 'templates' or 'template_assignment'; "
            "compute it first (analyzer.compute(['random_spikes', 'templates']))"
        )
    templates = np.array(as_array(extension.get_data(operator="average")))
    if analyzer.sparsity is not None:
        templates *= analyzer.sparsity.mask[:, None, :]
    return templates


def get_unit_similarity(analyzer: Any) -> NDArray[np.float32]:
    """Similarities of all pairs of units: those of the extension, or computed now and not kept.

    Parameters
    ----------
    analyzer : SortingAnalyzer

    Returns
    -------
    array (n_units, n_units) float32

    Raises
    ------
    MissingDataError
        There are no templates.
    """
    extension = analyzer.get_extension("unit_similarity")
    if extension is not None:
        return extension.get_data()
    made = UnitSimilarity(analyzer)
    made.set_params(save=False)
    return made._compute(analyzer, None)["similarity"]


register_extension(UnitSimilarity)
compute_unit_similarity = extension_function(UnitSimilarity)
