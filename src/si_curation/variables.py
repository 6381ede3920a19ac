"""Every value that leaves the package, declared once: name, unit, dtype, meaning, source.

Also the index types. Four numbers count things from 0, and arrays of them look alike: templates of
the sorter, units of an analyzer, rows of a folder's files, channels of a probe. A function that
takes or returns arrays of two of them names them by these types. At run time they are plain
integers and arrays.
"""

from __future__ import annotations

from typing import NewType

import numpy as np
from numpy.typing import NDArray

#: Row of ``templates.npy``; -1 for none.
TemplateId = NewType("TemplateId", int)
TemplateIds = NewType("TemplateIds", NDArray[np.integer])

#: Position in ``analyzer.unit_ids``.
UnitIndex = NewType("UnitIndex", int)
UnitIndices = NewType("UnitIndices", NDArray[np.integer])

#: Row of a folder's per-spike files (``spike_times.npy`` and the like).
FileRow = NewType("FileRow", int)
FileRows = NewType("FileRows", NDArray[np.integer])

#: Column of ``templates.npy``; position in ``analyzer.channel_ids``. Not the column of the raw file
#: (``channel_map``), not a channel id.
ChannelIndex = NewType("ChannelIndex", int)
ChannelIndices = NewType("ChannelIndices", NDArray[np.integer])
