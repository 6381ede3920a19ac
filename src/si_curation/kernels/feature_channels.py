"""On which channels Kilosort 4 really stored the features of a spike.

Kilosort 4 takes the features of a spike on the channels next to its *detection* template, and then
sorts them, cluster by cluster and in place, into the order that ``pc_feature_ind.npy`` lists for
the cluster. Where clusters share a detection template, the features of its spikes are sorted again
for each of them, each time as if they were still in their first order. The values are
right; the channels that the file lists are wrong for such spikes. Repeating the same steps on the
channels instead of the values finds the right ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sorted_feature_channels(
    feature_channels: NDArray[np.integer],
    detection_channels: NDArray[np.integer],
    counts: NDArray[np.integer],
) -> NDArray[np.int64]:
    """Follow Kilosort 4's sorting of features into the order of each template's channels.

    Parameters
    ----------
    feature_channels : array (n_templates, n_loc) integer
        As in ``pc_feature_ind.npy``.
    detection_channels : array (n_detection_templates, n_loc) integer
        Channels that the features of each detection template were taken on, in their first order.
    counts : array (n_templates, n_detection_templates) integer
        How many spikes there are of each pair, over the whole sorting.

    Returns
    -------
    array (n_detection_templates, n_loc) int64
        Channel of each column of the features of the spikes of each detection template; -1 where
        Kilosort 4 wrote zeros. Detection templates without spikes keep their first order.

    Notes
    -----
    Source: Kilosort 4.1.7, ``io.make_pc_features``, as it acts on its argument.

    Examples
    --------
    Two templates that share the only detection template: the second sorting mixes the order up.

    >>> sorted_feature_channels(
    ...     np.array([[2, 1, 0], [1, 0, 2]]), np.array([[0, 1, 2]]), np.array([[5], [4]])
    ... )
    array([[1, 2, 0]])
    """
    first = np.asarray(detection_channels, dtype=np.int64)
    labels = first.copy()
    for template in np.flatnonzero(np.asarray(counts).any(axis=1)):
        for detection in np.flatnonzero(counts[template]):
            # where Kilosort looks for each channel of the template, and what really is there
            is_here = feature_channels[template][:, None] == first[detection][None, :]
            found = labels[detection][is_here.argmax(axis=1)]
            labels[detection] = np.where(is_here.any(axis=1), found, -1)
    return labels
