"""The page: the curations side by side, without scripts, whatever names hold."""

import re
from html.parser import HTMLParser

import pytest

import si_curation as sic

HOSTILE = '<script>alert(1)</script>"&\ud800'


class Page(HTMLParser):
    """Names of the elements, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, []).append(value)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def compared():
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    one, other = sic.CurationSession(analyzer), sic.CurationSession(analyzer)
    one.merge([11, 12])
    one.label([4], "good")
    other.label([4], "noise")
    other.remove([10])
    return sic.compare_curations(one, other, names=["anna", HOSTILE], num_bootstraps=50)


@pytest.fixture(scope="module")
def text(compared, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "new" / "page.html"
    assert compared.export_page(path) == path
    with pytest.raises(sic.OutputExistsError):
        compared.export_page(path)
    compared.export_page(path, overwrite=True, title="Two <i>curators</i>")
    return path.read_text(encoding="utf-8")


def test_nothing_runs_and_nothing_is_loaded(text):
    page = Page(text)
    assert "script" not in page.tags
    policy = next(one for one in page.attributes["content"] if one.startswith("default-src"))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not re.search(r"""(src|href)=["'](?!data:,|#)""", text)
    assert "style" not in page.attributes  # the policy allows no styles of elements


def test_every_decision_is_shown(compared, text):
    page = Page(text)
    assert page.tags.count("article") == compared.disputed["decision"].nunique() == 3
    headings = [one for one in page.text if re.match(r"\d\. ", one)]
    assert headings[0].startswith("1. removed by one")
    shown = "".join(page.text)
    assert "14 unsorted" in shown  # the merged unit
    assert "11 unsorted" in shown
    assert f"{HOSTILE[:-1]}?: removed"[:23] in shown
    assert "Two <i>curators</i>" in shown
    values = compared.agreement["value"]
    assert all(f"{value:.3f}" in shown for value in values)
    pictures = [one for one in page.attributes["aria-label"] if one]
    assert len(pictures) >= 3


def test_bands_join_the_boxes(compared):
    """Each part is a band as high as its share of the boxes at both ends."""
    from si_curation.agreement.page import draw_decision

    drawing = draw_decision(compared.compared, compared.compared.parts.family.argsort()[:1])
    assert drawing["boxes"]
    assert all(box["height"] > 0 for box in drawing["boxes"])
    assert all("nan" not in band for band in drawing["bands"])


def test_all_agree(compared, tmp_path):
    analyzer = compared.compared.sources[0].open()
    path = sic.compare_curations(analyzer, analyzer).export_page(tmp_path / "page.html")
    assert "agree on all units" in path.read_text(encoding="utf-8")
