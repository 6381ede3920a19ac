"""Projections of spikes onto templates from the traces, for any sorter that has a recording."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import BaseRecording, NumpySorting
from spikeinterface.core.node_pipeline import PipelineNode, SpikeRetriever, run_node_pipeline

from si_curation._spikeinterface import set_node_arguments
from si_curation.kernels.feature_projections import Traces, TraceTemplates, project_traces


class TemplatesToProjectOn(NamedTuple):
    """Templates that the spikes of a recording are projected onto.

    Attributes
    ----------
    values : array (n_templates, n_samples, n_channels) float32
    neighbours : array (n_templates, K) int32
        Templates that the spikes of each template are projected onto; -1 gives 0.
    num_samples_before : int
        Samples of a template before the spike.
    in_uV : bool
        Whether they are in µV.
    """

    values: NDArray[np.float32]
    neighbours: NDArray[np.int32]
    num_samples_before: int
    in_uV: bool


class TemplateProjection(PipelineNode):
    """Dot products of the traces around each spike with templates.

    Parameters
    ----------
    recording : BaseRecording
    parents : list of PipelineNode
        A `SpikeRetriever` of a sorting whose units are the templates.
    templates : TemplatesToProjectOn
        In µV: the traces are scaled to µV, too.
    """

    _compute_has_extended_signature = True

    def __init__(
        self, recording: BaseRecording, parents: list[PipelineNode], templates: TemplatesToProjectOn
    ) -> None:
        super().__init__(recording, parents=parents, return_output=True)
        set_node_arguments(self, templates=templates)
        num_channels = recording.get_num_channels()
        segments = range(recording.get_num_segments())
        self._num_samples = [recording.get_num_samples(segment) for segment in segments]
        values = np.ascontiguousarray(templates.values, dtype=np.float32)
        self._onto = TraceTemplates(values, channel_spans(values), templates.neighbours)
        self._before = templates.num_samples_before
        self._gains, self._offsets = np.ones(num_channels), np.zeros(num_channels)
        if templates.in_uV:
            self._gains = np.asarray(recording.get_channel_gains(), dtype=np.float64)
            self._offsets = np.asarray(recording.get_channel_offsets(), dtype=np.float64)
        self._dtype = np.dtype("float32")

    def get_margin(self) -> int:
        """Return the number of samples needed on each side of a chunk."""
        return max(self._before, self._onto.values.shape[1] - self._before)

    def get_dtype(self) -> np.dtype:
        """Return the dtype of the output."""
        return self._dtype

    def compute(
        self,
        traces: NDArray,
        start_frame: int,
        end_frame: int,
        segment_index: int,
        max_margin: int,
        peaks: NDArray,
    ) -> NDArray[np.float32]:
        """Project the spikes of one chunk, whose samples are rows of `traces`."""
        out = np.empty((peaks.size, self._onto.neighbours.shape[1]), dtype=np.float32)
        first_frame = start_frame - max_margin  # of the traces, which are padded beyond the ends
        num_samples = self._num_samples[segment_index]
        project_traces(
            Traces(
                np.ascontiguousarray(traces),
                max(-first_frame, 0),
                min(num_samples - first_frame, len(traces)),
                self._gains,
                self._offsets,
            ),
            peaks["sample_index"] - self._before,
            peaks["unit_index"].astype(np.int64),
            self._onto,
            out,
        )
        return out


def channel_spans(templates: NDArray[np.floating]) -> NDArray[np.int64]:
    """First channel with signal of each template and the one after the last; 0, 0 without any.

    Parameters
    ----------
    templates : array (n_templates, n_samples, n_channels)

    Returns
    -------
    array (n_templates, 2) int64

    Examples
    --------
    >>> channel_spans(np.array([[[0.0, 1.0, 2.0, 0.0]], [[0.0, 0.0, 0.0, 0.0]]]))
    array([[1, 3],
           [0, 0]])
    """
    signal = (templates != 0).any(axis=1)
    first = signal.argmax(axis=1)
    last = signal.shape[1] - signal[:, ::-1].argmax(axis=1)
    return np.where(signal.any(axis=1)[:, None], np.stack([first, last], axis=1), 0)


def project_recording(
    recording: BaseRecording,
    spikes: NDArray[np.void],
    template_ids: NDArray[np.int32],
    templates: TemplatesToProjectOn,
    job_kwargs: dict[str, Any],
    gather: dict[str, Any],
) -> NDArray[np.float32]:
    """Project all spikes of a recording, chunk by chunk, in parallel.

    Spikes nearer to the ends of the recording than their template reaches see zeros there.

    Parameters
    ----------
    recording : BaseRecording
    spikes : array (n_spikes,)
        SpikeInterface's spike vector.
    template_ids : array (n_spikes,) int32
    templates : TemplatesToProjectOn
    job_kwargs : dict
        SpikeInterface's.
    gather : dict
        Arguments of `run_node_pipeline` that say where the result goes.

    Returns
    -------
    array (n_spikes, K) float32
    """
    by_template = spikes.copy()
    by_template["unit_index"] = template_ids
    num_templates = len(templates.values)
    sorting = NumpySorting(
        by_template, recording.get_sampling_frequency(), np.arange(num_templates)
    )
    # a retriever wants main channels; the projections do not depend on them
    sorting.set_property("main_channel_id", np.full(num_templates, recording.channel_ids[0]))
    retriever = SpikeRetriever(sorting, recording)
    scaled = bool(templates.in_uV and recording.has_scaleable_traces())
    node = TemplateProjection(recording, [retriever], templates._replace(in_uV=scaled))
    return run_node_pipeline(
        recording,
        [retriever, node],
        job_kwargs=job_kwargs,
        job_name="template_features",
        **gather,
    )
