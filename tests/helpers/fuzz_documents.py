"""Damage of any kind to what a JSON or YAML document says, and to its text."""

from __future__ import annotations

import copy

from hypothesis import strategies as st

from helpers.fuzz_folders import MUTATIONS, mutate

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["", "good", "0", "-1", "..", "../a", "/", "nan", "a" * 3000, "=1+1", "\x1b[2J", "\u202e"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
CHANGES = st.one_of(
    st.tuples(st.just("set"), VALUES),
    st.tuples(st.just("remove"), st.none()),
    st.tuples(st.just("rename"), st.text(max_size=6)),
    st.tuples(st.just("add"), st.tuples(st.text(max_size=6), VALUES)),
    st.tuples(st.just("repeat"), st.integers(2, 300)),
    st.tuples(st.just("nest"), st.integers(1, 80)),
    st.tuples(st.just("swap"), st.integers(0, 1000)),
)
#: Where, and what, is changed in the content of a document.
CONTENT_CHANGES = st.lists(st.tuples(st.integers(0, 1000), CHANGES), min_size=1, max_size=3)
#: What is changed in its bytes.
BYTE_CHANGES = MUTATIONS.filter(lambda one: one[0] not in ("absent", "array", "reshape"))


def places(content, path=()):
    """Return the paths to everything inside a document."""
    keys = (
        list(content)
        if isinstance(content, dict)
        else range(len(content))
        if isinstance(content, list)
        else ()
    )
    found = []
    for key in keys:
        found += [(*path, key), *places(content[key], (*path, key))]
    return found


def inside(content, path):
    for key in path:
        content = content[key]
    return content


def changed(content, changes):
    """Give another document, with changes at places that are counted from the start."""
    content = copy.deepcopy(content)
    for number, (kind, how) in changes:
        known = places(content)
        if not known:
            return content
        *path, key = known[number % len(known)]
        parent = inside(content, path)
        value = parent[key]
        if kind == "remove":
            del parent[key]
        elif kind == "rename" and isinstance(parent, dict):
            parent[how] = parent.pop(key)
        elif kind == "add" and isinstance(value, dict):
            value[how[0]] = how[1]
        elif kind == "repeat":
            parent[key] = [value] * how
        elif kind == "nest":
            for _ in range(how):
                value = [value]
            parent[key] = value
        elif kind == "swap":
            parent[key] = copy.deepcopy(inside(content, known[how % len(known)]))
        elif kind == "set":
            parent[key] = how
    return content


def changed_bytes(content, change):
    return mutate(content, *change) or b""
