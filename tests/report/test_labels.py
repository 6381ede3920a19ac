"""The page of learnt labels: what the report says, in a page that runs and loads nothing."""

import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import si_curation as sic

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"snr": rng.uniform(1, 9, 90), "other": rng.normal(size=90), "same": 1.0})
    table["session"] = np.array([EVIL, "day 2", "day 3"])[np.arange(90) % 3]
    table["group"] = np.where(table["snr"] + rng.normal(size=90) > 5, "good", "mua")
    return sic.learn_labels(table, note=EVIL)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.tables, self._cell = [], {}, False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self.rows = self.tables.setdefault(dict(attributes)["id"], [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag):
        self._cell &= tag not in ("th", "td")

    def handle_data(self, text):
        if self._cell:
            self.rows[-1][-1] += text


def test_the_page_shows_the_report(model, tmp_path):
    path = sic.export_label_report(model, tmp_path / "new" / "labels.html", title="Lab")
    text = path.read_text(encoding="utf-8")
    page, report = Page(text), model.report()
    for name in ("summary", "sessions", "reliability", "coverage"):
        table = getattr(report, name)
        assert page.tables[name][0] == list(table.columns)
        assert len(page.tables[name]) == 1 + len(table)
    value = report.summary["value"].iloc[0]
    assert page.tables["summary"][1][:2] == ["accuracy", f"{value:.4g}"]
    assert page.tables["sessions"][1][0] == report.sessions["session"].iloc[0]
    wrong = page.tables["disagreements"][1:]
    assert [row[1] for row in wrong] == [str(one) for one in report.disagreements["unit_id"]]
    assert len(page.tables["curve"]) == 1 + len(report.learning_curve)
    svg = [attributes for tag, attributes in page.tags if tag == "svg"]
    assert svg[0]["aria-label"].startswith("Reliability: share that is right")
    assert "the same in all units" in text
    with pytest.raises(sic.OutputExistsError):
        sic.export_label_report(model, path)
    assert sic.export_label_report(model, path, overwrite=True) == path


def test_nothing_runs_and_nothing_is_loaded(model, tmp_path):
    text = sic.export_label_report(model, tmp_path / "labels.html", title=EVIL).read_text()
    page = Page(text)
    assert "script" not in {tag for tag, _ in page.tags}
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; script-src 'none'; style-src 'sha256-")
    addresses = [a[key] for _, a in page.tags for key in ("href", "src") if key in a]
    assert all(one.startswith(("#", "data:")) for one in addresses)
    assert not any("style" in attributes for _, attributes in page.tags)
    assert text.count(EVIL) == 0
    assert re.search("&lt;script&gt;", text)
