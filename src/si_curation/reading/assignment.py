"""The data of `template_assignment` of a folder: for the reader, and for attaching a folder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from si_curation.phy.folder import PhyFolder
from si_curation.reading.templates import SorterTemplates, info_without_templates
from si_curation.variables import FileRows, TemplateIds


def assignment_of_folder(
    folder: PhyFolder,
    templates: SorterTemplates | None,
    rows: FileRows,
    template_ids: TemplateIds,
    folder_channels: NDArray[np.integer] | None = None,
) -> dict[str, Any]:
    """Return what the extension holds of spikes that are rows of a folder.

    Parameters
    ----------
    folder : PhyFolder
    templates : SorterTemplates, optional
        Of the folder, on its channels; None where the folder has none.
    rows, template_ids : array (n_spikes,) integer
        Of the spikes of the analyzer.
    folder_channels : array (n_channels,) integer, optional
        Channel of the folder of each channel of the analyzer, -1 for none; None: the same.

    Returns
    -------
    dict
    """
    channels = np.arange(folder.num_channels, dtype=np.int32)
    data: dict[str, Any] = {
        "spike_template_ids": template_ids,
        "spike_rows": rows,
        "channel_positions": folder.channel_positions,
        "folder_channels": channels,
    }
    if templates is None:
        data["template_info"] = info_without_templates(folder)
    else:
        data["templates"] = templates.templates
        data["template_amplitudes"] = templates.amplitudes
        data["template_support"] = templates.support
        data["template_info"] = templates.info(folder)
    if folder.template_channels is not None:
        data["template_channels"] = folder.template_channels.astype(np.int32)
    if folder.similar_templates is not None:
        data["similar_templates"] = np.array(folder.similar_templates, dtype=np.float32)
    if folder_channels is not None and not np.array_equal(folder_channels, channels):
        _put_on_channels(data, folder_channels.astype(np.int32), folder.num_channels)
    return data


def _put_on_channels(
    data: dict[str, Any], folder_channels: NDArray[np.int32], num_folder_channels: int
) -> None:
    """Put the templates on the channels of an analyzer; nothing on those the folder has not."""
    known = folder_channels >= 0
    if "templates" in data:
        data["templates"] = data["templates"][:, :, folder_channels] * known.astype(np.float32)
        amplitudes = data["template_amplitudes"][:, folder_channels]
        data["template_amplitudes"] = amplitudes * known.astype(amplitudes.dtype)
        data["template_support"] = data["template_support"][:, folder_channels] & known
    positions = data["channel_positions"][folder_channels]
    # far from every channel: those of the folder only are next to each other
    positions[~known] = np.nan
    data["channel_positions"] = positions
    data["folder_channels"] = folder_channels
    if "template_channels" in data:
        table = np.full(num_folder_channels + 1, -1, dtype=np.int32)  # the last one is for -1
        table[folder_channels[known]] = np.flatnonzero(known)
        data["template_channels"] = table[data["template_channels"]]
