# %% [markdown]
# # 6. Hundreds of sessions
#
# What worked for one session has to be done for all of them, in the same way, and the one broken
# folder among three hundred must not stop the others at four in the morning. Six small sessions
# are simulated here, sorted with three versions of Kilosort; one is then damaged.

# %%
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import si_curation as sic

data = Path(tempfile.mkdtemp()) / "data"
sorters = ["kilosort2", "kilosort2.5", "kilosort4"]
for number in range(6):
    sic.simulate_kilosort_folder(
        data / f"mouse{number // 2 + 1}_day{number % 2 + 1}",
        dialect=sorters[number // 2],
        num_templates=12,
        num_spikes=6000,
        curation=3,
        seed=number,
    )
shutil.copytree(sic.example_folder(), data / "mouse4_day1")
broken = data / "mouse3_day2" / "spike_clusters.npy"
np.save(broken, np.load(broken)[:-100])

# %% [markdown]
# ## First the doctor
#
# `check_phy_folder` reads and never writes. An `error` keeps a folder from being read, a
# `warning` may make results wrong. On the command line: `si-curation check "data/*"`.

# %%
for folder in sorted(data.iterdir()):
    findings = sic.check_phy_folder(folder)
    count = {s: sum(f.severity == s for f in findings) for s in ("error", "warning", "info")}
    print(folder.name, count)
    for finding in findings:
        if finding.severity != "info":
            print(f"    {finding.severity}: {finding.where}: {finding.what}")
            print(f"        {finding.advice}")

# %% [markdown]
# The damaged folder is found before a night is lost: **5900 entries, expected 6000**. (A
# `warning` is worth a look too: in the curated example one unit has spikes that were found twice,
# since templates were merged.) Infos, such as a raw file that has been moved, are printed by the
# command.
#
# ## One recipe
#
# A recipe says what is done with each session. It is checked as a whole before anything is
# computed. `si-curation batch --example-recipe` prints one with every key explained.

# %%
recipe = data.parent / "recipe.yaml"
recipe.write_text(
    """
extensions:
  template_best_channels: {num_channels: 12}
  unit_similarity: {}
  cross_correlograms: {window_ms: 50.0, bin_ms: 1.0}
  curation_metrics: {}
merges:
  apply: false          # suggestions are written, for a person to decide
labels:
  rules:
    - {metric: presence_ratio, comparison: "<", threshold: 0.9, label: mua}
  keep_existing: true   # what was labelled by hand stays
exports:
  analyzer: zarr
  tables: [best_channels, lineage]
""",
    encoding="utf-8",
)
# num_workers=0: one session after another in this process
result = sic.run_batch(data / "*", recipe, data.parent / "results", num_workers=0)
print(len(result.table), "sessions,", len(result.failed), "failed")
print(result.table[["session", "status", "num_units", "num_spikes"]].to_string(index=False))
print(result.failed.error.iloc[0].replace(str(data), "..."))

# %% [markdown]
# **7 sessions, 1 failed**: the others are done, and the row of the one that failed says why in
# the words of the doctor. `result.table` is also in `sessions.csv`, with seconds and versions of
# each session.
#
# ## All units of all sessions

# %%
units = result.units
print(units.groupby("session")[["num_spikes", "firing_rate"]].median().to_string())
print("written:", sorted(path.name for path in result.output_folder.iterdir()))

# %% [markdown]
# `summary.html` shows that as a page, with the metrics of each session and links to its outputs.
#
# ## Repair, and go on
#
# Say the lost rows come back from a backup (here: what phy had not touched). Call it again:
# sessions that are done are recognised by the content of their files, the recipe and the
# versions, and only the repaired one is computed. Now from the command line, as on a server:

# %%
SI_CURATION = [sys.executable, "-m", "si_curation.cli"]  # in a shell: si-curation
shutil.copy(broken.with_name("spike_templates.npy"), broken)
done = subprocess.run(
    [*SI_CURATION, "batch", recipe, data / "*", "--output", result.output_folder],
    stdout=subprocess.PIPE,
    text=True,
    check=False,
)
print(done.stdout.replace(str(data.parent), "..."), "exit code", done.returncode)

# %% [markdown]
# Six sessions are **skipped: already done**, one is new, and the **exit code** is **0** now. The
# same happens after a power cut: the outputs of a session appear as a whole or not at all.
#
# ## A cluster
#
# Nothing changes but the workers. `client=` (on the command line `--scheduler ADDRESS`) is any
# Dask cluster; with dask-jobqueue the workers are SLURM jobs:
#
# ```python
# from dask_jobqueue import SLURMCluster
# from distributed import Client
#
# with SLURMCluster(cores=4, processes=1, memory="16GB", walltime="04:00:00") as cluster:
#     cluster.adapt(maximum_jobs=40)
#     with Client(cluster) as client:
#         sic.run_batch("sessions.csv", "recipe.yaml", "results", client=client)
# ```
#
# `docs/slurm_batch.py` is that as a script, and `docs/batch.md` tells the rest: tables of
# sessions, NWB and reports for each, and whether a result survives stricter quality with sessions
# as groups. In a script with several workers the call belongs below `if __name__ == "__main__":`,
# as always with processes in Python.
