"""What the lines of a journal and the history of a sorting have to hold.

Both come from files that anybody may have changed. pydantic is imported with this module, which is
imported where one of them is read.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, TypeAdapter
from pydantic import ValidationError as _ValidationError

from si_curation.errors import ParameterError

_MAX_SHOWN = 200
_Id = StrictInt | StrictStr
_Value = StrictBool | StrictInt | float | StrictStr | None


class _Parts(BaseModel):
    dtype: Literal["|u1", "<u1", "<u2", "<u4", "<u8"]
    size: Annotated[StrictInt, Field(ge=0)]
    zlib_base64: StrictStr


class _Step(BaseModel):
    model_config = ConfigDict(extra="allow")

    when: StrictStr
    operation: Literal["merge", "split", "clean", "label", "remove", "review", "undo", "redo"]
    inputs: list[_Id]
    outputs: list[_Id]
    reason: StrictStr
    decided_by: StrictStr
    field: StrictStr | None = None
    value: _Value = None
    parts: _Parts | None = None


class _Together(BaseModel):
    model_config = ConfigDict(extra="allow")

    operation: StrictStr
    steps: list[_Step]


class _Session(BaseModel):
    model_config = ConfigDict(extra="allow")

    unit_ids: list[_Id]
    steps: list[_Step]
    fields: list[StrictStr]
    labels: list[tuple[_Id, dict[str, _Value]]]


_ONE = TypeAdapter(_Step)
_SEVERAL = TypeAdapter(_Together)
_SESSIONS = TypeAdapter(list[_Session])


def check_entry(entry: Any, name: str) -> None:
    """Raise ParameterError unless a line of a journal is a step, or several together."""
    several = isinstance(entry, dict) and "steps" in entry
    _check(_SEVERAL if several else _ONE, entry, f"{name} is not a journal entry")


def check_sessions(sessions: Any, name: str) -> None:
    """Raise ParameterError unless the history of a sorting is a list of sessions."""
    _check(_SESSIONS, sessions, f"{name} is not that of sessions")


def _check(model: TypeAdapter, content: Any, fault: str) -> None:
    try:
        model.validate_python(content)
    except _ValidationError as found:
        first = found.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        given = _shown(first["input"])
        raise ParameterError(f"{fault} ({place or 'it'} is {given}: {first['msg']})") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."
