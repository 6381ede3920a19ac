"""Run the tutorials, and refresh the figures of the documentation.

    python tutorials/run.py                          # all, as scripts
    python tutorials/run.py 3 4                      # those whose names begin with 3 or 4
    python tutorials/run.py --figures docs/figures   # copy their figures

Each runs in a fresh process and an empty temporary directory, without a display. They need
``pip install ".[tutorials]"``. As pages they are in the documentation, which runs them when it is
built.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TUTORIALS = sorted(HERE.glob("[0-9]*_*.py"))
TIMEOUT_S = 600


def run_script(tutorial: Path, folder: Path) -> str:
    """Run a tutorial in a folder and return its standard output.

    Raises
    ------
    RuntimeError
        It failed; with the end of its output.
    """
    done = subprocess.run(
        [sys.executable, str(tutorial)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{tutorial.name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a tutorial, with temporary files in its folder."""
    temporary = folder / "temporary"
    temporary.mkdir(exist_ok=True)
    names = ("TMPDIR", "TEMP", "TMP")
    paths = [str(HERE.parent / "src"), os.environ.get("PYTHONPATH")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),  # this clone, installed or not
        **dict.fromkeys(names, str(temporary)),
        "MPLBACKEND": "Agg",
        "PYTHONIOENCODING": "utf-8",
    }


def main() -> int:
    """Run the chosen tutorials; return exit code 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", nargs="*", help="beginnings of names; all by default")
    parser.add_argument("--figures", type=Path, help="folder for the figures they draw")
    arguments = parser.parse_args()
    wanted = tuple(arguments.which)
    chosen = [one for one in TUTORIALS if not wanted or one.name.startswith(wanted)]
    if not chosen:
        parser.error(f"no tutorial begins with {wanted}: {[one.name for one in TUTORIALS]}")
    if arguments.figures:
        arguments.figures.mkdir(parents=True, exist_ok=True)
    failed = 0
    for tutorial in chosen:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            try:
                print(run_script(tutorial, folder))
            except (RuntimeError, subprocess.TimeoutExpired) as fault:
                failed += 1
                print(fault, file=sys.stderr)
                if "ModuleNotFoundError" in str(fault):
                    print('The tutorials need: pip install ".[tutorials]"', file=sys.stderr)
            for figure in folder.glob("*.png") if arguments.figures else ():
                shutil.copy(figure, arguments.figures)
        print(f"{tutorial.name}: {time.perf_counter() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
