"""The packaged example: a real Kilosort 4 folder that was curated with the real phy."""

from __future__ import annotations

from pathlib import Path

EXAMPLE_FILES = Path(__file__).parent / "ks4_phy_curated"


def example_folder() -> Path:
    """Return the path of the packaged example folder, which must not be written to.

    Kilosort 4.1.7 on a simulated recording of 32 channels and 80 s (10 templates, 5,299 spikes),
    after phy 2.1.0 merged clusters 5 and 6 into 10, split 3 into 11 and 12, merged 0, 1 and 2 into
    13, and labelled three clusters. ``phy_oracle.json`` and ``phy_ccg.npy`` in it are phy's own
    answers; ``PROVENANCE.md`` tells the rest. Copy it to try what writes::

        shutil.copytree(sic.example_folder(), "my_copy")

    Returns
    -------
    Path

    Examples
    --------
    >>> import si_curation as sic
    >>> (sic.example_folder() / "spike_times.npy").is_file()
    True
    """
    return EXAMPLE_FILES
