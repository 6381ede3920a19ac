"""The section of the page on how far to trust suggestions."""

from __future__ import annotations

import re

import numpy as np
import pytest

import si_curation as sic
from si_curation.report.context import ReportContext
from si_curation.report.trust import how_far_to_trust


@pytest.mark.slow
def test_it_says_what_the_function_gives(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    found = sic.benchmark_suggestions(analyzer)
    trust = how_far_to_trust(ReportContext(analyzer, np.arange(len(analyzer.unit_ids))))
    assert [name for name, _ in trust.precisions] == found.index.tolist()
    assert [row[:2] for row in trust.rows] == found.by_change.index.tolist()
    assert f"{found.loc['merges', 'precision']:.2f} (" in trust.precisions[0][1]
    path = sic.export_report(analyzer, tmp_path / "page.html", progress_bar=False)
    text = path.read_text(encoding="utf-8")
    section = re.search(r'<section id="trust".*?</section>', text, re.DOTALL).group()
    for row in [*trust.precisions, *trust.rows]:
        for cell in row:
            assert cell in section
    assert "labelled good by the curator" in section
    assert 'href="#trust"' in text


def test_what_was_not_tried_says_why(simulate):
    folder = simulate(num_templates=6, num_channels=8, num_spikes=3000, write_features=False).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    trust = how_far_to_trust(ReportContext(analyzer, np.arange(len(analyzer.unit_ids))))
    reasons = {row[1]: row[2] for row in trust.rows}
    assert "pc_features.npy" in reasons["along a component"]
