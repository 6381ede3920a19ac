"""The page in a real browser: it draws, sorts, filters, searches, and asks the network nothing."""

from __future__ import annotations

import base64
import itertools
import time
import zlib

import numpy as np
import pytest

import si_curation as sic
from helpers import needs
from helpers.browser import ENTER, SPACE, TAB, Browser, find_programs
from helpers.hostile_analyzer import EXTENSIONS, HOSTILE, compute_all, hostile_analyzer
from helpers.report_page import ReportPage
from si_curation.report.formatting import format_value

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if find_programs() is None:
        needs.skip("chromium and chromedriver are not installed")
    one = Browser(tmp_path_factory.mktemp("browser") / "profile")
    yield one
    one.quit()


@pytest.fixture(scope="module")
def example_page(tmp_path_factory):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(EXTENSIONS)
    folder = tmp_path_factory.mktemp("päth with spaces")
    return sic.export_report(analyzer, folder / "my report #1.html")


@pytest.fixture(scope="module")
def large_page(tmp_path_factory, simulate):
    folder = simulate(
        "kilosort4",
        num_templates=60,
        num_channels=48,
        num_spikes=60_000,
        num_shanks=2,
        num_empty_templates=2,
        labels={3: "good", 4: "noise", 5: "good", 6: "mua"},
        curation=4,
    ).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    analyzer.compute(EXTENSIONS)
    return sic.export_report(analyzer, tmp_path_factory.mktemp("large") / "r.html")


@pytest.fixture
def opened(browser, example_page):
    browser.open(example_page)
    return browser


@pytest.fixture
def large(browser, large_page):
    browser.open(large_page)
    return browser


def ids(browser):
    """Units in the table as it is shown, top to bottom."""
    return browser.texts("#unit-table tbody th a")


def column(browser, title):
    """What is shown in the column of that title."""
    return browser.run(
        """
        const heads = [...document.querySelectorAll("#unit-table thead tr:first-child th")];
        const at = heads.findIndex((h) => h.textContent.trim().startsWith(arguments[0]));
        return [...document.querySelectorAll("#unit-table tbody tr")]
          .map((row) => row.cells[at].textContent.trim());
        """,
        title,
    )


def inked(browser, css):
    """For every canvas: number of pixels that are not blank inside of the axes."""
    return browser.run(
        """
        return [...document.querySelectorAll(arguments[0] + " canvas")].map((canvas) => {
          const { width, height } = canvas;
          const inside = [width * 0.3, height * 0.05, width * 0.6, height * 0.6].map(Math.round);
          const { data } = canvas.getContext("2d").getImageData(...inside);
          let count = 0;
          for (let i = 0; i < data.length; i += 4) {
            // neither blank nor the lines of the grid
            if (data[i + 3] > 0 && Math.min(data[i], data[i + 1], data[i + 2]) < 200) count++;
          }
          return count;
        });
        """,
        css,
    )


def nothing_went_wrong(browser, page):
    # the browser's advice to the tests, which read canvases
    said = [text for text in browser.console() if "willReadFrequently" not in text]
    assert said == []
    assert browser.requests() == [page.resolve().as_uri()], "only the page itself was loaded"


def test_loads_offline_without_errors(browser, example_page):
    browser.open(example_page)
    assert browser.run("return document.title") == "ks4_phy_curated"
    assert len(ids(browser)) == 8
    drawn = inked(browser, ".charts")
    assert len(drawn) == 2
    assert min(drawn) > 50, "the charts of the session have content"
    assert browser.texts("#distribution-charts canvas") == [], "drawn when they come near"
    browser.run("document.getElementById('distributions').scrollIntoView()")
    until(
        lambda: inked(browser, "#distribution-charts"),
        lambda found: len(found) > 20 and sum(count > 0 for count in found) > 0.7 * len(found),
    )
    assert browser.run("return document.querySelectorAll('#probe-map circle').length") == 8
    nothing_went_wrong(browser, example_page)


def test_blocks_are_read_as_they_were_written(opened):
    """Inflated by the page's own script: stored, fixed and dynamic blocks of every level."""
    rng = np.random.default_rng(0)
    contents = [
        b"",
        b"a",
        bytes(1000),
        rng.bytes(70_000),
        rng.poisson(0.3, 20_000).astype(np.uint8).tobytes(),
        b"correlograms, templates and a text of words " * 900,
    ]
    for content in contents:
        for level, strategy in ((0, 0), (1, 0), (6, 0), (9, 0), (6, zlib.Z_FIXED)):
            deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, 8, strategy)
            packed = deflate.compress(content) + deflate.flush()
            found = opened.run(
                "const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));"
                "const out = inflate(bytes, arguments[1]);"
                "let text = ''; for (const byte of out) text += String.fromCharCode(byte);"
                "return btoa(text)",
                base64.b64encode(packed).decode(),
                len(content),
            )
            assert base64.b64decode(found) == content, (len(content), level, strategy)


def test_arrays_and_numbers_are_read_as_they_were_written(opened, example_page):
    page = ReportPage(example_page)
    for row, unit in enumerate(page.units):
        its = opened.run(
            "const { template, amplitude, rate, isi, acg, similar } = Report.unit(arguments[0]);"
            "return [[...template.waveforms.values], [...amplitude.times_s.values],"
            " [...amplitude.values.values], rate, isi, acg, similar]",
            row,
        )
        np.testing.assert_allclose(its[0], unit["template"]["waveforms"].ravel(), rtol=1e-12)
        np.testing.assert_allclose(its[1], unit["amplitude"]["times_s"], rtol=1e-12)
        np.testing.assert_allclose(its[2], unit["amplitude"]["values"], rtol=1e-12)
        assert its[3:] == [unit["rate"], unit["isi"], unit["acg"], unit["similar"]]


def test_numbers_are_text_as_in_python(opened):
    rng = np.random.default_rng(0)
    values = [0.0, -0.5, 0.0001, 9.9999e-5, 999.96, 999.94, 1000.0, -12345.6, 1e9, 123456789.2]
    values += (rng.choice([-1, 1], 300) * 10 ** rng.uniform(-12, 14, 300)).tolist()
    script = """
    return arguments[0].map((v) => Report.text({ values: [v], whole: arguments[1] }, 0));
    """
    assert opened.run(script, values, False) == [format_value(float(v)) for v in values]
    whole = [0, 5, 999, -1000, 1234567, 12345678901]
    assert opened.run(script, whole, True) == [format_value(v) for v in whole]
    assert opened.run(script, [None, "good"], False) == ["–", "good"]


def test_a_unit_opens_by_mouse(opened, example_page):
    opened.click("#unit-table a[href='#unit=13']")
    assert opened.texts("#panels h3") == ["Unit 13 · good · 1,330 spikes"]
    drawn = inked(opened, "#panels .grid")
    assert len(drawn) == 4, "autocorrelogram, intervals, amplitudes, rate"
    assert min(drawn) > 50
    assert len(inked(opened, "#panels .similar")) == 5
    lines = opened.run(
        "return [...document.querySelectorAll('#panels svg.waveforms')]"
        ".map(s => s.querySelectorAll('polyline').length)"
    )
    assert lines[0] == 12
    assert lines[1] >= 3 * 12, "every template that it came from"
    numbers = opened.texts("#panels .numbers tbody tr")
    assert any("rp_contamination" in text and "Llobet" in text for text in numbers)
    opened.click("#panels button[aria-label='Previous unit']")
    assert opened.texts("#panels h3") == ["Unit 12 · unsorted · 192 spikes"]
    opened.click("#panels button[aria-label='Close unit 12']")
    assert opened.texts("#panels h3") == []
    nothing_went_wrong(opened, example_page)


def test_the_numbers_that_are_drawn(opened):
    """Bars are as high as their counts: read back from the pixels of the canvas."""
    opened.run("Report.panels.openUnit(7)")
    heights = opened.run(
        """
        const unit = Report.unit(7);
        const figure = [...document.querySelectorAll("#panels figure")]
          .find((f) => f.textContent.includes("Autocorrelogram"));
        const canvas = figure.querySelector("canvas");
        const box = figure.querySelector(".u-over").getBoundingClientRect();
        const frame = canvas.getBoundingClientRect();
        const scale = canvas.width / frame.width;
        const [left, top] = [(box.left - frame.left) * scale, (box.top - frame.top) * scale];
        const [width, height] = [box.width * scale, box.height * scale];
        const context = canvas.getContext("2d");
        return unit.acg.counts.map((count, i) => {
          const x = Math.round(left + ((i + 0.3) / unit.acg.counts.length) * width);
          const { data } = context.getImageData(x, Math.round(top), 1, Math.round(height));
          let blue = 0;
          for (let k = 0; k < data.length; k += 4) {
            if (data[k] < 30 && data[k + 2] > 150 && data[k + 3] > 200) blue++;
          }
          return [count, blue / height];
        });
        """
    )
    most = max(count for count, _ in heights) * 1.06
    assert len(heights) == 50
    errors = [abs(share - count / most) for count, share in heights]
    # the dashed lines hide some pixels
    assert sorted(errors)[-4] < 0.03, heights


def test_a_row_opens_its_unit_and_its_name_stays_in_sight(opened, example_page):
    order = opened.run("return [...document.querySelectorAll('main > section')].map(s => s.id)")
    assert order.index("units") < order.index("distributions"), "units are what one looks for"
    links = opened.run("return [...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    assert links == order
    scrolled = opened.run(
        """
        document.querySelector("#column-choice button.all").click();
        const box = document.querySelector("#unit-table").closest(".dt-layout-table");
        const name = document.querySelector("#unit-table tbody tr:nth-child(3) th");
        name.scrollIntoView({ block: "center" });
        const before = name.getBoundingClientRect().left;
        box.scrollLeft = 400;
        const place = name.getBoundingClientRect();
        const top = document.elementFromPoint(place.left + 5, place.top + place.height / 2);
        return [box.scrollLeft, place.left - before, name.contains(top)];
        """
    )
    assert scrolled == [400, 0, True], "the unit lies on top of what is scrolled"
    opened.click("#unit-table tbody tr:nth-child(3) td:nth-child(8)")
    assert opened.texts("#panels h3") == ["Unit 8 · noise · 518 spikes"]
    assert opened.run("return location.hash") == "#unit=8"
    nothing_went_wrong(opened, example_page)


COLOURS = {"blue": (0, 114, 178), "orange": (213, 94, 0), "grey": (59, 71, 84)}


def test_colours_that_the_text_names_are_those_that_are_drawn(opened):
    opened.run("Report.panels.openUnit(0)")
    opened.run("Report.panels.openPair(0)")
    found = opened.run(
        """
        const near = (data, colour) => {
          let count = 0;
          for (let i = 0; i < data.length; i += 4) {
            const off = colour.reduce((sum, value, k) => sum + Math.abs(data[i + k] - value), 0);
            if (data[i + 3] > 200 && off < 12) count++;
          }
          return count;
        };
        const drawn = (figure, colour) => {
          const canvas = figure.querySelector("canvas");
          if (canvas) {
            const whole = [0, 0, canvas.width, canvas.height];
            return near(canvas.getContext("2d").getImageData(...whole).data, colour);
          }
          const hex = "#" + colour.map((v) => v.toString(16).padStart(2, "0")).join("");
          const lines = [...figure.querySelectorAll("polyline")];
          return 99 * lines.filter((p) => p.getAttribute("stroke").toLowerCase() === hex).length;
        };
        return [...document.querySelectorAll(".panel figure")].flatMap((figure) => {
          const text = figure.querySelector("figcaption")?.textContent.toLowerCase() ?? "";
          return ["red", "blue", "orange", "grey", "green"]
            .filter((name) => text.includes(`${name}: `))
            .map((name) => [name, drawn(figure, arguments[0][name] ?? [999, 0, 0])]);
        });
        """,
        COLOURS,
    )
    assert {name for name, _ in found} == set(COLOURS)
    assert min(count for _, count in found) > 10, found


def test_a_unit_opens_by_keyboard(opened, example_page):
    opened.run("document.querySelector('#unit-table tbody a').focus()")
    opened.press(TAB)
    assert opened.run("return document.activeElement.textContent") == "7"
    style = "return getComputedStyle(document.activeElement).outlineStyle"
    assert opened.run(style) == "solid", "where the focus is can be seen"
    opened.press(ENTER)
    assert opened.texts("#panels h3") == ["Unit 7 · unsorted · 344 spikes"]
    assert opened.run("return document.activeElement.tagName") == "H3"
    assert opened.texts("#announce") == ["Unit 7 · unsorted · 344 spikes opened"]
    opened.press(TAB)
    assert opened.run("return document.activeElement.textContent") == "← Previous"
    nothing_went_wrong(opened, example_page)


def test_a_link_to_a_unit_opens_it(browser, example_page):
    browser.open(example_page.resolve().as_uri() + "#unit=10")
    assert browser.texts("#panels h3") == ["Unit 10 · mua · 1,143 spikes"]


def until(find, is_wanted):
    """Wait until the page, which answers a little later, shows what is wanted; that."""
    for _ in range(100):
        found = find()
        if is_wanted(found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"still {found}")


def test_sorts_by_mouse_and_by_keyboard(opened):
    assert ids(opened) == ["4", "7", "8", "9", "10", "11", "12", "13"]
    head = "#unit-table thead tr:first-child th:nth-child(3)"
    assert opened.texts(head)[0].startswith("num_spikes")

    def numbers():
        return [int(text.replace(",", "")) for text in column(opened, "num_spikes")]

    assert numbers() not in (sorted(numbers()), sorted(numbers(), reverse=True))
    opened.click(head)
    until(numbers, lambda found: found == sorted(found))
    opened.click(head)
    # 1,330 is a number
    until(numbers, lambda found: found == sorted(found, reverse=True))
    assert opened.run(f"return document.querySelector('{head}').ariaSort") == "descending"
    # by the header of the first column, with the keyboard
    opened.run(
        "document.querySelector('#unit-table thead tr:first-child th [role=button]').focus()"
    )
    opened.press(ENTER)
    until(lambda: ids(opened), lambda found: found == ["4", "7", "8", "9", "10", "11", "12", "13"])
    opened.press(ENTER)
    until(lambda: ids(opened), lambda found: found == ["13", "12", "11", "10", "9", "8", "7", "4"])


def test_search_finds(opened):
    opened.type("input[type=search]", "noise")
    until(lambda: ids(opened), lambda found: found == ["8"])
    opened.type("input[type=search]", "no such thing")
    until(lambda: ids(opened), lambda found: found == [])


def test_filters_numbers_and_labels(large):
    everything = large.run(
        "return DataTable.Api && new DataTable.Api('#unit-table').rows().count()"
    )
    assert everything == 60 or everything > 50
    # a number: more than
    number = "#unit-table thead tr:nth-child(2) > :nth-child(3) "
    large.run(
        """
        const select = document.querySelector(arguments[0] + "select");
        select.value = "greater";
        select.dispatchEvent(new Event("change", { bubbles: true }));
        select.dispatchEvent(new Event("input", { bubbles: true }));
        """,
        number,
    )
    large.type(number + "input", "1000")
    until(
        lambda: [int(text.replace(",", "")) for text in column(large, "num_spikes")],
        lambda found: found and min(found) > 1000,
    )
    large.run("new DataTable.Api('#unit-table').search('').columns().ccSearchClear().draw()")
    # a label: chosen from a list
    large.click("#unit-table thead tr:nth-child(2) > :nth-child(2) button")
    choices = large.texts(".dtcc-list button, .dtcc-dropdown button")
    assert any("good" in text for text in choices)
    large.run(
        """
        [...document.querySelectorAll(".dtcc-dropdown button, .dtcc-list button")]
          .find((b) => b.textContent.trim() === "good").click();
        """
    )
    until(lambda: column(large, "group"), lambda found: set(found) == {"good"})


def test_columns_can_be_chosen(opened):
    assert "hill_contamination" not in " ".join(opened.texts("#unit-table thead th"))
    opened.click("#column-choice summary")
    number = 1 + opened.run(
        "return Report.data.columns.findIndex((c) => c.title === 'hill_contamination')"
    )
    box = f"#column-choice input[data-column='{number}']"
    opened.click(box)
    shown = opened.texts("#unit-table thead tr:first-child th")
    assert any(text.startswith("hill_contamination") for text in shown)
    opened.run(f"document.querySelector({box!r}).focus()")
    opened.press(SPACE)
    shown = opened.texts("#unit-table thead tr:first-child th")
    assert not any(text.startswith("hill_contamination") for text in shown)


def test_pairs_are_compared(opened, example_page):
    opened.click("#candidate-table button.compare")
    assert opened.texts("#pair-panels h3") == ["Units 12 and 11"]
    drawn = inked(opened, "#pair-panels")
    assert len(drawn) == 5, "three correlograms, two charts of amplitudes"
    assert opened.run("return document.querySelectorAll('#pair-panels polyline').length") >= 24
    evidence = opened.texts("#pair-panels .numbers tbody th")
    assert {"score", "one_neuron_probability", "refractory_observed"} <= set(evidence)
    nothing_went_wrong(opened, example_page)


def test_many_units(large, large_page):
    assert len(ids(large)) == 25, "a page of the table"
    for row in range(0, 60, 12):
        large.run("document.getElementById('panels').replaceChildren()")
        large.run("Report.panels.openUnit(arguments[0])", row)
        assert len(large.texts("#panels h3")) == 1
    # a unit without spikes
    empty = large.run(
        "return Report.data.units.findIndex((_, row) => Report.unit(row).num_spikes === 0)"
    )
    large.run("Report.panels.openUnit(arguments[0])", max(empty, 0))
    nothing_went_wrong(large, large_page)


def test_images_of_densities_are_drawn(browser, tmp_path, simulate):
    folder = simulate("kilosort4", num_templates=2, num_channels=8, num_spikes=9000).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    page = sic.export_report(analyzer, tmp_path / "r.html")
    browser.open(page)
    browser.run("Report.panels.openUnit(0)")
    assert browser.run("return Boolean(Report.unit(0).amplitude.density)")
    figures = browser.texts("#panels .grid figure h4")
    amplitude = inked(
        browser, f"#panels .grid figure:nth-child({1 + figures.index('Amplitude over time')})"
    )
    assert amplitude[0] > 100
    nothing_went_wrong(browser, page)


def test_names_are_shown_and_never_run(browser, tmp_path):
    analyzer = hostile_analyzer()
    compute_all(analyzer)
    page = sic.export_report(
        analyzer, tmp_path / "r.html", title="<script>window.hacked=9</script>"
    )
    browser.open(page)
    assert browser.run("return document.title") == "<script>window.hacked=9</script>"
    assert ids(browser) == [name.strip() for name in HOSTILE]
    assert column(browser, "group") == [name.strip() for name in [*HOSTILE[1:], "good"]]
    for row, name in enumerate(HOSTILE):
        browser.run("document.getElementById('panels').replaceChildren()")
        browser.run(
            "document.querySelectorAll('#unit-table tbody th a')[arguments[0]].click()", row
        )
        title = browser.run("return document.querySelector('#panels h3').textContent")
        assert title.startswith(f"Unit {name} · ")
        assert browser.run("return document.querySelectorAll('#panels img').length") == 0
    browser.type("input[type=search]", "<script>window")
    until(lambda: ids(browser), lambda found: HOSTILE[0] in found and len(found) < len(HOSTILE))
    if browser.run("return Boolean(document.querySelector('button.compare'))"):
        browser.run("document.querySelector('button.compare').click()")
    assert browser.run("return window.hacked === undefined")
    assert browser.run(
        "return document.querySelectorAll('img, body script:not([type])').length"
    ) == (browser.run("return [...document.scripts].filter(s => !s.type).length"))
    nothing_went_wrong(browser, page)


def test_labels_and_columns_to_choose_from_are_text(browser, tmp_path):
    analyzer = hostile_analyzer([f"{i}" for i in range(6)])
    label = "<img src=x onerror=window.hacked=1>"
    analyzer.sorting.set_property("quality", np.array([label, "a<b>c</b>", "ok&amp;"] * 2))
    analyzer.sorting.set_property("<i>name</i>", np.array([label, "z", "y"] * 2))
    page = sic.export_report(analyzer, tmp_path / "r.html")
    browser.open(page)
    assert column(browser, "group") == [label, "a<b>c</b>", "ok&amp;"] * 2
    filters = browser.run(
        "return document.querySelectorAll('#unit-table thead tr:nth-child(2) button').length"
    )
    assert filters >= 2
    browser.click("#unit-table thead tr:nth-child(2) button")
    assert browser.texts(".dtcc-dropdown .dtcc-list-buttons button") == [
        label,
        "a<b>c</b>",
        "ok&amp;",
    ]
    browser.click(".dtcc-dropdown .dtcc-list-buttons button")
    until(lambda: ids(browser), lambda found: found == ["0", "3"])
    assert "<i>name</i>" in " ".join(browser.texts("#column-choice label"))
    assert browser.run("return document.querySelectorAll('main img, main i').length") == 0
    browser.run("Report.panels.openUnit(0)")
    assert any(text.startswith("<i>name</i>") for text in browser.texts("#panels .numbers tr"))
    assert browser.run("return document.querySelectorAll('main img, main i').length") == 0
    assert browser.run("return window.hacked === undefined")
    nothing_went_wrong(browser, page)


def test_the_policy_stops_what_escaping_would_not(browser, tmp_path, example_page):
    """A script, a handler or an image that got into the page would not run or load."""
    text = example_page.read_text(encoding="utf-8")
    bad = (
        "<script>window.hacked=1</script>"
        "<img src='http://127.0.0.1:9/x.png' onerror='window.hacked=2'>"
    )
    page = tmp_path / "r.html"
    page.write_text(text.replace("<main>", "<main>" + bad, 1), encoding="utf-8")
    browser.open(page)
    assert browser.run("return window.hacked === undefined")
    assert any("Content Security Policy" in message for message in browser.console())
    assert browser.requests() == [page.resolve().as_uri(), "http://127.0.0.1:9/x.png"]
    assert browser.blocked == ["http://127.0.0.1:9/x.png"], "it never left"


def test_bare_analyzer(browser, tmp_path):
    page = sic.export_report(hostile_analyzer(["a", "b"]), tmp_path / "r.html")
    browser.open(page)
    browser.click("#unit-table tbody a")
    notes = " ".join(browser.texts("#panels .note"))
    for name in ("cross_correlograms", "unit_similarity", "template_best_channels"):
        assert name in notes
    assert len(inked(browser, "#panels .grid")) == 2, "intervals and rate need no extension"
    nothing_went_wrong(browser, page)


def test_accessible_names(opened):
    opened.run("Report.panels.openUnit(0)")
    opened.run("document.querySelector('button.compare').click()")
    unnamed = opened.run(
        """
        const named = (e) => e.getAttribute("aria-label") || e.title || e.textContent.trim()
          || (e.labels && e.labels.length) || e.placeholder;
        return [...document.querySelectorAll("button, input, select, a, [role=img]")]
          .filter((e) => !named(e) && e.offsetParent !== null)
          .map((e) => e.outerHTML.slice(0, 120));
        """
    )
    assert unnamed == []
    levels = opened.run(
        "return [...document.querySelectorAll('h1, h2, h3, h4, h5')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    jumps = [b - a for a, b in itertools.pairwise(levels)]
    assert max(jumps) == 1, "no level of heading is left out"
    assert opened.run("return document.documentElement.lang") == "en"
    captions = opened.run(
        "return [...document.querySelectorAll('main > section > .wide table, main table[id]')]"
        ".every(t => t.caption)"
    )
    assert captions


def test_printed_with_all_rows(large):
    large.run("window.dispatchEvent(new Event('beforeprint'))")
    assert len(ids(large)) > 50
    assert large.run("return document.querySelectorAll('#distribution-charts canvas').length") > 20
    large.run("window.dispatchEvent(new Event('afterprint'))")
    assert len(ids(large)) == 25


def test_sessions_are_named_in_charts_over_time(browser, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    names = ["baseline", "drug & co", "a name that is far too long for the room it has"]
    borders = sic.session_borders(analyzer, [25.0, 75.0], names=names)
    path = sic.export_report(analyzer, tmp_path / "r.html", borders=borders, progress_bar=False)
    browser.open(path)
    browser.run(
        """
        window.written = [];
        const fillText = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
          window.written.push(text);
          return fillText.call(this, text, ...place);
        };
        Report.panels.openUnit(0);
        """
    )
    deadline = time.monotonic() + 5  # charts are drawn a moment later
    while time.monotonic() < deadline:
        written = browser.run("return window.written")
        if written.count("drug & co") >= 2:
            break
        time.sleep(0.05)
    assert written.count("drug & co") == written.count("baseline") == 2, "amplitudes and rate"
    assert names[2] not in written
    assert not browser.console()
