"""Saved analyzers whose loading would run code: each plants a folder if SpikeInterface loads it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

import si_curation as sic


class Touch:
    """An object whose unpickling makes a file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def foreign(marker: Path) -> dict:
    """A recording whose class makes a folder."""
    return {
        "class": "os.mkdir",
        "module": "os",
        "version": "1",
        "kwargs": {"path": str(marker)},
        "annotations": {},
        "properties": {},
        "relative_paths": False,
    }


def nested(marker: Path) -> dict:
    """A recording known here, of a parent that is not."""
    return {
        **foreign(marker),
        "class": "spikeinterface.preprocessing.astype.AstypeRecording",
        "module": "spikeinterface",
        "kwargs": {"recording": foreign(marker), "dtype": "float32"},
    }


VECTORS: dict[str, Callable[[Path, Path], None]] = {}


def vector(function):
    VECTORS[function.__name__] = function
    return function


def objects(marker: Path) -> np.ndarray:
    return np.array([Touch(marker)] * 8, dtype=object)


@vector
def class_in_recording_json(folder, marker):
    (folder / "recording.json").write_text(json.dumps(foreign(marker)))


@vector
def class_in_the_kwargs(folder, marker):
    (folder / "recording.json").write_text(json.dumps(nested(marker)))


@vector
def recording_pickle(folder, marker):
    (folder / "recording.json").unlink(missing_ok=True)
    (folder / "recording.pickle").write_bytes(pickle.dumps(Touch(marker)))


@vector
def sorting_provenance(folder, marker):
    (folder / "sorting" / "provenance.json").write_text(json.dumps(foreign(marker)))


@vector
def params_of_a_phy_folder(folder, marker):
    phy = folder / "phy"
    phy.mkdir()
    (phy / "params.py").write_text(f"import os\nos.mkdir({str(marker)!r})\nsample_rate = 1.0\n")
    content = {
        **foreign(marker),
        "class": "spikeinterface.extractors.phykilosortextractors.PhySortingExtractor",
        "kwargs": {"folder_path": str(phy)},
    }
    (folder / "sorting" / "provenance.json").write_text(json.dumps(content))


@vector
def extension_pickle(folder, marker):
    path = folder / "extensions" / "templates" / "average.pkl"
    path.write_bytes(pickle.dumps(Touch(marker)))


@vector
def objects_in_a_property(folder, marker):
    path = folder / "sorting" / "properties" / "wicked.npy"
    np.save(path, objects(marker), allow_pickle=True)


# the same in zarr


ZARR_VECTORS: dict[str, Callable[[Path, Path], None]] = {}


def zarr_vector(function):
    ZARR_VECTORS[function.__name__] = function
    return function


def write_object(folder: Path, name: str, content, codec: str) -> None:
    import numcodecs
    import zarr

    root = zarr.open(str(folder), mode="r+")
    values = np.empty(1, dtype=object)
    values[0] = content
    object_codec = numcodecs.Pickle() if codec == "pickle" else numcodecs.JSON()
    root.create_dataset(name, data=values, object_codec=object_codec, overwrite=True)
    zarr.consolidate_metadata(root.store)


@zarr_vector
def zarr_recording_class(folder, marker):
    write_object(folder, "recording", foreign(marker), "json")


@zarr_vector
def zarr_recording_pickle(folder, marker):
    write_object(folder, "recording", Touch(marker), "pickle")


@zarr_vector
def zarr_extension_pickle(folder, marker):
    import zarr

    write_object(folder, "extensions/templates/wicked", Touch(marker), "pickle")
    root = zarr.open(str(folder), mode="r+")
    root["extensions/templates/wicked"].attrs["object"] = True
    zarr.consolidate_metadata(root.store)


@zarr_vector
def zarr_sorting_provenance(folder, marker):
    import zarr

    root = zarr.open(str(folder), mode="r+")
    root["sorting"].attrs["provenance"] = foreign(marker)
    zarr.consolidate_metadata(root.store)


@zarr_vector
def zarr_pickle_as_compressor(folder, marker):
    """The array is of numbers, and the metadata have them unpickled."""
    path = folder / "extensions" / "templates" / "average"
    for name in path.iterdir():
        if not name.name.startswith("."):
            name.write_bytes(pickle.dumps(Touch(marker)))
    metadata = json.loads((path / ".zarray").read_text())
    metadata["compressor"] = {"id": "pickle"}
    (path / ".zarray").write_text(json.dumps(metadata))
    consolidated = json.loads((folder / ".zmetadata").read_text())
    consolidated["metadata"]["extensions/templates/average/.zarray"] = metadata
    (folder / ".zmetadata").write_text(json.dumps(consolidated))


@zarr_vector
def zarr_property_of_objects(folder, marker):
    write_object(folder, "sorting/properties/wicked", Touch(marker), "pickle")


def save_clean(root: Path, kilosort: Path | None = None) -> Path:
    """Save an analyzer of a Kilosort folder, the example by default, with nothing planted.

    They are ``analyzer`` and ``analyzer.zarr``.
    """
    analyzer = sic.read_kilosort_as_analyzer(kilosort or sic.example_folder())
    analyzer.save_as(format="binary_folder", folder=root / "analyzer")
    analyzer.save_as(format="zarr", folder=root / "analyzer.zarr")
    return root


def copy_planted(clean: Path, target: Path, name: str, marker: Path) -> Path:
    """A copy of a saved analyzer with one vector in it."""
    shutil.copytree(clean, target)
    (ZARR_VECTORS if target.suffix == ".zarr" else VECTORS)[name](target, marker)
    return target
