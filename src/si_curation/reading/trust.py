"""What of a saved analyzer would run code when SpikeInterface loads it.

SpikeInterface imports and calls whatever class ``recording.json`` or the provenance of a sorting
names, and unpickles ``recording.pickle``, extensions that end in ``.pkl``, arrays of objects, and
what a zarr folder says is a pickle. Here these parts are found without loading any of them. Code is
not what is looked for: what is not known to be data is not trusted.
"""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import pickletools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from si_curation.phy.arrays import Findings, one_line, read_npy_header, shortened
from si_curation.phy.ops import load_data
from si_curation.phy.params import read_params

#: Kilosort's files: a folder that has both is read as Kilosort's, whatever else is in it.
_KILOSORT_FILES = ("spike_times.npy", "spike_templates.npy")
_MAX_JSON_BYTES = 200_000_000
_MAX_FOLDERS = 200_000
_PICKLES = (".pkl", ".pickle")
#: What describes a recording or the sorting that an analyzer was made from, and may name a class.
_PROVENANCE = ("recording.json", "sorting/provenance.json", "sorting_provenance.json")
_LOADED = ("sorting", "extensions")

_CLASS = re.compile(
    r"spikeinterface\.(core|extractors|preprocessing|generation|sortingcomponents)(\.\w+)*\.(\w+)"
)
_PREPROCESSING = (
    "Astype|AverageAcrossDirection|BandpassFilter|BlankSaturation|Center|Clip|CommonReference|"
    "Decimate|DepthOrder|DetectAndInterpolateBadChannels|DetectAndRemoveArtifacts|"
    "DetectAndRemoveBadChannels|DirectionalDerivative|Filter|GaussianFilter|HighpassFilter|"
    "HighpassSpatialFilter|InterpolateBadChannels|InterpolateMotion|NormalizeByQuantile|"
    "NotchFilter|PhaseShift|Rectify|RemoveArtifacts|RemoveBadChannels|Resample|Scale|"
    "SilencedPeriods|TracePadded|UnsignedToSigned|Whiten|ZScore|ZeroChannelPadded"
)
_FORMATS = (
    "AlphaOmega|Axon|Axona|Binary|Biocam|Blackrock|Ced|EDF|Intan|IntanSplitFiles|MCSH5|MCSRaw|Mda|"
    "Neuralynx|NeuroExplorer|NeuroNexus|NeuroScope|Nix|OpenEphysBinary|OpenEphysLegacy|Plexon|"
    "SHYBRID|Spike2|SpikeGLX|SpikeGadgets|Tdt|WhiteMatter"
)
_PARTS = "AppendSegment|ConcatenateSegment|SelectSegment|SplitSegment|FrameSlice"
#: Classes that only compute, or read numbers from files: none of them unpickles or runs a file.
_KNOWN = re.compile(
    rf"({_PREPROCESSING})Recording|({_FORMATS})RecordingExtractor|({_PARTS})(Recording|Sorting)|"
    "(ChannelSlice|Mock|ChannelsAggregation|InjectTemplates|NoiseGenerator|Numpy)Recording|"
    "(UnitsSelection|UnitsAggregation|Numpy)Sorting|"
    "ScaleToPhysicalUnits|CompressedBinaryIblExtractor|NpzSortingExtractor|SortingGenerator"
)
#: Classes that read a folder in which arrays may be pickles; the folder is looked through too.
_OF_FOLDER = {
    *("BinaryFolderRecording", "NumpyFolderSorting", "NpzFolderSorting"),
    *("ZarrRecordingExtractor", "ZarrSortingExtractor"),
}
#: Classes that run ``params.py`` of a folder; harmless where it holds plain values.
_OF_PARAMS = {"PhySortingExtractor", "KiloSortSortingExtractor"}
_OF_FILE = {"NwbRecordingExtractor", "NwbTimeSeriesExtractor"}

#: Codecs of numcodecs and zarr that give numbers, text or JSON; all others are not trusted.
_CODECS = re.compile(
    "blosc|zstd|gzip|zlib|bz2|lzma|lz4|snappy|delta|fixedscaleoffset|quantize|bitround|packbits|"
    "shuffle|astype|base64|categorize|crc32c?|adler32|fletcher32|jenkins_lookup3|json2?|msgpack2|"
    "vlen-(utf8|bytes|array)|pcodec|zfpy|bytes|transpose|endian|sharding_indexed|wavpack|flac"
)


class UntrustedPart(NamedTuple):
    """A part of a saved analyzer that may run code when it is loaded.

    Attributes
    ----------
    path : str
        A file, or an array of a zarr folder, relative to the analyzer (``/`` between names).
    reason : str
        What it is: ``"is a pickle"``.
    attribute : bool
        It is the provenance in the attributes of a zarr group, not a file.
    """

    path: str
    reason: str
    attribute: bool = False


def has_kilosort_files(folder: Path) -> bool:
    """Return whether a folder is Kilosort's or phy's, whatever else is in it."""
    return all((folder / name).is_file() for name in _KILOSORT_FILES)


def untrusted_parts(folder: Path) -> list[UntrustedPart]:
    """Return the parts of a saved analyzer that may run code when it is loaded.

    Nothing is loaded: JSON, headers of arrays and zarr's metadata are read as data.

    Parameters
    ----------
    folder : Path
        A folder or zarr folder that SpikeInterface would load.

    Returns
    -------
    list of UntrustedPart
        By path. Empty: loading it reads data, and runs nothing that is not installed here.
    """
    parts = _of_zarr(folder) if folder.suffix == ".zarr" else _of_folder(folder)
    return sorted(set(parts))


def _of_folder(folder: Path) -> Iterator[UntrustedPart]:
    for path, name in _files(folder, _LOADED):
        lower = name.lower()  # as file systems that do not tell case apart find it
        inside = lower.split("/")[0] in _LOADED
        if lower in _PROVENANCE:
            reason = _why_not(_json_of(path), folder)
            if reason is not None:
                yield UntrustedPart(name, reason)
        elif lower in ("recording.pickle", "recording.pkl") or (
            inside and lower.endswith(_PICKLES)
        ):
            yield UntrustedPart(name, "is a pickle")
        elif _is_array(lower) and _holds_objects(path):
            yield UntrustedPart(name, "holds Python objects, which are a pickle")


def _is_array(name: str) -> bool:
    inside = name == "sparsity_mask.npy" or name.split("/")[0] in _LOADED
    return inside and name.endswith(".npy")


def _files(folder: Path, below: tuple[str, ...] = ()) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder and their names relative to it; links are followed.

    `below`: only these of its subfolders.
    """
    seen = set()
    for number, (here, folders, files) in enumerate(os.walk(folder, followlinks=True)):
        state = os.stat(here)
        if (state.st_dev, state.st_ino) in seen or number > _MAX_FOLDERS:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        if below and Path(here) == folder:
            folders[:] = [name for name in folders if name.lower() in below]
        for name in files:
            path = Path(here) / name
            yield path, path.relative_to(folder).as_posix()


def _holds_objects(path: Path) -> bool:
    """Return whether an array has to be unpickled, and is more than texts and numbers."""
    try:
        with path.open("rb") as file:
            if not read_npy_header(file)[1].hasobject:
                return False
            return not _is_plain(file.read(_MAX_JSON_BYTES))
    except Exception:  # numpy's reader raises whatever the bytes lead to: no array, or a pickle
        return True


def _is_plain(content: bytes) -> bool:
    """Return whether a pickle is what numpy writes for a list of texts and numbers, and no more.

    SpikeInterface saves such lists of labels so.
    """
    values = load_data(io.BytesIO(content))
    if not isinstance(values, np.ndarray) or values.dtype != object or values.ndim != 1:
        return False
    if not all(value is None or type(value) in (str, bool, int, float) for value in values):
        return False
    protocol = content[1] if content[:1] == pickle.PROTO else 0
    return _stream(content) == _stream(pickle.dumps(values, protocol))


def _stream(content: bytes) -> list[tuple[str, str]]:
    """Return the opcodes of a pickle as text, the same for all versions of numpy."""
    return [
        (code.name, repr(value).replace("numpy.core.", "numpy._core."))
        for code, value, _ in pickletools.genops(content)
        if code.name != "FRAME"
    ]


def _json_of(path: Path) -> Any:
    """Return the content of a JSON file as SpikeInterface reads it; the error where it cannot be.

    A file that cannot be read so is not trusted.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            return ValueError("is too large to be looked through")
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as fault:
        return fault


def _why_not(content: Any, base: Path) -> str | None:
    """Return why the description of a recording or sorting is not trusted; None where it is."""
    if isinstance(content, Exception):
        return f"cannot be read: {one_line(content)}"
    if not isinstance(content, Mapping) or content.get("object") not in (
        *(None, "Recording", "Sorting", "Recording|Sorting"),
    ):
        return "describes neither a recording nor a sorting"
    try:
        reasons = list(_reasons(content, base))
    except RecursionError:
        return "is nested too deep to be looked through"
    return reasons[0] if reasons else None  # what is inside is made first, also without a class


def _reasons(content: Any, base: Path) -> Iterator[str]:
    if isinstance(content, list | tuple):
        for one in content:
            yield from _reasons(one, base)
    elif isinstance(content, Mapping):
        if "class" in content or "module" in content:
            yield from _reasons_of_class(content.get("class"), content.get("kwargs"), base)
        for one in content.values():
            yield from _reasons(one, base)


def _reasons_of_class(name: Any, kwargs: Any, base: Path) -> Iterator[str]:
    found = _CLASS.fullmatch(name) if isinstance(name, str) else None
    kind = found[3] if found else ""
    if not (_KNOWN.fullmatch(kind) or kind in _OF_FOLDER | _OF_PARAMS | _OF_FILE):
        yield f"names {shortened(str(name), 80)}, which is no recording or sorting known here"
        return
    for key, value in (kwargs if isinstance(kwargs, Mapping) else {}).items():
        if "cache" in str(key) and value:  # neo's caches are pickles
            yield f"asks {kind} for {key}"
        elif isinstance(value, str) and "://" in value:
            yield f"names the address {shortened(value, 80)}"
        elif isinstance(value, str) and key in ("folder_path", "file_path"):
            for path in {base / value, Path(value)}:  # relative to the one or the other
                yield from _reasons_of_path(kind, path)


def _reasons_of_path(kind: str, path: Path) -> Iterator[str]:
    """Yield what is wrong with the folder that a class will read."""
    if kind in _OF_FILE and path.suffix == ".zarr":
        yield f"names {path}, a zarr folder that is not looked through"
    elif kind in _OF_PARAMS and not _is_plain_params(path):
        yield f"has SpikeInterface run {path / 'params.py'}, which does not hold plain values only"
    elif kind in _OF_FOLDER and path.is_dir():
        if kind.startswith("Zarr"):
            inside = list(_codec_parts(path))
        else:
            inside = [
                UntrustedPart(name, "holds Python objects")
                for file, name in _files(path)
                if name.endswith(_PICKLES) or (name.endswith(".npy") and _holds_objects(file))
            ]
        if inside:
            yield f"names {path}, where {inside[0].path} {inside[0].reason}"


def _is_plain_params(folder: Path) -> bool:
    """Return whether running ``params.py`` would only set values (or there is none to run)."""
    findings = Findings()
    read_params(folder, findings)
    if findings:
        return False
    try:
        tree = ast.parse((folder / "params.py").read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError, SyntaxError):
        return False
    return not any(isinstance(one, ast.AnnAssign) for one in tree.body)  # annotations are run


# zarr


def _of_zarr(folder: Path) -> Iterator[UntrustedPart]:
    parts = list(_codec_parts(folder))
    yield from parts
    not_data = {part.path for part in parts}
    for path, content in _attributes(folder):
        if isinstance(content, Exception):
            yield UntrustedPart(path, f"cannot be read: {one_line(content)}")
            continue
        if content.get("provenance"):  # None or {} where there is nothing to load
            reason = _why_not(content["provenance"], folder)
            if reason is not None:
                yield UntrustedPart(path, reason, attribute=True)
    for name in ("recording", "sorting_provenance"):
        if name not in not_data and (folder / name).is_dir():
            reason = _why_not(stored_object(folder / name), folder)
            if reason is not None:
                yield UntrustedPart(name, reason)


def _documents(folder: Path) -> Iterator[tuple[str, str, Any]]:
    """Yield group or array, name of the document, and content of all of zarr's metadata."""
    for path, name in _files(folder):
        place = str(PurePosixPath(name).parent)
        if path.name in (".zarray", ".zattrs", "zarr.json"):
            content = _metadata_of(path)
            yield place, path.name, content
            inline = content.get("consolidated_metadata") if isinstance(content, Mapping) else None
            listed = inline.get("metadata") if isinstance(inline, Mapping) else None
            for key, one in (listed if isinstance(listed, Mapping) else {}).items():
                yield str(PurePosixPath(place) / str(key)), "zarr.json", one
        elif path.name == ".zmetadata":
            content = _metadata_of(path)
            if isinstance(content, Exception):
                yield place, path.name, content
                continue
            listed = content.get("metadata") if isinstance(content, Mapping) else None
            for key, one in (listed if isinstance(listed, Mapping) else {}).items():
                inner = PurePosixPath(place) / str(key)
                yield str(inner.parent), inner.name, one


def _metadata_of(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            return ValueError("is too large to be looked through")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as fault:
        return fault


def _codec_parts(folder: Path) -> Iterator[UntrustedPart]:
    """Yield the arrays of a zarr folder whose codecs are not known to give data."""
    for place, document, content in _documents(folder):
        if document == ".zattrs":
            continue
        if isinstance(content, Exception):
            yield UntrustedPart(place, f"cannot be read: {one_line(content)}")
            continue
        foreign = sorted({name for name in _codec_names(content) if not _CODECS.fullmatch(name)})
        if foreign:
            yield UntrustedPart(
                place, "is a pickle" if "pickle" in foreign else f"has the codec {foreign[0]}"
            )


def _codec_names(content: Any) -> Iterator[str]:
    """Yield the names of all codecs of an array's metadata, those inside others too."""
    if not isinstance(content, Mapping):
        return
    waiting = [content.get(key) for key in ("compressor", "filters", "codecs", "object_codec")]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, str):
            yield one.removeprefix("numcodecs.").lower()
        elif isinstance(one, Mapping):
            name = one.get("id", one.get("name"))
            if name is not None:
                yield str(name).removeprefix("numcodecs.").lower()
            configuration = one.get("configuration")
            if isinstance(configuration, Mapping):
                waiting += [configuration.get(key) for key in ("codecs", "index_codecs")]


def _attributes(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of every group, from wherever zarr may take them."""
    for place, document, content in _documents(folder):
        if isinstance(content, Exception) or (
            document == ".zattrs" and isinstance(content, Mapping)
        ):
            yield place, content
        elif document == "zarr.json" and isinstance(content, Mapping):
            attributes = content.get("attributes")
            yield place, attributes if isinstance(attributes, Mapping) else {}


def stored_object(folder: Path) -> Any:
    """Return the dict of an array of zarr that holds one; its codecs were checked before."""
    import zarr

    try:
        return zarr.open(str(folder), mode="r")[0]
    except Exception as fault:  # zarr raises whatever the files lead to
        return fault
