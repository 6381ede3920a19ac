"""Extension `template_features`: the projection of each spike onto templates next to its own."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import spikeinterface.metrics
import spikeinterface.postprocessing  # noqa: F401  (before registering; see _spikeinterface.py)
from numpy.typing import NDArray
from spikeinterface.core import fix_job_kwargs
from spikeinterface.core.analyzer_extension_core import BaseSpikeVectorExtension
from spikeinterface.core.core_tools import materialize_array

from si_curation._spikeinterface import (
    as_array,
    extension_function,
    recording_of,
    register_extension,
    result_destination,
    spike_vector_of,
)
from si_curation.checks import Checks, check_arguments, indices_of, unit_index_of
from si_curation.errors import (
    MissingDataError,
    ParameterError,
    SiCurationError,
    SiCurationWarning,
)
from si_curation.extensions.changes import UnitChange, UnitsExtension
from si_curation.extensions.spikes_of_units import assignment_of, spikes_of_unit
from si_curation.extensions.template_assignment import TemplateAssignment
from si_curation.extensions.trace_projections import TemplatesToProjectOn, project_recording
from si_curation.kernels.feature_projections import (
    template_neighbours,
    weighted_mean_projections,
)
from si_curation.kernels.parallel import blocks
from si_curation.reading.blockwise import collect_blocks
from si_curation.reading.features import SpikesOfFolder
from si_curation.reading.template_projections import (
    ProjectionSource,
    fault_of_file,
    projections_from_file,
    projections_from_pc_features,
)

logger = logging.getLogger(__name__)

SOURCES = ("file", "pc_features", "recording")
VALUES = "template_features"


class TemplateFeatures(UnitsExtension, BaseSpikeVectorExtension):
    """Projection of each spike onto its own template and the templates most similar to it.

    What phy's TemplateFeatureView shows, for Kilosort output of any version and for every other
    sorter. A projection is the dot product of the spike's waveform and a template. It is taken
    from the best source there is, in this order:

    ``"file"``
        ``template_features.npy``, as the sorter wrote it (Kilosort 1 to 2.5). Where nine in ten
        spikes have no projection onto their own template in it, as in folders of Kilosort 1 and 2
        whose ``template_feature_ind.npy`` lists the same templates for all, it is passed over with
        a warning; ``source="file"`` gives phy's zeros.
    ``"pc_features"``
        Rebuilt from ``pc_features.npy``, without the recording: the features of a spike are its
        waveform in a basis of a few waveforms, on the channels next to its template. In that basis
        the dot product is a sum over channels and components. The basis is the one that Kilosort 4
        writes (``wPCA`` in ``ops.npy``) or is recovered from the mean features of each template
        and ``templates.npy``; where the templates do not determine it, this source is refused.
    ``"recording"``
        The dot product of the traces and the templates of `template_assignment`, computed chunk by
        chunk with SpikeInterface's node pipeline, for any sorter. Give a filtered recording;
        templates that are whitened (``unwhiten=False``) want whitened traces.

    What a projection from ``"pc_features"`` is: the projection of the waveform that the sorter
    took features of (Kilosort 4: after it had subtracted all other spikes), restricted to the
    stored channels and components. What it is not: the projection of the traces, in which
    overlapping spikes are still there, on all channels of the template. Measured on two simulated
    recordings sorted by Kilosort 4.1.7: spikes that overlap no other have the dot product of the
    whitened traces and the template on the stored channels (correlation 1.0000, slope 1.000 for
    each unit); over all spikes and channels the median correlation of a unit's projections onto its
    own template was 0.97 and 0.95, onto others 0.90 and 0.87. The own template had the largest
    projection over norm for 99.9 % and 99.5 % of the spikes of well isolated units; the others
    overlap a larger spike, or are weak.

    Kilosort 4 (at least to 4.1.7) lists wrong channels in ``pc_feature_ind.npy`` for spikes whose
    detection template is shared by several clusters: 13 to 43 % of the spikes in three sortings.
    The values are right, and ``spike_detection_templates.npy`` and ``ops.npy`` tell the channels
    they were taken on. ``feature_channels="repaired"`` uses those wherever that brings the mean
    features nearer to the templates; with the listed ones the own template won in 94.5 %.

    Kilosort 1 does not write plain projections into its file: values are clipped and shifted as its
    template matching uses them. ``"file"`` gives them as they are, which is what phy shows.

    Parameters
    ----------
    source : {"auto", "file", "pc_features", "recording"}, default: "auto"
    num_templates : int, default: 16
        Onto how many templates each spike is projected, its own included; the file has its own
        number.
    feature_channels : {"repaired", "file"}, default: "repaired"
        For ``"pc_features"``: on which channels the features are taken to be, see above.

    Returns
    -------
    values : array (n_spikes, K) float32
        Aligned with ``spike_vector_of(sorting)``. NaN for a spike that the file does not hold.
        In the units of whitened data times templates (``"file"``, ``"pc_features"``), of traces
        times templates (``"recording"``).
    template_index : array (n_templates, K) int32
        The template of each column, by spike template (`template_assignment`); -1 for none.

    Raises
    ------
    MissingDataError
        There is no source, or not the one that was asked for.
    FolderNotFoundError, PhyFolderError
        The folder that the analyzer was read from is gone, or is not what it was.
    ParameterError
        A parameter cannot be used.

    Warns
    -----
    SiCurationWarning
        ``template_features.npy`` cannot be used; what is taken in its place.

    Notes
    -----
    Sources: phy 2.1.0, ``TemplateController._get_template_features`` and
    ``get_spike_template_features``; phylib 2.7.1, ``TemplateModel.get_template_features``.

    On an analyzer on disk (binary_folder or zarr) the result is written while it is computed.

    Examples
    --------
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> features = analyzer.compute("template_features")
    >>> features.source
    'pc_features'
    >>> values, template_index = features.get_data()
    >>> values.shape, template_index.shape
    ((5299, 10), (10, 10))
    >>> features.get_unit_projections(13, onto=4).shape
    (1330,)
    """

    extension_name = "template_features"
    outputs = ("numpy", "by_unit")
    # nothing, for the values belong to the immutable templates of template_assignment
    depend_on: list[str] = []
    need_recording = False
    use_nodepipeline = False
    need_job_kwargs = True
    nodepipeline_variables = [VALUES]

    @classmethod
    def get_optional_dependencies(cls, **params: Any) -> list[str]:
        """Come after what the templates are taken from, where all are computed at once."""
        return ["templates", "template_assignment"]

    def _set_params(
        self, source: str = "auto", num_templates: int = 16, feature_channels: str = "repaired"
    ) -> dict[str, Any]:
        checks = Checks.of_call(TemplateFeatures._set_params, locals())
        params = {
            "source": checks.choice("source", source, ("auto", *SOURCES)),
            "num_templates": checks.whole_number("num_templates", num_templates, at_least=1),
            "feature_channels": checks.choice(
                "feature_channels", feature_channels, ("repaired", "file")
            ),
        }
        checks.finish()
        return params

    def _run(self, verbose: bool = False, **job_kwargs: Any) -> None:
        analyzer = self.sorting_analyzer
        assignment = assignment_of(analyzer, compute=True)
        job_kwargs = fix_job_kwargs(job_kwargs)
        destination = result_destination(self, VALUES)
        found = self._find_source(assignment)
        num_spikes = assignment.get_spike_template_ids().size
        if isinstance(found, ProjectionSource):
            values = collect_blocks(
                found.fill,
                num_spikes,
                found.template_index.shape[1],
                destination,
                self.extension_name,
                job_kwargs["progress_bar"],
            )
            index, norms, details = found.template_index, found.template_norms, found.details
        else:
            values, index, norms = self._project_recording(assignment, destination, job_kwargs)
            details = {"source": "recording"}
        self.data = {
            VALUES: values,
            "template_index": index,
            "template_norms": norms,
            "feature_info": dict(details),
        }

    def reads_traces(self) -> bool:
        """Return whether computing with the default parameters reads the traces.

        Raises
        ------
        MissingDataError
            There is nothing to compute from.
        """
        self.params = self._set_params()
        with warnings.catch_warnings():  # they come when it is computed
            warnings.simplefilter("ignore", SiCurationWarning)
            return self._find_source(assignment_of(self.sorting_analyzer, compute=True)) is None

    def _find_source(self, assignment: TemplateAssignment) -> ProjectionSource | None:
        """Return the source in the folder; None for the recording."""
        wanted = self.params["source"]
        why: list[str] = []
        passed_over: list[str] = []
        source = self._find_source_but(assignment, wanted, why, passed_over)
        if passed_over:
            taken = "the recording" if source is None else source.details["file"]
            warnings.warn(
                f"{passed_over[0]}. The template features are taken from {taken}; source='file' "
                "gives what is in the file, as phy shows it",
                SiCurationWarning,
                stacklevel=2,
            )
        return source

    def _find_source_but(
        self,
        assignment: TemplateAssignment,
        wanted: str,
        why: list[str],
        passed_over: list[str],
    ) -> ProjectionSource | None:
        """Return the source; add to `passed_over` a file that is there and says nothing."""
        if wanted != "recording":
            if not assignment.is_from_folder:
                why.append("the analyzer was not read from a Kilosort folder")
            else:
                spikes = assignment.get_spikes_of_folder()
                for name in ("file", "pc_features"):
                    if wanted not in ("auto", name):
                        continue
                    try:
                        fault = self._fault_of(name, assignment) if wanted == "auto" else None
                        if fault is not None:
                            passed_over.append(fault)
                            why.append(f"{fault} (source='file' gives what is in it)")
                            continue
                        return self._open(name, spikes, assignment)
                    except MissingDataError as error:
                        why.append(str(error))
                    except SiCurationError as error:
                        if wanted == "auto" and name == "file":  # the other source finds it too
                            why.append(str(error))
                            continue
                        # a folder that is gone or broken: the recording may still be there
                        if wanted != "auto" or recording_of(self.sorting_analyzer) is None:
                            raise
                        why.append(str(error))
                        break
        if wanted in ("auto", "recording"):
            if recording_of(self.sorting_analyzer) is not None:
                if why:
                    logger.info("template_features are computed from the recording: %s", why)
                return None
            why.append(
                "the analyzer has no recording (give one with set_temporary_recording or "
                "read_kilosort_as_analyzer(..., recording=...))"
            )
        raise MissingDataError("there is nothing to take template features from: " + "; ".join(why))

    def _fault_of(self, name: str, assignment: TemplateAssignment) -> str | None:
        return fault_of_file(assignment.get_feature_files()) if name == "file" else None

    def _open(
        self, name: str, spikes: SpikesOfFolder, assignment: TemplateAssignment
    ) -> ProjectionSource:
        files = assignment.get_feature_files()
        files.check(spikes.rows, spikes.template_ids)
        if name == "file":
            return projections_from_file(files, spikes)
        similarity = assignment.get_template_similarity()
        return projections_from_pc_features(
            files, spikes, similarity, self.params["num_templates"], self.params["feature_channels"]
        )

    def _project_recording(
        self,
        assignment: TemplateAssignment,
        destination: dict[str, Any],
        job_kwargs: dict[str, Any],
    ) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
        templates = assignment.get_templates()
        norms = np.linalg.norm(templates, axis=(1, 2)).astype(np.float32)
        index = template_neighbours(
            assignment.get_template_similarity(), norms > 0, self.params["num_templates"]
        )
        template_ids = assignment.get_spike_template_ids()
        if template_ids.size == 0:
            return np.empty((0, index.shape[1]), dtype=np.float32), index, norms
        values = project_recording(
            recording_of(self.sorting_analyzer),
            spike_vector_of(self.sorting_analyzer.sorting),
            template_ids,
            TemplatesToProjectOn(
                templates,
                index,
                int(assignment.info["num_samples_before"]),
                assignment.info["units"] == "uV",
            ),
            job_kwargs,
            destination,
        )
        return values, index, norms

    # what belongs to the templates stays as it is when units change

    def _template_data(self) -> dict[str, Any]:
        return {
            "template_index": materialize_array(self.data["template_index"]),
            "template_norms": materialize_array(self.data["template_norms"]),
            "feature_info": dict(self.data["feature_info"]),
        }

    def data_after(self, change: UnitChange) -> dict[str, Any]:
        """Keep the projections of every spike."""
        return {**self.spike_data_after(change), **self._template_data()}

    def _select_channels_extension_data(self, channel_ids: Any) -> dict[str, Any]:
        return {VALUES: materialize_array(self.data[VALUES]), **self._template_data()}

    # what users ask for

    def _get_data(self, outputs: Literal["numpy", "by_unit"] = "numpy", **kwargs: Any) -> Any:
        self.check_outputs(outputs)
        values = super()._get_data(outputs=outputs, **kwargs)
        return (values, self.template_index) if outputs == "numpy" else values

    @property
    def source(self) -> str:
        """Where the projections come from: "file", "pc_features" or "recording"."""
        return str(self.data["feature_info"]["source"])

    @property
    def info(self) -> dict[str, Any]:
        """What is known of the source; for "pc_features" of the basis and its condition number."""
        return dict(self.data["feature_info"])

    @property
    def projections(self) -> Any:
        """Projections of all spikes (n_spikes, K) float32, as they are stored."""
        return self.data[VALUES]

    @property
    def template_index(self) -> NDArray[np.int32]:
        """Template of each column, by spike template (n_templates, K); -1 for none."""
        return as_array(self.data["template_index"])

    @property
    def template_norms(self) -> NDArray[np.float32]:
        """Norm of each template (n_templates,), by which projections are made comparable.

        A projection onto a template over its norm is the length of the waveform along it.
        """
        return as_array(self.data["template_norms"])

    def get_unit_projections(
        self, unit_id: Any, onto: Any = None, missing: float = 0.0
    ) -> NDArray[np.float32]:
        """Projections of the spikes of one unit onto the most frequent template of a unit.

        Parameters
        ----------
        unit_id : int or str
        onto : int or str, optional
            The unit whose template; `unit_id` by default.
        missing : float
            For spikes that are not projected onto that template: 0, as in phy, or NaN.

        Returns
        -------
        array (n_spikes of the unit,) float32
            NaN for spikes that the file does not hold.

        Raises
        ------
        UnknownIdError
        MissingDataError
            The unit `onto` has no spikes, and so no template.
        """
        check_arguments(TemplateFeatures.get_unit_projections, locals())
        assignment = assignment_of(self.sorting_analyzer)
        spikes = self._spikes_of(unit_id)
        target = unit_id if onto is None else onto
        position = unit_index_of(self.sorting_analyzer, target)
        template = int(assignment.unit_template_ids[position])
        if template < 0:
            raise MissingDataError(f"unit {target!r} has no spikes, and so no template")
        return self.get_template_projections(spikes, template, missing)

    def get_template_projections(
        self, spike_indices: NDArray[np.integer], template_id: int, missing: float = 0.0
    ) -> NDArray[np.float32]:
        """Projections of some spikes onto one template.

        Parameters
        ----------
        spike_indices : array (n,) integer
            Positions in the spike vector.
        template_id : int
        missing : float
            As for `get_unit_projections`.

        Returns
        -------
        array (n,) float32
        """
        check_arguments(TemplateFeatures.get_template_projections, locals())
        all_ids = assignment_of(self.sorting_analyzer).get_spike_template_ids()
        spike_indices = indices_of(spike_indices, all_ids.size, "spike_indices")
        template_ids = all_ids[spike_indices]
        is_column = self.template_index == template_id
        columns = np.where(is_column.any(axis=1), is_column.argmax(axis=1), -1)
        column = columns[template_ids]
        values = self.data[VALUES]
        if isinstance(values, np.ndarray):
            places = np.asarray(spike_indices) * values.shape[1] + np.maximum(column, 0)
            found = np.take(values.reshape(-1), places)
        else:
            found = self._rows(spike_indices)[np.arange(column.size), np.maximum(column, 0)]
        # all values of a spike that the file does not hold are NaN
        found[(column < 0) & ~np.isnan(found)] = missing
        return found

    def get_pair_projections(
        self, unit_a: Any, unit_b: Any, missing: float = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Projections of the spikes of two units onto both: phy's TemplateFeatureView.

        Onto a unit means: the mean over its templates, weighted by how many of its spikes they
        found.

        Parameters
        ----------
        unit_a, unit_b : int or str
        missing : float
            What counts for templates that a spike is not projected onto: 0, as in phy, or NaN.

        Returns
        -------
        array (n_spikes of a, 2) float64
            Of the spikes of `unit_a`: onto `unit_a` and onto `unit_b`.
        array (n_spikes of b, 2) float64
            Of the spikes of `unit_b`, likewise.

        Raises
        ------
        UnknownIdError
        MissingDataError
            A unit has no spikes, and so no template.
        """
        check_arguments(TemplateFeatures.get_pair_projections, locals())
        assignment = assignment_of(self.sorting_analyzer)
        counts = assignment.get_template_counts()
        weights = []
        for unit_id in (unit_a, unit_b):
            of_unit = counts[[unit_index_of(self.sorting_analyzer, unit_id)]].toarray()[0]
            if not of_unit.any():
                raise MissingDataError(f"unit {unit_id!r} has no spikes, and so no template")
            weights.append(of_unit)
        first, second = (
            self.get_mean_projections(self._spikes_of(unit), weights, missing)
            for unit in (unit_a, unit_b)
        )
        return first, second

    def get_mean_projections(
        self,
        spike_indices: NDArray[np.integer],
        weights: Sequence[NDArray[np.integer]],
        missing: float = 0.0,
    ) -> NDArray[np.float64]:
        """Projections of some spikes (n,) onto means of templates: `weighted_mean_projections`."""
        check_arguments(TemplateFeatures.get_mean_projections, locals())
        template_ids = assignment_of(self.sorting_analyzer).get_spike_template_ids()
        spike_indices = indices_of(spike_indices, template_ids.size, "spike_indices")
        if any(np.shape(one) != (len(self.template_index),) for one in weights):
            raise ParameterError(
                f"weights has lists of other lengths, expected one of {len(self.template_index)} "
                "numbers for each mean, one for each template"
            )
        out = np.empty((len(spike_indices), len(weights)))
        for piece in blocks(len(out)):
            spikes = spike_indices[piece]
            index = self.template_index[template_ids[spikes]]  # (n, K)
            out[piece] = weighted_mean_projections(self._rows(spikes), index, weights, missing)
        return out

    def _spikes_of(self, unit_id: Any) -> NDArray[np.int64]:
        return spikes_of_unit(self.sorting_analyzer, unit_id)

    def _rows(self, spike_indices: NDArray[np.integer]) -> NDArray[np.float32]:
        values = self.data[VALUES]
        if isinstance(values, np.ndarray):
            return np.array(values[spike_indices])
        return np.asarray(values.get_orthogonal_selection((spike_indices, slice(None))))


register_extension(TemplateFeatures)
compute_template_features = extension_function(TemplateFeatures)
