"""Relations of units and the consensus, by sets of spikes."""

from __future__ import annotations


def units_of(partition):
    """{unit: set of its spikes}, without spikes that were removed (-1)."""
    out = {}
    for spike, unit in enumerate(partition):
        if unit >= 0:
            out.setdefault(int(unit), set()).add(spike)
    return out


def relation_of(unit, own, other, start):
    """How the spikes of a unit are in another curation."""
    mine, theirs, begun = units_of(own), units_of(other), units_of(start)
    spikes = mine[unit]
    there = [one for one in theirs.values() if one & spikes]
    if not there:
        return "removed"
    if spikes in there:
        return "same"
    if len(there) > 1 and set().union(*there) == spikes:
        return larger(spikes, there, begun, "merged", "not_split")
    if len(there) == 1 and spikes < there[0]:
        parts = [one for one in mine.values() if one & there[0]]
        if set().union(*parts) == there[0]:
            return larger(there[0], parts, begun, "not_merged", "split")
    return "regrouped"


def larger(whole, parts, begun, joined, cut):
    its = [one & whole for one in begun.values() if one & whole]
    if all(any(one <= part for part in parts) for one in its):
        return joined
    return cut if len(its) == 1 else "regrouped"


def consensus_of(curations, start):
    """The sets of spikes that are units of the consensus."""
    pieces = []
    for spikes in units_of(start).values():
        its = []
        for spike in spikes:  # together with those that any curation has together with it
            close = {spike}
            for one in curations:
                close |= {i for i in spikes if one[i] == one[spike]}
            joined = [piece for piece in its if piece & close]
            its = [piece for piece in its if not piece & close] + [close.union(*joined)]
        pieces += its
    made = []
    while pieces:
        piece = pieces.pop()
        for other in made:
            if all(is_in_one_unit(piece | other, one) for one in curations):
                other |= piece
                break
        else:
            made.append(set(piece))
    return {frozenset(one) for one in made}


def is_in_one_unit(spikes, curation):
    units = {int(curation[spike]) for spike in spikes}
    return len(units) == 1 and -1 not in units
