"""What could run: pickles and code. Pickles are looked through by their opcodes, never loaded."""

from __future__ import annotations

import io
import pickletools
import re
from pathlib import Path

from si_curation.doctor.facts import FolderFacts
from si_curation.doctor.wording import first_of, listed, plural
from si_curation.phy.arrays import Findings, read_npy_header, shortened
from si_curation.reading.trust import untrusted_parts

_PICKLES = (".pkl", ".pickle", ".joblib", ".p")
_CODE = (".py", ".pyc", ".m", ".sh", ".bat", ".cmd", ".ps1", ".exe", ".ipynb", ".so", ".dll")
_MAX_BYTES = 200_000_000
_JOBLIB = "joblib.numpy_pickle.NumpyArrayWrapper"
_RECONSTRUCT = ("_reconstruct", "scalar")
#: What plain data are made of: to ask for anything else is to ask for code.
_PLAIN = {
    *(f"builtins.{name}" for name in ("set", "frozenset", "complex", "bytes", "bytearray")),
    *(f"__builtin__.{name}" for name in ("set", "frozenset", "complex", "bytes", "bytearray")),
    *("numpy.ndarray", "numpy.dtype", "collections.OrderedDict", "_codecs.encode"),
    *(f"numpy.{core}.multiarray.{n}" for core in ("core", "_core") for n in _RECONSTRUCT),
    *(f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")),
    *("phylib.utils._types.Bunch", _JOBLIB),  # phy's cache: dicts, and arrays in joblib's way
}
_NAME = re.compile(r"[\w.?]+( \d+)?")
#: ``module name`` as a pickle writes it: for GLOBAL, and for STACK_GLOBAL with texts before it.
_WRITTEN_GLOBAL = re.compile(
    rb"c([A-Za-z_][\w.]*)\n([A-Za-z_][\w.]*)\n"
    rb"|\x8c.([A-Za-z_][\w.]*)(?:\x94|q.)?\x8c.([A-Za-z_][\w.]*)(?:\x94|q.)?\x93",
    re.DOTALL,
)


def check_pickles(facts: FolderFacts, findings: Findings) -> None:
    """Check that pickles ask for nothing but data."""
    for path in _candidates(facts.folder):
        name = path.relative_to(facts.folder).as_posix()
        if name == "ops.npy" or facts.is_faulty(name) or not path.is_file():
            continue
        is_array = path.suffix == ".npy"
        if is_array and not _holds_objects(path):
            continue
        if path.stat().st_size > _MAX_BYTES:
            findings.info(
                name, "is a pickle too large to look through", "load it only if you trust it"
            )
            continue
        asked = foreign_globals(path, is_array)
        if asked is None:
            if is_array:
                findings.warning(
                    name,
                    "holds Python objects that cannot be read as a pickle",
                    "remove it, or write it again as numbers",
                )
            continue
        if asked:
            findings.warning(
                name,
                f"is a pickle that asks for {listed(shortened(a, 60) for a in asked)}: loading it "
                "runs code",
                "do not load it (np.load with allow_pickle, pickle, joblib; phy loads its cache) "
                "unless you know who wrote it; nothing of it was run here",
                asks_for=first_of(shortened(a) for a in asked),
            )
        elif is_array:
            findings.info(
                name,
                "holds Python objects (a pickle of plain data)",
                "np.load refuses it without allow_pickle; write it again as numbers",
            )


def check_code(facts: FolderFacts, findings: Findings) -> None:
    """Find files that are programs."""
    found = [
        name
        for name in facts.names
        if name.lower().endswith(_CODE) and name != "params.py" and not name.startswith(".")
    ]
    if found:
        findings.info(
            found[0],
            f"{plural(len(found), 'file')} in the folder that can be run: {listed(found)}",
            "nothing of it is run here; phy runs params.py alone",
            files=first_of(found),
        )


def check_saved_analyzer(facts: FolderFacts, findings: Findings) -> None:
    """Find what of a saved analyzer in the folder runs code when SpikeInterface loads it."""
    find_untrusted_parts(facts.folder, findings)


def find_untrusted_parts(folder: Path, findings: Findings) -> None:
    """Add a finding for each part of a saved analyzer that is not known to be data."""
    for part in untrusted_parts(folder):
        findings.error(
            part.path,
            f"{part.reason}: loading the folder as an analyzer can run code",
            "do not load it with SpikeInterface unless you trust whom it is from; the commands of "
            "this package leave it out without --trust",
        )


def _candidates(folder: Path) -> list[Path]:
    found = [p for p in folder.iterdir() if p.suffix in (*_PICKLES, ".npy")]
    cache = folder / ".phy"
    if cache.is_dir():
        found += [p for p in (*cache.glob("*"), *cache.glob("memcache/*")) if p.suffix in _PICKLES]
    return sorted(found)


def _holds_objects(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return read_npy_header(file)[1].hasobject
    except OSError:
        raise
    except Exception:  # no array: a finding of another check
        return False


def foreign_globals(path: Path, is_array: bool = False) -> list[str] | None:
    """Return what a pickle asks for apart from plain data, by its opcodes.

    Parameters
    ----------
    path : Path
    is_array : bool
        A ``.npy`` file of objects: the pickle comes after its header.

    Returns
    -------
    list of str or None
        ``module.name``; None where it is no pickle.

    Examples
    --------
    >>> import pickle, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.pkl"
    >>> _ = path.write_bytes(pickle.dumps([io.BytesIO]))
    >>> foreign_globals(path)
    ['_io.BytesIO']
    """
    content = io.BytesIO(path.read_bytes())
    if is_array:
        read_npy_header(content)
    asked, is_whole = _globals_of(content)
    # what cannot be the name of anything comes of bytes that are no pickle
    foreign = sorted(name for name in asked - _PLAIN if _NAME.fullmatch(name))
    return foreign if is_whole or foreign else None


def _globals_of(content: io.BytesIO) -> tuple[set[str], bool]:
    """Return all that a pickle looks up, and whether it could be followed to its end."""
    asked: set[str] = set()
    texts = ["?", "?"]  # pushed before a STACK_GLOBAL, which takes module and name from there
    memo: dict[int, str] = {}
    try:
        for opcode, argument, position in pickletools.genops(content):
            name = opcode.name
            if name == "BUILD" and _JOBLIB in asked:
                # the bytes of an array follow, and then the rest of the pickle
                rest = content.getvalue()[position or 0 :]
                found = [b".".join(filter(None, m)) for m in _WRITTEN_GLOBAL.findall(rest)]
                return asked | {name.decode("ascii", "replace") for name in found}, True
            if name in ("GLOBAL", "INST"):
                asked.add(str(argument).replace(" ", ".", 1))
            elif name == "STACK_GLOBAL":
                asked.add(".".join(texts[-2:]))
            elif name.startswith("EXT"):
                asked.add(f"extension {argument}")
            elif name == "MEMOIZE":
                memo[len(memo)] = texts[-1]
            elif name.endswith("PUT"):
                memo[int(argument or 0)] = texts[-1]
            elif name.endswith("GET"):
                texts.append(memo.get(int(argument or 0), "?"))
            elif "UNICODE" in name:
                texts.append(str(argument))
            elif opcode.stack_after:
                texts.append("?")
    except Exception:  # damaged bytes raise whatever they lead to
        return asked, False
    return asked, True
