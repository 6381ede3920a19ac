"""The README's Python runs as it stands and prints what it says."""

import importlib.util
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_python_of_the_readme(tmp_path, monkeypatch, capsys):
    if not README.is_file():
        pytest.skip("the README is not beside the tests")
    text = README.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (expected,) = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines()] == [
        line.split() for line in expected.splitlines()
    ]
    assert (tmp_path / "for_phy" / "params.py").is_file()


def test_the_newcomer_follows_each_line(tmp_path, monkeypatch):
    """`.ci/newcomer.py` runs the lines in `.ci/run`; here, that it leaves none out."""
    script = README.parent / ".ci" / "newcomer.py"
    if not script.is_file():
        pytest.skip("the newcomer is not beside the tests")
    spec = importlib.util.spec_from_file_location("newcomer", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    followed = []

    class Listener:
        folder = tmp_path
        run = staticmethod(followed.append)

    monkeypatch.setattr(module, "run_tutorials", lambda _: followed.append("tutorials"))
    module.read_readme(Listener)
    text = README.read_text(encoding="utf-8")
    steps = [
        step
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        for step in line.partition("  #")[0].strip().split(" && ")
    ]
    assert len(followed) == len(steps)  # less pip and pytest of the tests; data.py and readme.py
    assert followed.index("tutorials") < followed.index("python readme.py")
    asked = [step for step in steps if step.startswith("si-curation")]
    assert [one for one in followed if one.startswith("si-curation")] == asked
    installed = [one for one in followed if "pip install" in one]
    clone = str(README.parent)
    assert all(clone in one and "si_curation[" not in one.replace(clone, "") for one in installed)
    for name in re.findall(r"--metadata (\S+)", text):
        assert (tmp_path / name).is_file()
