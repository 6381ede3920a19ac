"""Take the picture of the page that curates, with chromium and chromedriver.

PYTHONPATH=src python docs/_ext/picture_of_the_page.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "_static" / "curation_page.png"


def main() -> None:
    """Write the page of the example folder, open a suggested split, and take its picture."""
    sys.path.append(str(ROOT / "tests"))
    import si_curation as sic
    from helpers.browser import Browser
    from si_curation.cli.report import compute_for_page

    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    compute_for_page(analyzer)
    with tempfile.TemporaryDirectory() as scratch:
        page = sic.export_report(analyzer, Path(scratch) / "page.html", curation=True)
        browser = Browser(Path(scratch) / "profile", size=(1400, 1000))
        try:
            browser.open(page)
            browser.run("document.getElementById('curate').scrollIntoView()")
            browser.press("a")  # the merge
            browser.press("\ue014")  # over the first split, to the second
            browser.run("document.activeElement.blur()")
            browser.screenshot(TARGET)
        finally:
            browser.quit()


if __name__ == "__main__":
    main()
