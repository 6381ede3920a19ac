"""To and from SpikeInterface's curation format (version 2)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from si_curation.checks import local_path
from si_curation.curation.journal import unpack_parts
from si_curation.documents import describe_problems, parse_document, read_document
from si_curation.errors import ParameterError
from si_curation.phy.arrays import one_line
from si_curation.phy.tables import GROUPS

Curation = Any  # a dict, a list of dicts, a path, or a model of spikeinterface.curation


_SORTINGVIEW = frozenset({"labelsByUnit", "mergeGroups"})
_KEYS = frozenset(
    {
        "manual_labels",
        "merges",
        "merge_unit_groups",
        "removed",
        "removed_units",
        "splits",
        "unit_ids",
        "discard_spikes",
    }
)


#: phy's groups as spikeinterface-gui calls them, which has keys for exactly these.
QUALITY_LABELS = {"good": "good", "noise": "noise", "mua": "MUA"}
#: False: the labels of a curation are those that units had, and no decisions.
DECIDED = "labels_decided"


def quality_definition() -> dict[str, Any]:
    """Return the definition of phy's groups, as spikeinterface-gui has it by default."""
    options = list(QUALITY_LABELS.values())
    return {"name": "quality", "label_options": options, "exclusive": True}


def quality_labels(unit_ids: Sequence[Any], groups: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return the entries of ``manual_labels`` of phy's groups; units without one have none.

    Examples
    --------
    >>> quality_labels([5, 8], ["unsorted", "mua"])
    [{'unit_id': 8, 'labels': {'quality': ['MUA']}}]
    """
    named = zip(unit_ids, groups or [], strict=groups is not None)
    known = [(i, QUALITY_LABELS.get(str(group).lower())) for i, group in named]
    return [{"unit_id": i, "labels": {"quality": [label]}} for i, label in known if label]


def with_labels_found(curation: Mapping[str, Any], groups: Sequence[str] | None) -> dict[str, Any]:
    """Return a curation with the groups that its units have, for programs that show them.

    `read_curation` does not read them: labels that were not decided change none.
    """
    return {
        **curation,
        "label_definitions": {"quality": quality_definition()},
        "manual_labels": quality_labels(curation["unit_ids"], groups),
        DECIDED: False,
    }


class Curated(Protocol):
    """What a curation is applied to: the operations of `CurationSession`."""

    @property
    def unit_ids(self) -> list[Any]:
        """Ids of the units now."""

    def was_used(self, unit_id: Any) -> bool:
        """Return whether a unit of this id exists or ever did."""

    @property
    def label(self) -> Callable[..., None]:
        """Labels units."""

    @property
    def remove(self) -> Callable[..., None]:
        """Removes units."""

    @property
    def merge(self) -> Callable[..., Any]:
        """Merges units and returns the id of the new one."""

    @property
    def clean(self) -> Callable[..., list[Any]]:
        """Takes spikes out of a unit and returns the ids of both parts."""

    def get_spikes(self, unit_id: Any) -> NDArray[np.int64]:
        """Return the positions of the spikes of a unit."""

    @property
    def split(self) -> Callable[..., list[Any]]:
        """Splits a unit and returns the ids of its parts."""


_SI_NAME = {"group": "quality"}
_OUR_NAME = {"quality": "group"}


def make_curation_model(
    unit_ids: list[Any],
    steps: Sequence[tuple[Mapping[str, Any], Mapping, Mapping]],
    labels: Mapping[Any, Mapping[str, Any]],
    fields: Sequence[str],
) -> Any:
    """Make SpikeInterface's model of the steps of a session.

    Parameters
    ----------
    unit_ids : list
        Units that the session began with.
    steps : sequence of (entry, units before, units after)
    labels : mapping of unit id to mapping of field to label
        Of the units at the end.
    fields : sequence of str

    Returns
    -------
    spikeinterface.curation.curation_model.SequentialCuration
    """
    from spikeinterface.curation.curation_model import SequentialCuration

    curations = []
    ids = list(unit_ids)
    for entry, before, after in steps:
        inputs, outputs = entry["inputs"], entry["outputs"]
        one: dict[str, Any] = {"format_version": "2", "unit_ids": list(ids)}
        if entry["operation"] == "merge":
            one["merges"] = [{"unit_ids": inputs, "new_unit_id": outputs[0]}]
        elif entry["operation"] in ("split", "clean"):
            parts = unpack_parts(entry["parts"])
            indices = [np.flatnonzero(parts == i).tolist() for i in range(len(outputs))]
            one["splits"] = [
                {
                    "unit_id": inputs[0],
                    "mode": "indices",
                    "indices": indices,
                    "new_unit_ids": outputs,
                }
            ]
        elif entry["operation"] == "remove":
            one["removed"] = inputs
        else:
            continue
        ids = [i for i in ids if i not in before] + list(after)
        curations.append(one)
    curations.append(_labels_step(labels, fields))
    return SequentialCuration(curation_steps=curations)


def _labels_step(labels: Mapping[Any, Mapping[str, Any]], fields: Sequence[str]) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    manual: dict[Any, dict[str, list[str]]] = {unit_id: {} for unit_id in labels}
    for field in fields:
        values = {i: own.get(field) for i, own in labels.items()}
        if field == "group":
            # SpikeInterface overwrites units without a label by an empty text
            values = {i: value or "unsorted" for i, value in values.items()}
        texts = {i: str(value) for i, value in values.items() if value is not None}
        options = sorted(set(texts.values()) | set(GROUPS if field == "group" else ()))
        if len(options) < 2:  # the format wants two at least
            options += [f"not {options[0]}"] if options else ["yes", "no"]
        name = _SI_NAME.get(field, field)
        definitions[name] = {"label_options": options, "exclusive": True}
        for i, text in texts.items():
            manual[i][name] = [text]
    return {
        "format_version": "2",
        "unit_ids": list(labels),
        "label_definitions": definitions,
        "manual_labels": [{"unit_id": i, "labels": own} for i, own in manual.items() if own],
    }


def apply_curation_model(
    session: Curated,
    curation: Curation,
    why: dict[str, str],
    label_now: Callable[[Any, str], Any] | None = None,
) -> dict[Any, Any]:
    """Do the steps of a curation in a session; see `apply_spikeinterface_curation`.

    Parameters
    ----------
    session : Curated
    curation : dict, list, str, Path or a model
    why : dict of str
        ``reason`` and ``decided_by`` of each step.
    label_now : callable, optional
        The label that a unit has, by its id and the field; what it has already is no step then.
    """
    renamed: dict[Any, Any] = {}
    discarded: set[Any] = set()  # units of discarded spikes, which the curation does not know
    for one in read_curation(curation, session.unit_ids):
        expected = {renamed.get(i, i) for i in one.unit_ids}
        here = set(session.unit_ids) - discarded
        if expected != here:
            missing = sorted(map(str, expected - here))
            extra = sorted(map(str, here - expected))
            raise ParameterError(
                "the curation is of other units"
                + (f"; not here: {', '.join(missing)}" if missing else "")
                + (f"; not in it: {', '.join(extra)}" if extra else "")
            )
        kept = _discard(session, one, renamed, discarded, why)
        _label_units(session, one, renamed, why, label_now)
        _change_units(session, one, renamed, kept, why)
    return renamed


def _discard(
    session: Curated,
    one: Any,
    renamed: dict[Any, Any],
    discarded: set[Any],
    why: dict[str, str],
) -> dict[Any, NDArray[np.int64]]:
    """Take the discarded spikes out of their units; return the places of those that stay."""
    kept = {}
    for entry in getattr(one, "discard_spikes", []):
        unit_id = renamed.get(entry.unit_id, entry.unit_id)
        mask = np.zeros(session.get_spikes(unit_id).size, dtype=bool)
        indices = np.asarray(entry.indices, dtype=np.int64)
        if indices.size == 0:
            continue
        if indices.min() < 0 or indices.max() >= mask.size:
            raise ParameterError(
                f"discard_spikes of unit {unit_id} has indices outside 0 to {mask.size - 1}"
            )
        mask[indices] = True
        if mask.all():  # nothing would stay: the unit is what SpikeInterface removes
            session.label([unit_id], "noise", "group", **why)
            discarded.add(unit_id)
            continue
        stays, gone = session.clean(unit_id, mask, **why)
        renamed[entry.unit_id] = stays
        discarded.add(gone)
        kept[entry.unit_id] = np.flatnonzero(~mask)
    return kept


def _label_units(
    session: Curated,
    one: Any,
    renamed: dict[Any, Any],
    why: dict[str, str],
    label_now: Callable[[Any, str], Any] | None,
) -> None:
    for label in one.manual_labels:
        unit_id = renamed.get(label.unit_id, label.unit_id)
        given = label.labels or _taken_away(one.label_definitions)
        for name, values in given.items():
            for field, value in _fields_of(one.label_definitions[name], name, values):
                if label_now is None or label_now(unit_id, field) != value:
                    session.label([unit_id], value, field, **why)


def _change_units(
    session: Curated,
    one: Any,
    renamed: dict[Any, Any],
    kept: Mapping[Any, NDArray[np.int64]],
    why: dict[str, str],
) -> None:
    if one.removed:
        session.remove([renamed.get(i, i) for i in one.removed], **why)
    for merge in one.merges:
        ids = [renamed.get(i, i) for i in merge.unit_ids]
        wanted = _free(session, [merge.new_unit_id])
        output = session.merge(ids, new_unit_id=wanted and wanted[0], **why)
        _note_renamed(renamed, [merge.new_unit_id], [output])
    for split in one.splits:
        parts = split.labels if split.mode == "labels" else split.indices
        if split.unit_id in kept:
            parts = _parts_of_kept(split.mode, parts, kept[split.unit_id])
        outputs = session.split(
            renamed.get(split.unit_id, split.unit_id),
            parts,
            new_unit_ids=_free(session, split.new_unit_ids or [None]),
            **why,
        )
        _note_renamed(renamed, split.new_unit_ids or [], outputs)


def _parts_of_kept(mode: str, parts: Any, kept: NDArray[np.int64]) -> list[Any]:
    """Return the parts of a split without the spikes that were discarded."""
    if mode == "labels":
        return [parts[i] for i in kept.tolist()]
    place = {spike: i for i, spike in enumerate(kept.tolist())}
    return [[place[i] for i in part if i in place] for part in parts]


def _taken_away(definitions: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the labels of an entry without any, by which spikeinterface-gui removes a label."""
    return {name: ["unsorted"] for name in definitions if _OUR_NAME.get(name) == "group"}


def _free(session: Curated, wanted: list[Any]) -> list[Any] | None:
    """Return the ids that are wanted if none was used before; None: take new ones."""
    return None if any(i is None or session.was_used(i) for i in wanted) else wanted


def _note_renamed(renamed: dict[Any, Any], wanted: list[Any], outputs: list[Any]) -> None:
    for i, output in zip(wanted, outputs, strict=False):
        if i is not None and i != output:
            renamed[i] = output


def _fields_of(definition: Any, name: str, values: list[str]) -> list[tuple[str, Any]]:
    # SpikeInterface writes an empty text for units that a step did not label: that says nothing
    values = [value for value in values if value.strip()]
    if definition.exclusive:
        field = _OUR_NAME.get(name, name)
        # SpikeInterface's examples write "MUA"
        is_group = field == "group" and bool(values) and values[0].lower() in GROUPS
        return [(field, values[0].lower() if is_group else values[0])] if values else []
    return [(value, True) for value in values]  # as SpikeInterface: one column per option


def _plain_curation(given: Any, unit_ids: Sequence[Any]) -> Any:
    """Return one curation of a file in version 2, with ids of the type of the units here.

    Programs leave out the version and the units (AIND), write ids as text (JSON's keys are), or
    write sortingview's format, which figpack wraps.
    """
    if not isinstance(given, Mapping):
        return given
    one = dict(given)
    wrapped = one.get("annotations")
    if isinstance(wrapped, Mapping) and isinstance(wrapped.get("/"), Mapping):
        text = wrapped["/"].get("sorting_curation") or "{}"
        one = dict(parse_document(text, "sorting_curation"))
    version = str(one.get("format_version", "0" if _SORTINGVIEW & one.keys() else "2"))
    if version not in ("0", "1", "2", "3") or not (_KEYS | _SORTINGVIEW) & one.keys():
        raise ParameterError(
            f"not a SpikeInterface curation: format_version {version!r} with the keys "
            f"{', '.join(map(str, list(one)[:10])) or '(none)'}; expected format_version 0 "
            f"(sortingview: {', '.join(sorted(_SORTINGVIEW))}), 1, 2 or 3 (some of "
            f"{', '.join(sorted(_KEYS))})"
        )
    if version == "0":
        one = _from_sortingview(one)
    if one.get(DECIDED) is False:
        one["manual_labels"] = []
    one.setdefault("unit_ids", list(unit_ids) or _units_named_in(one))
    one["format_version"] = "2"
    if one.get("merge_unit_groups") is not None:  # of version 1
        groups = one["merge_unit_groups"]
        names = one.get("merge_new_unit_ids") or [None] * len(groups)
        pairs = zip(groups, names, strict=True)
        one["merges"] = [{"unit_ids": list(g), "new_unit_id": new} for g, new in pairs]
    if one.get("removed_units") is not None:
        one["removed"] = list(one["removed_units"])
    return _with_ids_of_one_type(one, unit_ids or one["unit_ids"])


def _units_named_in(one: Mapping[str, Any]) -> list[Any]:
    """Return the units that the labels and merges of a curation name, each once."""
    merges = one.get("merges") or one.get("merge_unit_groups") or []
    groups = merges.values() if isinstance(merges, Mapping) else merges
    named = [label["unit_id"] for label in one.get("manual_labels") or []]
    named += [i for g in groups for i in (g["unit_ids"] if isinstance(g, Mapping) else g)]
    return list(dict.fromkeys(named))


def _from_sortingview(one: Mapping[str, Any]) -> dict[str, Any]:
    labels = {i: list(own) for i, own in (one.get("labelsByUnit") or {}).items() if own}
    options = sorted({label for own in labels.values() for label in own})
    options += [f"not {option}" for option in options[:1]] if len(options) == 1 else []
    definition = {"label_options": options or ["yes", "no"], "exclusive": False}
    new: dict[str, Any] = {
        "label_definitions": {"all_labels": definition},
        "manual_labels": [{"unit_id": i, "all_labels": own} for i, own in labels.items()],
        "merges": [{"unit_ids": list(group)} for group in one.get("mergeGroups") or []],
    }
    return new if one.get("unit_ids") is None else {**new, "unit_ids": one["unit_ids"]}


def _with_ids_of_one_type(one: dict[str, Any], unit_ids: Sequence[Any]) -> dict[str, Any]:
    """Return a curation with ids that are whole numbers, or text, as the units here are."""
    are_integers = all(isinstance(i, int) for i in unit_ids)

    def of_type(unit_id: Any) -> Any:
        if are_integers and isinstance(unit_id, str) and unit_id.strip().isdecimal():
            return int(unit_id)
        if are_integers or not isinstance(unit_id, int) or isinstance(unit_id, bool):
            return unit_id
        return str(unit_id)

    def changed(entry: Any) -> Any:
        if not isinstance(entry, Mapping):
            return [of_type(i) for i in entry] if isinstance(entry, list | tuple) else entry
        new = dict(entry)
        for key in ("unit_id", "new_unit_id"):
            if key in new:
                new[key] = of_type(new[key])
        for key in ("unit_ids", "new_unit_ids"):
            if new.get(key) is not None:
                new[key] = [of_type(i) for i in new[key]]
        return new

    one = dict(one)
    merges, splits = one.get("merges"), one.get("splits")
    if isinstance(merges, Mapping):  # {new id: units}
        one["merges"] = [{"unit_ids": g, "new_unit_id": new} for new, g in merges.items()]
    if isinstance(splits, Mapping):  # {unit: parts}
        one["splits"] = {of_type(i): parts for i, parts in splits.items()}
    for key in ("merges", "splits", "manual_labels", "discard_spikes"):
        if isinstance(one.get(key), list | tuple):
            one[key] = [changed(entry) for entry in one[key]]
    for key in ("unit_ids", "removed"):
        if one.get(key) is not None:
            one[key] = [of_type(i) for i in one[key]]
    return one


def read_given(curation: Curation) -> Curation:
    """Return what a file of a curation holds; anything but a path as it is.

    Raises
    ------
    FolderNotFoundError, ParameterError
        There is no such file, or it cannot be read.
    """
    if not isinstance(curation, str | Path):
        return curation
    path = local_path(curation, "curation")
    return read_document(path, expected="a curation file", suffix=".json")


def read_curation(curation: Curation, unit_ids: Sequence[Any] = ()) -> list[Any]:
    """Read a SpikeInterface curation, whatever it is given as and whichever program wrote it.

    Parameters
    ----------
    curation : dict, list, str, Path or a model
    unit_ids : sequence
        Of the units that it is for: where the file does not list them, and for the type of ids.

    Returns
    -------
    list of spikeinterface.curation.curation_model.Curation
        Its steps.

    Raises
    ------
    FolderNotFoundError, ParameterError
        There is no such file, or it is no curation.
    """
    from pydantic import ValidationError
    from spikeinterface.curation.curation_model import Curation as Model
    from spikeinterface.curation.curation_model import SequentialCuration

    curation = read_given(curation)
    try:
        if isinstance(curation, Mapping) and "curation_steps" in curation:
            steps = [_plain_curation(one, unit_ids) for one in curation["curation_steps"]]
            curation = SequentialCuration(**{**curation, "curation_steps": steps})
        if isinstance(curation, SequentialCuration):
            return list(curation.curation_steps)
        entries = curation if isinstance(curation, list | tuple) else [curation]
        with contextlib.redirect_stdout(io.StringIO()):  # converting old versions prints
            plain = [_plain_curation(entry, unit_ids) for entry in entries]
            return [one if isinstance(one, Model) else _as_model(one, Model) for one in plain]
    except ParameterError:
        raise
    except ValidationError as fault:
        raise ParameterError(
            f"not a SpikeInterface curation: {describe_problems(fault, 'it')}"
        ) from None
    except (TypeError, KeyError, ValueError, AttributeError) as fault:
        raise ParameterError(f"not a SpikeInterface curation: {one_line(fault)}") from None


def _as_model(one: dict[str, Any], model: Any) -> Any:
    """Return a curation as SpikeInterface's model, with ``discard_spikes`` where it has some."""
    if not one.get("discard_spikes"):
        return model(**{key: value for key, value in one.items() if key != "discard_spikes"})
    from pydantic import BaseModel, StrictInt, StrictStr, create_model

    entry = create_model(
        "DiscardedSpikes",
        __base__=BaseModel,
        unit_id=(StrictInt | StrictStr, ...),
        indices=(list[StrictInt], ...),
    )
    with_discards = create_model(
        "CurationWithDiscards",
        __base__=model,
        discard_spikes=(list[entry], ...),  # type: ignore[valid-type]
    )
    return with_discards(**one)
