"""The base install: what works without any extra, and what each missing extra is said to need."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import si_curation as sic

# of all extras, and what comes with them; in the order of `CALLS`
OF_EXTRAS = ["pynwb", "hdmf", "h5py", "dask", "distributed", "sklearn", "skops", "joblib"]
OF_EXTRAS += ["spikeinterface_gui", "PySide6", "pyqtgraph", "panel", "neuroconv"]

SCRIPT = """
import json, sys
from importlib.machinery import PathFinder

found, hidden = PathFinder.find_spec, set(json.loads(sys.argv[1]))


def without_extras(name, path=None, target=None):
    return None if name.partition(".")[0] in hidden else found(name, path, target)


PathFinder.find_spec = without_extras
import si_curation as sic

folder = sic.example_folder()
analyzer = sic.read_kilosort_as_analyzer(folder)
analyzer.compute(["template_features", "cross_correlograms", "spike_waveforms", "curation_metrics"])
done = [sic.suggest_merges(analyzer), sic.suggest_splits(analyzer), sic.suggest_cleaning(analyzer)]
done += [sic.plan_curation(analyzer), sic.plot_unit_overview(analyzer, 13)]
sic.export_report(analyzer, "page.html")
recipe = "extensions:\\n  unit_similarity: {}\\n"
results = sic.run_batch({"one": folder}, recipe, "batch", num_workers=0, progress_bar=False)
model = sic.LabelModel.load(sys.argv[2]).label(analyzer)
messages = {}
for name, call in {
    "nwb": lambda: sic.export_to_nwb(analyzer, "file.nwb"),
    "batch": lambda: sic.run_batch({"one": folder}, recipe, "workers", progress_bar=False),
    "learn": lambda: sic.learn_labels([folder, folder]),
    "gui": lambda: sic.open_gui(analyzer),
}.items():
    try:
        call()
    except sic.MissingDataError as error:
        messages[name] = str(error)
print(json.dumps([len(done), results.table["status"].tolist(), len(model.labels), messages]))
"""


def labelled_table():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"firing_rate": rng.uniform(1, 9, 60), "session": np.arange(60) % 2})
    table["group"] = np.where(table["firing_rate"] + rng.normal(size=60) > 5, "good", "mua")
    return table


@pytest.mark.slow
def test_the_base_works_without_extras_and_names_each(tmp_path):
    model = sic.learn_labels(labelled_table(), metric_params="default")
    model.save(tmp_path / "model.json")
    environment = {**os.environ, "PYTHONPATH": str(Path(sic.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT, json.dumps(OF_EXTRAS), str(tmp_path / "model.json")]
    run = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
    )
    assert run.returncode == 0, run.stderr
    suggested, statuses, labelled, messages = json.loads(run.stdout.splitlines()[-1])
    assert (suggested, statuses, labelled) == (5, ["done"], 8)
    assert list(messages) == ["nwb", "batch", "learn", "gui"]
    for extra, message in messages.items():
        assert f'pip install "si_curation[{extra}]"' in message
        assert "\n" not in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch", "model.json", "page.html"]


def test_learning_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(sic.MissingDataError, match=re.escape('"si_curation[learn]"')):
        sic.learn_labels(labelled_table())
