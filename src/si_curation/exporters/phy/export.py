"""`export_to_phy`: an analyzer as a folder that phy opens, nothing lost on the way."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from spikeinterface.core import SortingAnalyzer

import si_curation.extensions  # noqa: F401  (registers template_assignment)
from si_curation._spikeinterface import recording_of
from si_curation.checks import Checks, local_path
from si_curation.errors import SiCurationError, SiCurationWarning
from si_curation.exporters.phy.columns import texts_by_id
from si_curation.exporters.phy.copy import copy_curated
from si_curation.exporters.phy.curated import (
    check_apart,
    check_source,
    plan_curation,
    source_folder_of,
)
from si_curation.exporters.phy.from_analyzer import write_phy_files
from si_curation.exporters.phy.prepare import prepare_for_phy
from si_curation.exporters.phy.session_folder import Session, write_session_folder
from si_curation.exporters.phy.template_features import write_template_features
from si_curation.files import Content, check_output_folder, new_folder, write_file
from si_curation.reading.sessions import session_of_whole


def export_to_phy(
    sorting_analyzer: SortingAnalyzer,
    output_folder: str | Path,
    *,
    curation: Literal["keep", "discard"] = "keep",
    columns: pd.DataFrame | dict[str, dict[Any, Any]] | None = None,
    complete: bool = False,
    link: bool = False,
    copy_recording: bool = False,
    overwrite: bool = False,
    progress_bar: bool = False,
) -> Path:
    """Write an analyzer as a folder that phy opens.

    An analyzer that was read from a Kilosort or phy folder (`read_kilosort_as_analyzer`), curated
    since or not: the folder with the analyzer's clusters and labels. What curation does not touch
    is copied byte for byte, so that an analyzer that was not touched gives the same folder again.
    Any other analyzer: the files that phy needs, made from its extensions.

    The folder appears as a whole or not at all.

    Parameters
    ----------
    sorting_analyzer : SortingAnalyzer
        With one segment. Needs "templates" unless it was read from a Kilosort folder.
    output_folder : str or Path
        Must not exist, unless `overwrite`; not in the folder that the analyzer was read from.
    curation : {"keep", "discard"}
        "discard": as the sorter left it. Clusters are the spike templates again; phy's groups,
        phy's ``cluster_info``, the rows of clusters that are no templates, and columns that no
        sorter writes (all but ``KSLabel``, ``ContamPct``, ``Amplitude``, ``channel_group`` and
        ``si_unit_id``) are dropped. Values of templates that phy deleted from the tables when it
        merged or split them cannot be restored and are missing.
    columns : pandas.DataFrame or dict, optional
        Values to show in phy: a DataFrame indexed by unit id, or {name: {unit_id: value}}. Each
        column becomes ``cluster_<name>.tsv``; units that are not in it keep the value they have.
        NaN, None and "" are no value.
    complete : bool
        Compute first what phy shows and the analyzer does not have (amplitudes, features, template
        features), with `prepare_for_phy`, which adds it to the analyzer and deletes nothing.
    link : bool
        Hard links instead of copies, where the file system can, for the large files that neither
        phy nor this package ever changes in place.
    copy_recording : bool
        Copy the raw data into the folder too. Otherwise ``params.py`` tells where they are.
    overwrite : bool
        Replace an existing folder, which is kept as ``<name>.backup-YYYYmmdd-HHMMSS``.
    progress_bar : bool

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputExistsError
        `output_folder` exists.
    FolderNotFoundError, PhyFolderError
        The folder that the analyzer was read from is gone, cannot be read, or is not (any more)
        what it was: its files are needed.
    UnknownIdError
        `columns` has units that do not exist.
    MissingDataError
        The analyzer has no templates, no spikes or no channel positions, or `copy_recording` is
        asked for and there are no raw data.
    ParameterError
        What was asked for cannot be done.

    Warns
    -----
    SiCurationWarning
        phy will not show something, because the analyzer does not have it; and how to have it.

    See Also
    --------
    prepare_for_phy : what `complete` does.

    Notes
    -----
    *Clusters.* Unit ids that are whole numbers from 0 stay as they are. Other units get new ids
    above all used ones, and ``cluster_si_unit_id.tsv`` has their names. Spikes of the folder that
    are not in the analyzer (of units that were excluded or removed, or that SpikeInterface cannot
    hold) keep the cluster they have and its values in the tables: no spike is lost. If a unit has
    the id of such a cluster, but is another one, it gets a new id.

    *Tables.* Clusters that have the same spikes as before keep all their values. Clusters that are
    gone are removed. Clusters that are new or have other spikes get the labels that the analyzer
    gives them: its property ``quality`` as phy's group and, of the columns that are there, the
    texts. Numbers are left out for them (``Amplitude``, ``ContamPct``, counts: those of another
    cluster), unless they are labels of a session or in `columns`. ``cluster_info`` is removed when
    anything changes; phy writes it anew when it saves.

    *Labels of sessions.* Every field that a `CurationSession` has set comes back, text or number:
    a new field as ``cluster_<field>.tsv``, a label that was taken away as no value. Labels that no
    step has touched stay as they are in the folder, where phy may have changed them since.

    *Template features.* If the analyzer has the extension `template_features`, and the folder has
    no such files from the sorter, ``template_features.npy`` and ``template_feature_ind.npy`` are
    written, so that phy shows its TemplateFeatureView. Spikes of the folder that are not in the
    analyzer get theirs too if they come from ``pc_features.npy``; 0 where a value is not known.

    *Sessions.* An analyzer of `split_by_session` becomes a folder of its session: the rows of its
    time of every file of spikes, with times from its start; also those of spikes that are not in
    the analyzer. ``params.py`` names the raw files of the session. Where it is a part of one that
    goes on after it, which phy cannot be told, none is named: `copy_recording` writes the samples
    of the session. ``session.json`` tells which part of the whole it is; ``ops.npy`` is of the
    whole, and is read with that; ``session_feature_channels.npy`` has the channels of features that
    the spikes of one session may be too few to tell. ``kept_spikes.npy`` and phy's own choice of
    waveforms, which are of all spikes, are left out.

    *Other sorters.* ``templates.npy`` has the templates of `template_assignment`, on the channels
    of their signal; a zero template is added where there is only one, which phy cannot read.
    ``amplitudes.npy`` has the absolute values of the extension "spike_amplitudes" (or the same from
    waveforms of all spikes); where they are not known there is no such file, and phy shows zeros.
    ``pc_features.npy`` is there if there is "principal_components" by channel, with
    ``pc_feature_spike_ids.npy`` where those are of random spikes; phy needs it for its
    TemplateFeatureView too. ``spike_positions.npy`` is there if there is "spike_locations". Nothing
    is computed but "template_assignment", unless `complete`.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import si_curation as sic
    >>> analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    >>> merged = analyzer.merge_units([[8, 9]], sparsity_overlap=0.0)
    >>> folder = export_to_phy(merged, tempfile.mkdtemp() + "/for_phy")
    >>> sic.read_phy_folder(folder).cluster_ids
    array([ 4,  7, 10, 11, 12, 13, 14])
    """
    checks = Checks.of_call(export_to_phy, locals())
    checks.require(
        "curation" in checks.wrong_kinds or curation != "discard" or columns is None,
        "columns are of curated units, which curation='discard' does not write",
    )
    checks.stop_without("sorting_analyzer")
    _check_segments(checks, sorting_analyzer)
    checks.finish()
    target = check_output_folder(local_path(output_folder, "output_folder").resolve(), overwrite)
    unit_ids = sorting_analyzer.unit_ids
    texts = {} if columns is None else texts_by_id(columns, unit_ids.tolist(), "unit")
    if complete:
        prepare_for_phy(sorting_analyzer, progress_bar=progress_bar)
    source = source_folder_of(sorting_analyzer)
    if source is None:
        with new_folder(target, overwrite) as part:
            missing = write_phy_files(
                sorting_analyzer, part, curation, texts, copy_recording, progress_bar
            )
        if missing and not complete:
            warnings.warn(_advice(sorting_analyzer, missing), SiCurationWarning, stacklevel=2)
        return target
    check_apart(target, source)
    check_source(source)
    session = _session_of(sorting_analyzer)
    if session is not None:
        plan_curation(sorting_analyzer, source)  # raises where it is not the folder
        with new_folder(target, overwrite) as part:
            rows = write_session_folder(
                source,
                part,
                session,
                sampling_frequency=sorting_analyzer.sampling_frequency,
                feature_channels=_feature_channels(sorting_analyzer),
                link=link,
                copy_recording=copy_recording,
            )
            plan = plan_curation(sorting_analyzer, part, curation, texts, rows)
            _replace(part, plan.files)
            write_template_features(sorting_analyzer, part, source, rows)
        return target
    with new_folder(target, overwrite) as part:
        copy_curated(
            source,
            part,
            target,
            lambda: plan_curation(sorting_analyzer, source, curation, texts).files,
            sampling_frequency=sorting_analyzer.sampling_frequency,
            link=link,
            copy_recording=copy_recording,
            progress_bar=progress_bar,
        )
        write_template_features(sorting_analyzer, part, source)
    return target


def _session_of(analyzer: SortingAnalyzer) -> Session | None:
    """Return the session that an analyzer is, None where it is no part of the folder's time."""
    span = analyzer.get_extension("template_assignment").session_samples
    if span is None:
        return None
    known = session_of_whole(analyzer.sorting)
    return Session("" if known is None else known.name, *span)


def _feature_channels(analyzer: SortingAnalyzer) -> NDArray[np.int64] | None:
    """Return on which channels features are that the files of a folder do not tell rightly."""
    try:
        return analyzer.get_extension("template_assignment").get_feature_files().repaired_channels
    except SiCurationError:  # there are no features
        return None


def _replace(folder: Path, files: Mapping[str, Content | None]) -> None:
    """Replace files of a folder that is being written."""
    for name, content in files.items():
        (folder / name).unlink(missing_ok=True)
        if content is not None:
            write_file(folder / name, content)


def _advice(analyzer: SortingAnalyzer, missing: list[str]) -> str:
    """Return what phy will not show, and how to have it without losing something else."""
    first = "" if recording_of(analyzer) else "analyzer.set_temporary_recording(recording), then "
    return (
        f"phy will not show {' and '.join(missing)}, which the analyzer does not have. {first}"
        "prepare_for_phy(analyzer) computes what is missing and deletes nothing (as "
        "analyzer.compute would); then export again, or export with complete=True"
    )


def _check_segments(checks: Checks, analyzer: SortingAnalyzer) -> None:
    if analyzer.get_num_segments() != 1:
        checks.add(
            f"the analyzer has {analyzer.get_num_segments()} segments and phy shows one: sort and "
            "analyze spikeinterface.concatenate_recordings(...) of them, or export each segment by "
            "itself (sorting.select_segments, recording.select_segments)"
        )
