"""A SpikeInterface that asks installed packages for extensions, as docs/development proposes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from spikeinterface.core.sortinganalyzer import _builtin_extensions

import si_curation as sic

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
GROUP = "spikeinterface.analyzer_extensions"
PROPOSAL = ROOT / "docs/development/spikeinterface_hook.md"

# what a colleague's script does, who never imports si_curation
SCRIPT = """
import sys, warnings
from spikeinterface.core import load_sorting_analyzer, sortinganalyzer
code = {code!r}
before = set(sys.modules)
exec(code, vars(sortinganalyzer))
assert "si_curation" not in sys.modules, "imported before it is asked for"
warnings.simplefilter("error")
analyzer = load_sorting_analyzer({folder!r})
assert "template_best_channels" in analyzer.get_loaded_extension_names()
merged = analyzer.select_units(analyzer.unit_ids[:3])
print(merged.has_extension("template_assignment"))
analyzer.delete_extension("template_best_channels")
analyzer.compute("template_best_channels")
print(len(analyzer.get_extension("template_best_channels").get_data()))
"""


def declared():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]["entry-points"][GROUP]


def test_each_extension_is_declared():
    announced = {
        name: module
        for name, module in _builtin_extensions.items()
        if module.startswith("si_curation.")
    }
    assert declared() == announced


@pytest.mark.slow
def test_without_the_import(tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
    analyzer.compute(["template_assignment", "template_best_channels"])
    analyzer.save_as(format="binary_folder", folder=tmp_path / "analyzer")
    # the installed package may be older than its pyproject.toml
    info = tmp_path / "site" / "declared_here-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: declared_here\nVersion: 1.0\n")
    lines = [f"{name} = {module}" for name, module in declared().items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    code = re.search(r"```python\n(.*?)```", PROPOSAL.read_text(encoding="utf-8"), re.DOTALL)[1]
    script = SCRIPT.format(code=code, folder=str(tmp_path / "analyzer"))
    paths = [str(tmp_path / "site"), str(ROOT / "src")]
    start = f"import sys; sys.path[:0] = {paths!r}\n"
    command = [sys.executable, "-c", start + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", str(len(analyzer.unit_ids))]
