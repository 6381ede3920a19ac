"""How each version of Kilosort writes its folder: shapes, dtypes, memory order, conventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from si_curation.errors import ParameterError
from si_curation.files import make_array_file, write_file

_MATLAB_DTYPES = {
    "spike_times": "uint64",
    "spike_templates": "uint32",
    "spike_clusters": "uint32",
    "amplitudes": "float64",
    "templates": "float32",
    "template_ind": "int64",
    "templates_ind": "float64",
    "channel_map": "int32",
    "channel_positions": "float64",
    "channel_shanks": "int32",
    "pc_features": "float32",
    "pc_feature_ind": "uint32",
    "pc_feature_spike_ids": "int64",
    "template_features": "float32",
    "template_feature_ind": "uint32",
    "template_feature_spike_ids": "int64",
    "similar_templates": "float32",
    "whitening_mat": "float64",
    "whitening_mat_inv": "float64",
    "whitening_mat_dat": "float64",
    "spike_positions": "float32",
    "spike_detection_templates": "int32",
    "kept_spikes": "bool",
}
_KILOSORT1_DTYPES = {
    **_MATLAB_DTYPES,
    "pc_feature_ind": "float64",
    "template_feature_ind": "float64",
}
_KILOSORT4_DTYPES = {
    **_MATLAB_DTYPES,
    "spike_times": "int64",
    "spike_templates": "int32",
    "spike_clusters": "int32",
    "amplitudes": "float32",
    "templates_ind": "int64",
    "channel_map": "int64",
    "channel_positions": "float32",
    "channel_shanks": "float64",
    "whitening_mat": "float32",
    "whitening_mat_inv": "float32",
    "whitening_mat_dat": "float32",
}

#: Vectors with one value per spike or per channel: the ones that can be columns.
VECTORS = frozenset(
    {
        "spike_times",
        "spike_templates",
        "spike_clusters",
        "spike_detection_templates",
        "amplitudes",
        "channel_map",
        "channel_shanks",
    }
)


@dataclass(frozen=True)
class Dialect:
    """What one version of Kilosort writes, and how."""

    name: str
    num_samples: int = 82
    num_samples_before: int = 40
    num_leading_zeros: int = 21
    # "" dense, "padded" template_ind with -1, "all" template_ind with every channel in every row
    sparse: str = ""
    num_support_channels: int = 24
    whitening: str = "local"
    # "right": whitened = template @ W; "left": whitened = template @ W.T (W @ X, channels first)
    orientation: str = "right"
    whitening_scale: float = 1 / 4
    num_pcs: int = 3
    num_feature_channels: int = 32
    template_features: bool = True
    features: bool = True
    # "factor" of a template, or "norm" of the spike's features
    amplitudes: str = "factor"
    # 4.0.0 wrote the templates of the detection as spike_templates, and nothing else of them
    detection_as_templates: bool = False
    inverse_jitter: float = 0.0
    fortran_order: bool = True
    column_vectors: bool = True
    # "vector" follows column_vectors, "row" is (1, n)
    channel_map_shape: str = "vector"
    # "always", "if_many" shanks, "never"
    shanks: str = "if_many"
    tables: bool = True
    group_table: bool = True
    newline: str = "\r\n"
    dat_path: str = "recording.dat"
    dat_path_is_list: bool = True  # Kilosort 4
    hp_filtered: bool = False
    dtypes: Mapping[str, str] = field(default_factory=lambda: _MATLAB_DTYPES)

    @property
    def is_kilosort4(self) -> bool:
        """Whether the extra files of Kilosort 4 are written."""
        return self.name.startswith("kilosort4")


_KILOSORT1 = {
    "num_support_channels": 16,
    "whitening": "symmetric",
    "num_feature_channels": 12,
    "tables": False,
    "dtypes": _KILOSORT1_DTYPES,
}
_KILOSORT4 = {
    "num_samples": 61,
    "num_samples_before": 20,
    "num_leading_zeros": 0,
    "num_support_channels": 16,
    "orientation": "left",
    "whitening_scale": 1.0,
    "num_pcs": 6,
    "num_feature_channels": 10,
    "template_features": False,
    "amplitudes": "norm",
    "fortran_order": False,
    "column_vectors": False,
    "newline": "\n",
    "dtypes": _KILOSORT4_DTYPES,
}
#: Kilosort 4.0.0 to 4.0.6: 0.005 times the identity in place of the whitening.
_KILOSORT4_SCALE = {
    **_KILOSORT4,
    "whitening": "diagonal",
    "inverse_jitter": 1e-5,
    "shanks": "never",
}
_PROCESSED = {
    "whitening": "diagonal",
    "channel_map_shape": "row",
    "dat_path": "temp_wh.dat",
    "hp_filtered": True,
}

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect("kilosort1", sparse="padded", **_KILOSORT1),  # type: ignore[arg-type]
        Dialect("kilosort1_all_channels", sparse="all", **_KILOSORT1),  # type: ignore[arg-type]
        Dialect("kilosort2"),
        Dialect("kilosort2.5", **_PROCESSED),  # type: ignore[arg-type]
        Dialect("kilosort3", template_features=False, **_PROCESSED),  # type: ignore[arg-type]
        Dialect("kilosort4", shanks="always", **_KILOSORT4),  # type: ignore[arg-type]
    )
}

#: What single versions wrote otherwise; from their code.
VERSION_DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        # the sorter itself: "kilosort1" is what other programs make of it
        Dialect("kilosort1.0", shanks="never", **_KILOSORT1),  # type: ignore[arg-type]
        Dialect("kilosort2.0_beta", group_table=False, shanks="never"),
        Dialect(
            "kilosort3.0.2",
            template_features=False,
            features=False,
            amplitudes="norm",
            shanks="never",
            **_PROCESSED,  # type: ignore[arg-type]
        ),
        Dialect(
            "kilosort4.0.0",
            features=False,
            detection_as_templates=True,
            dat_path_is_list=False,
            **_KILOSORT4_SCALE,  # type: ignore[arg-type]
        ),
        Dialect(
            "kilosort4.0.2",
            features=False,
            dat_path_is_list=False,
            **_KILOSORT4_SCALE,  # type: ignore[arg-type]
        ),
        Dialect("kilosort4.0.6", dat_path_is_list=False, **_KILOSORT4_SCALE),  # type: ignore[arg-type]
        Dialect(
            "kilosort4.0.13",
            inverse_jitter=1e-5,
            shanks="never",
            dat_path_is_list=False,
            **_KILOSORT4,  # type: ignore[arg-type]
        ),
        Dialect(
            "kilosort4.0.32",
            inverse_jitter=1e-5,
            shanks="always",
            dat_path_is_list=False,
            **_KILOSORT4,  # type: ignore[arg-type]
        ),
    )
}


@dataclass(frozen=True)
class FolderWriter:
    """Write arrays as one dialect does, with the shapes and dtypes asked for."""

    folder: Path
    dialect: Dialect
    column_vectors: bool | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)

    def dtype(self, name: str) -> np.dtype:
        """Return the dtype that the file ``name`` is to have."""
        return np.dtype(self.dtypes.get(name, self.dialect.dtypes[name]))

    def path(self, name: str) -> Path:
        """Return the path of the file ``name``."""
        return self.folder / f"{name}.npy"

    def save(self, name: str, values: np.ndarray, *, column: bool | None = None) -> np.ndarray:
        """Write an array; return what was written, cast but in the shape that was given.

        Parameters
        ----------
        name : str
            File name without ``.npy``.
        values : np.ndarray
            Any shape.
        column : bool or None, default: None
            For a vector: (n, 1) rather than (n,). None takes what the folder does.
        """
        cast = cast_exactly(name, values, self.dtype(name))
        write_file(self.path(name), self._shaped(name, cast, column))
        return cast

    def _shaped(self, name: str, values: np.ndarray, column: bool | None) -> np.ndarray:
        """Return a vector in the dialect's shape, or a matrix in its memory order."""
        if values.ndim > 1:
            return np.asfortranarray(values) if self.dialect.fortran_order else values
        if name not in VECTORS:
            return values
        if self.column_vectors is not None:
            column = self.column_vectors
        elif name == "channel_map" and self.dialect.channel_map_shape == "row":
            return values[None, :]
        elif column is None:
            column = self.dialect.column_vectors
        return values[:, None] if column else values

    def create_rows(self, name: str, shape: tuple[int, ...]) -> RowWriter:
        """Create a large array that is then written a block of rows at a time."""
        path = self.path(name)
        make_array_file(path, shape, self.dtype(name), fortran_order=self.dialect.fortran_order)
        return RowWriter(path)


@dataclass(frozen=True)
class RowWriter:
    """Rows of an existing ``.npy`` file, mapped only while a block is written."""

    path: Path

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        # mapped anew for each block: what was written does not stay in this process's memory
        np.lib.format.open_memmap(self.path, mode="r+")[rows] = values


def cast_exactly(name: str, values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Cast, but refuse integers that do not fit."""
    if values.dtype == dtype:
        return values
    if np.issubdtype(dtype, np.integer) and values.size:
        limits = np.iinfo(dtype)
        if values.min() < limits.min or values.max() > limits.max:
            raise ParameterError(f"{name} holds values that do not fit in {dtype}")
    return values.astype(dtype)
