"""Do what a newcomer does: the README, the tutorials, and the example of each command.

    python .ci/newcomer.py        # some minutes; exit code 1 and what failed, if something did

In a virtual environment of its own, which has what the commands of the README install and no more,
and in an empty folder. The tests are left to `.ci/run`. The data of the README's batch are copies
of the packaged example.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DATA = """
import shutil, si_curation
for day in ("day1", "day2"):
    shutil.copytree(si_curation.example_folder(), f"data/{day}/kilosort4")
"""
EXAMPLES = """
from si_curation.cli.main import cli
from si_curation.cli.options import EXAMPLE_HEADING
for name, command in sorted(cli.commands.items()):
    text = command.get_help(command.make_context(name, [], resilient_parsing=True))
    print(name, *text.partition(EXAMPLE_HEADING)[2].strip().splitlines(), sep="\\t")
"""


class Newcomer:
    """A fresh environment, an empty folder, and what went wrong there."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "work"
        self.folder.mkdir()
        programs = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
        subprocess.run([sys.executable, "-m", "venv", home / "venv"], check=True)
        self.environment = {
            **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "CI")},
            "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
            "VIRTUAL_ENV": str(home / "venv"),
            "MPLBACKEND": "Agg",
            "QT_QPA_PLATFORM": "offscreen",
        }
        self.failed: list[str] = []
        self.windows: list[tuple[str, subprocess.Popen[str]]] = []

    def run(self, line: str, folder: Path | None = None) -> str:
        """Run a line of a shell and return what it prints; note it where it fails."""
        folder = folder or self.folder
        if line.startswith("si-curation gui"):
            self.open_window(line, folder)
            return ""
        start = time.monotonic()
        try:
            done = subprocess.run(
                ["bash", "-c", line],
                cwd=folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            self.failed.append(f"$ {line}\nstill running after {TIMEOUT_S} s")
            return ""
        shown = line.strip().splitlines()[0].replace(str(ROOT), ".")
        # check ends with 1 where there are warnings, of which the example has one
        is_fine = done.returncode <= line.startswith("si-curation check")
        state = "" if is_fine else "FAILED "
        print(f"{time.monotonic() - start:6.1f} s  {state}{shown[:110]}", flush=True)
        if not is_fine:
            output = f"{done.stdout[-2000:]}{done.stderr[-3000:]}"
            self.failed.append(f"$ {line}\nexit code {done.returncode}\n{output}")
        return done.stdout

    def open_window(self, line: str, folder: Path) -> None:
        """Start a command that runs until its window is closed."""
        opened = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.windows.append((line, opened))

    def close_windows(self) -> None:
        """End what still runs; what has ended by itself did not show a window."""
        for line, opened in self.windows:
            code = opened.poll()
            if code is None:
                opened.kill()  # there is nobody to close the window
            output, _ = opened.communicate()
            if code is not None or "Traceback" in output:
                self.failed.append(f"$ {line}\nended with exit code {code}\n{output[-3000:]}")


def read_readme(newcomer: Newcomer) -> None:
    """Do what the blocks of the README say, from its top to its bottom."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        kind, content = block.groups()
        if kind == "bash":
            for line in content.splitlines():
                follow(newcomer, line.partition("  #")[0].strip())
        elif kind == "python":
            (newcomer.folder / "readme.py").write_text(content, encoding="utf-8")
            newcomer.run("python readme.py")
        elif kind == "yaml":
            name = re.findall(r"`([\w/.]+\.yaml)`", text[: block.start()])[-1]
            (newcomer.folder / name).write_text(content, encoding="utf-8")


def follow(newcomer: Newcomer, line: str) -> None:
    """Do what a line of the README says; the clone is not the folder that we are in."""
    if line.endswith("&& pytest"):
        return
    for step in line.split(" && "):
        if step == "python tutorials/run.py":
            run_tutorials(newcomer)
        else:
            install = r'^pip install "?(?:si_curation|\.)(\[[\w,]+\])?"?$'
            # most modules are never imported: what is, is compiled then
            quickly = rf'pip install --quiet --no-compile "{ROOT}\1"'
            newcomer.run(re.sub(install, quickly, step))
        if step == "si-curation demo":
            (newcomer.folder / "data.py").write_text(DATA, encoding="utf-8")
            newcomer.run("python data.py")


def run_tutorials(newcomer: Newcomer) -> None:
    """Run the tutorials, each with a command of its own, and look for their figures."""
    scripts = sorted((ROOT / "tutorials").glob("[0-9]_*.py"), reverse=True)  # the long ones first
    runner = ROOT / "tutorials" / "run.py"
    together(
        lambda path: newcomer.run(f'python "{runner}" {path.name[0]} --figures figures'), scripts
    )
    drawn = {path.name for path in newcomer.folder.glob("figures/*.png")}
    shown = {path.name for path in ROOT.glob("docs/figures/*.png")}
    if drawn != shown:
        newcomer.failed.append(f"the tutorials drew {sorted(drawn)}, the docs show {sorted(shown)}")


def try_examples(newcomer: Newcomer) -> None:
    """Run the example of each command where `si-curation demo` was run."""
    script = newcomer.folder / "examples.py"
    script.write_text(EXAMPLES, encoding="utf-8")
    examples = [line.split("\t") for line in newcomer.run("python examples.py").splitlines()]
    if not examples:
        newcomer.failed.append("no command has an example")

    def run_one(example: list[str]) -> None:
        name, *calls = example
        folder = newcomer.folder / "examples" / name
        folder.mkdir(parents=True)
        shutil.copytree(newcomer.folder / "si_curation_demo", folder / "si_curation_demo")
        for call in calls:
            newcomer.run(call.strip(), folder)

    together(run_one, examples)


def together(do: Callable[[Any], object], items: Iterable[Any]) -> None:
    """Do something with each item, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(do, items))


def main() -> int:
    """Return exit code 1 if something failed."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        newcomer = Newcomer(Path(home))
        try:
            read_readme(newcomer)
            try_examples(newcomer)
        finally:
            newcomer.close_windows()
    print(f"{time.monotonic() - start:.0f} s", *newcomer.failed, sep="\n\n")
    return 1 if newcomer.failed else 0


if __name__ == "__main__":
    sys.exit(main())
