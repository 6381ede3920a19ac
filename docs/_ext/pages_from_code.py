"""Pages that are made from the package at every build.

``api/``: the public names by group. ``numbers/``: what every column of the tables means.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import si_curation as sic
from si_curation.evidence.suggestions import Suggestions
from si_curation.variables import REASONS, TABLES, Table


class Group(NamedTuple):
    """Public names that belong together."""

    title: str
    text: str
    names: tuple[str, ...]


GROUPS: dict[str, Group] = {
    "reading": Group(
        "Reading and checking folders",
        "From a folder of Kilosort or phy to arrays, or to a `SortingAnalyzer`.",
        (
            "read_kilosort_as_analyzer",
            "attach_kilosort_folder",
            "compare_templates",
            "read_phy_folder",
            "PhyFolder",
            "check_phy_folder",
            "Finding",
            "example_folder",
            "simulate_kilosort_folder",
            "SimulatedFolder",
        ),
    ),
    "extensions": Group(
        "Extensions",
        "`analyzer.compute(name)` or the function; `analyzer.get_extension(name)` for the class.",
        (
            "compute_template_assignment",
            "TemplateAssignment",
            "compute_template_best_channels",
            "TemplateBestChannels",
            "compute_template_features",
            "TemplateFeatures",
            "compute_unit_similarity",
            "UnitSimilarity",
            "compute_cross_correlograms",
            "CrossCorrelograms",
            "compute_spike_waveforms",
            "SpikeWaveforms",
            "get_spike_waveforms",
            "Waveforms",
            "get_waveform_sets",
            "WaveformSets",
            "spikes_in_windows",
            "get_spike_features",
            "get_spike_amplitudes",
            "SpikeAmplitudes",
            "get_amplitude_scale",
            "AmplitudeScale",
        ),
    ),
    "curation": Group(
        "Curation",
        "Merge, split, label, undo; lineage of the units; suggested and bad merges.",
        (
            "CurationSession",
            "split_by_session",
            "session_borders",
            "set_session_borders",
            "SessionBorders",
            "reconstruct_lineage",
            "compare_curations",
            "CurationComparison",
            "replay_curation",
            "CurationReplay",
            "reconstruct_journal",
            "ReconstructedJournal",
            "suggest_merges",
            "MergeSuggestions",
            "find_bad_merges",
            "find_duplicate_units",
            "DuplicateUnits",
            "suggest_splits",
            "SplitSuggestions",
            "plan_curation",
            "CurationPlan",
            "PlanStep",
            "benchmark_suggestions",
            "SuggestionBenchmark",
            "calibrate_suggestions",
            "write_phy_proposals",
            "PhyProposals",
            "read_phy_reviews",
            "PhyReviews",
            "outcomes_of_reviews",
            "suggest_cleaning",
            "CleaningSuggestions",
            "cleaned_units",
            "Calibration",
            "label_sources",
            "label_units",
            "UnitLabels",
            "LabelRule",
            "RuleSet",
            "read_label_rules",
            "LABEL_PRESETS",
            "learn_labels",
            "LabelModel",
            "LearntLabels",
            "LabelReport",
            "label_by_spikeinterface_model",
            "SpikeInterfaceLabels",
            "suggest_thresholds",
            "ThresholdSuggestions",
        ),
    ),
    "metrics": Group(
        "Metrics and results",
        "Quality of units, connections, and whether a result holds under stricter quality.",
        (
            "observed_periods",
            "set_observed_periods",
            "ObservedPeriods",
            "compute_curation_metrics",
            "CurationMetrics",
            "compute_metrics_in_windows",
            "METRIC_DESCRIPTIONS",
            "contamination_panel",
            "CONTAMINATION_DESCRIPTIONS",
            "COMPARABLE_CONTAMINATION_COLUMNS",
            "classify_units",
            "UnitClasses",
            "find_monosynaptic_connections",
            "MONOSYNAPTIC_DESCRIPTIONS",
            "effect_vs_quality",
            "EffectVsQuality",
        ),
    ),
    "exports": Group(
        "Exports",
        "To phy, to NWB, to UnitMatch, to an HTML page, to a graphical interface.",
        (
            "export_to_phy",
            "prepare_for_phy",
            "update_phy_folder",
            "write_phy_columns",
            "restore_phy_folder",
            "export_to_nwb",
            "add_units_to_nwbfile",
            "export_to_unitmatch",
            "export_label_report",
            "export_report",
            "open_gui",
        ),
    ),
    "views": Group(
        "Views",
        "Figures in matplotlib, with their data. Every `plot_*` is listed here.",
        ("plot_*",),
    ),
    "batch": Group(
        "Many sessions",
        "One recipe for many sessions.",
        (
            "run_batch",
            "BatchResult",
            "check_batch",
            "BatchCheck",
            "Recipe",
            "read_recipe",
            "example_recipe",
        ),
    ),
    "installation": Group(
        "Installation",
        "The kernels, compiled before they are needed.",
        ("warmup", "Warmup"),
    ),
    "errors": Group(
        "Errors",
        "Each is a `SiCurationError`, and also the builtin error of its kind.",
        (
            "SiCurationError",
            "ParameterError",
            "UnknownIdError",
            "PhyFolderError",
            "FolderNotFoundError",
            "MissingDataError",
            "OutputExistsError",
            "InUseError",
            "NwbExportError",
            "SiCurationWarning",
        ),
    ),
}
CONSTANTS = {
    "METRIC_DESCRIPTIONS": "What every column of `curation_metrics` is: :doc:`../numbers/metrics`.",
    "CONTAMINATION_DESCRIPTIONS": "What every column of `contamination_panel` is: "
    ":doc:`../numbers/contamination`.",
    "MONOSYNAPTIC_DESCRIPTIONS": "What every column of `find_monosynaptic_connections` is: "
    ":doc:`../numbers/connections`.",
    "COMPARABLE_CONTAMINATION_COLUMNS": "Columns of `contamination_panel` that estimate the same "
    "quantity, the contaminated share of the spikes, and may be compared.",
    "LABEL_PRESETS": "The rule sets that are built in: :doc:`../numbers/labels`.",
}


def names_of(group: Group) -> list[str]:
    """Return the names of a group that the package has; ``prefix_*`` stands for all of them."""
    names: list[str] = []
    for name in group.names:
        if name.endswith("*"):
            names += [one for one in sic.__all__ if one.startswith(name[:-1])]
        elif name in sic.__all__:
            names.append(name)
    return names


def api_page(group: Group) -> str:
    """Return the page of a group as reStructuredText."""
    names = names_of(group)
    text = group.text.replace("`", "``")
    lines = [group.title, "=" * len(group.title), "", text, ""]
    described = [name for name in names if name not in CONSTANTS]
    lines += [".. currentmodule:: si_curation", "", ".. autosummary::", ""]
    lines += [f"   {name}" for name in described] + [""]
    for name in names:
        lines += [name, "-" * len(name), ""]
        value = getattr(sic, name)
        if name in CONSTANTS:
            lines += [f".. py:data:: {name}", "", f"   {_roles(CONSTANTS[name])}", ""]
        elif inspect.isclass(value):
            lines += [f".. autoclass:: {name}", *_members(value), ""]
        else:
            lines += [f".. autofunction:: {name}", ""]
    return "\n".join(lines)


def _roles(text: str) -> str:
    pieces = text.split("`")
    return "".join(
        f"`{piece}`" if odd and before.endswith(":") else f"``{piece}``" if odd else piece
        for odd, before, piece in zip(
            (i % 2 for i in range(len(pieces))), ["", *pieces], pieces, strict=False
        )
    )


def _members(value: type) -> list[str]:
    if issubclass(value, tuple):  # the docstring has the fields
        return ["   :no-members:"]
    if issubclass(value, Suggestions):  # what all of them have is described with each
        return ["   :inherited-members: object"]
    return []


class TablePage(NamedTuple):
    """Tables whose columns are described on one page."""

    title: str
    text: str
    tables: tuple[str, ...]


TABLE_PAGES: dict[str, TablePage] = {
    "metrics": TablePage(
        "Quality metrics",
        "The columns of `curation_metrics`. A value that is missing has a reason: "
        '`analyzer.get_extension("curation_metrics").get_data(reasons=True)`.',
        ("curation_metrics", "metrics in windows"),
    ),
    "contamination": TablePage(
        "Contamination",
        "The columns of `contamination_panel`.",
        ("contamination",),
    ),
    "merges": TablePage(
        "Evidence for merges",
        "The columns of `suggest_merges(...).table`, of `find_bad_merges`, of "
        "`find_duplicate_units(...).table`, and of `read_phy_reviews(...).table`.",
        ("suggest_merges", "find_bad_merges", "find_duplicate_units", "reviews of phy"),
    ),
    "benchmark": TablePage(
        "How far to trust suggestions",
        "The columns of `benchmark_suggestions`, of its `by_change` and of its `outcomes`; and "
        "those that a `Calibration` adds to a table of suggestions.",
        (
            "benchmark_suggestions",
            "benchmark_suggestions by change",
            "outcomes of suggestions",
            "Calibration",
        ),
    ),
    "splits": TablePage(
        "Evidence for splits",
        "The columns of `suggest_splits(...).table`.",
        ("suggest_splits",),
    ),
    "plan": TablePage(
        "Plan of a curation",
        "The columns of `plan_curation(...).table` and of its `postponed`.",
        ("plan_curation",),
    ),
    "agreement": TablePage(
        "Curations compared",
        "The columns of `compare_curations(...).units`, of its `disputed` and of its `agreement`.",
        ("compare_curations", "disputed units", "agreement of curations"),
    ),
    "replay": TablePage(
        "Curation carried over",
        "The columns of `replay_curation(...).steps` and of its `units`.",
        ("replay_curation", "units of a replay"),
    ),
    "cleaning": TablePage(
        "Cleaning of units",
        "The columns of `suggest_cleaning(...).table`.",
        ("suggest_cleaning",),
    ),
    "connections": TablePage(
        "Monosynaptic connections",
        "The columns of `find_monosynaptic_connections`.",
        ("find_monosynaptic_connections",),
    ),
    "units": TablePage(
        "Units and templates",
        "The columns of the tables of the extensions, of the report, and of the history.",
        (
            "units",
            "template_assignment",
            "template_best_channels",
            "compare_templates",
            "unit_similarity",
            "get_spike_amplitudes",
            "lineage",
            "history",
            "label sources",
            "reconstruct_journal",
            "label_units",
            "classify_units",
        ),
    ),
    "learnt_labels": TablePage(
        "Labels that are learnt",
        "The columns of `LearntLabels`, `LabelReport`, `SpikeInterfaceLabels` and "
        "`ThresholdSuggestions`.",
        (
            "learnt labels",
            "labels of a model of SpikeInterface",
            "learnt labels summary",
            "learnt labels sessions",
            "learnt labels reliability",
            "learnt labels coverage",
            "learnt labels disagreements",
            "learnt labels curve",
            "suggest_thresholds",
        ),
    ),
    "effect": TablePage(
        "Effect against quality",
        "The columns of the tables of `effect_vs_quality`.",
        ("effect_vs_quality summary", "effect_vs_quality thresholds"),
    ),
    "batch": TablePage(
        "Tables of a batch",
        "The columns of `sessions.csv`, `units.csv`, `metrics_by_session.csv`, "
        "`benchmarks.csv`, and of the table of `check_batch`.",
        (
            "check of a batch",
            "sessions",
            "units of all sessions",
            "metrics by session",
            "benchmarks by session",
        ),
    ),
    "nwb": TablePage(
        "NWB files",
        "The columns that `export_to_nwb` writes.",
        ("NWB units", "NWB electrodes", "NWB curation log"),
    ),
}


def number_pages() -> dict[str, str]:
    """Return the pages of the columns of every table, as Markdown by name."""
    pages = {key: _table_page(page) for key, page in TABLE_PAGES.items()}
    pages["reasons"] = _page(
        "Reasons",
        "Why a value is missing, or what speaks for a result: the code that never changes, and the "
        "text that is made from it.",
        _table(("code", "text"), ((code, one.template) for code, one in REASONS.items())),
    )
    pages["labels"] = _page(
        "Rules for labels",
        "The rule sets of `label_units` that are built in.",
        "\n\n".join(f"## {name}\n\n{_rules(rules)}" for name, rules in sic.LABEL_PRESETS.items()),
    )
    return pages


def _table_page(page: TablePage) -> str:
    tables = [TABLES[name] for name in page.tables]
    if len(tables) == 1:
        return _page(page.title, page.text, _columns(tables[0]))
    parts = (f"## {one.name}\n\nA row is {one.meaning}.\n\n{_columns(one)}" for one in tables)
    return _page(page.title, page.text, "\n\n".join(parts))


def _columns(table: Table) -> str:
    rows = [
        (name, one.dtype, "" if one.unit == "1" else one.unit, one.description, one.source)
        for name, one in table.items()
    ]
    return _table(("column", "dtype", "unit", "what it is", "source"), rows)


def _rules(rules: sic.RuleSet) -> str:
    rows = [(str(rule), f"`{rule.label}`") for rule in rules.rules]
    rows.append(("otherwise", f"`{rules.otherwise}`"))
    return f"{rules.source}\n\n" + _table(("first rule that holds", "label"), rows)


def _page(title: str, text: str, body: str) -> str:
    return f"# {title}\n\n{text}\n\n{body}\n"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header)]
    lines += [[f"`{name}`", *map(_cell, rest)] for name, *rest in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    for mark in "|*<_":
        text = text.replace(mark, "\\" + mark)
    return text


def write_pages(app: Any) -> None:
    """Write the pages that have changed."""
    source = Path(app.srcdir)
    pages = {f"api/{key}.rst": api_page(group) for key, group in GROUPS.items() if names_of(group)}
    pages |= {f"numbers/{key}.md": text for key, text in number_pages().items()}
    for name, text in pages.items():
        path = source / name
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, Any]:
    """Connect the making of the pages to Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"version": sic.__version__, "parallel_read_safe": True}
