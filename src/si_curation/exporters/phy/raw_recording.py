"""Where the raw data of a recording are: one binary file, and which of its columns."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spikeinterface.core import BaseRecording, ChannelSliceRecording


class RawFile(NamedTuple):
    """One binary file of interleaved samples.

    Attributes
    ----------
    path : Path
    dtype : str
    num_channels : int
        Columns of the file.
    offset : int
        Bytes before the first sample.
    columns : array (n_channels,) int64
        Column of each channel of the recording.
    """

    path: Path
    dtype: str
    num_channels: int
    offset: int
    columns: NDArray[np.int64]


def raw_file_of(recording: BaseRecording | None) -> RawFile | None:
    """Return the file that holds exactly the traces of a recording, None if there is none.

    Parameters
    ----------
    recording : BaseRecording, optional
        A binary recording of one file, or channels of one.

    Returns
    -------
    RawFile or None
    """
    if recording is None or recording.get_num_segments() != 1:
        return None
    columns = np.arange(recording.get_num_channels())
    while not recording.is_binary_compatible():
        parent = recording.get_parent()
        if not isinstance(recording, ChannelSliceRecording) or parent is None:
            return None
        positions = {channel_id: i for i, channel_id in enumerate(parent.channel_ids.tolist())}
        found = [positions.get(channel_id, -1) for channel_id in recording.channel_ids.tolist()]
        if -1 in found:  # renamed on the way
            return None
        columns = np.array(found)[columns]
        recording = parent
    description = recording.get_binary_description()
    paths = [Path(path) for path in description["file_paths"]]
    if len(paths) != 1 or description["time_axis"] != 0 or not paths[0].is_file():
        return None
    return RawFile(
        paths[0].resolve(),
        np.dtype(description["dtype"]).name,
        int(description["num_channels"]),
        int(description["file_offset"]),
        columns.astype(np.int64),
    )
