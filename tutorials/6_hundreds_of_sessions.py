# %% [markdown]
# # 6. Hundreds of sessions
#
# The same steps have to be done for all sessions, and one broken folder must not stop the
# others. Six small sessions are simulated here, as sorted by three versions of Kilosort; one is
# then damaged.

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
# ## Check the folders
#
# `check_phy_folder` never writes. A folder with an `error` cannot be read; a `warning` may make
# results wrong. On the command line: `si-curation check "data/*"`.

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
# The damaged folder is found before the batch is run: **5900 entries, expected 6000**. (Look at
# each `warning` too: in the curated example one unit has spikes that were found twice, since
# templates were merged.) The command also prints infos, such as a raw file that has been moved.
#
# ## One recipe
#
# A recipe lists what is done with each session. The whole recipe is checked before anything is
# computed. `si-curation batch --example-recipe` prints a recipe that explains every key.

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
  keep_existing: true   # labels made by hand are kept
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
# **7 sessions, 1 failed**: the other sessions are done, and the row of the failed one has the
# error, as in the check above. `result.table` is also written to `sessions.csv`, with seconds
# and versions of each session.
#
# ## All units of all sessions

# %%
units = result.units
print(units.groupby("session")[["num_spikes", "firing_rate"]].median().to_string())
print("written:", sorted(path.name for path in result.output_folder.iterdir()))

# %% [markdown]
# `summary.html` is a page of these tables, with the metrics of each session and links to its
# outputs.
#
# ## Repair and continue
#
# Suppose that the lost rows are restored from a backup (here: from `spike_templates.npy`). Run
# the batch again: finished sessions are recognized by the content of their files, the recipe
# and the versions, and only the repaired one is computed. This time from the command line, as
# on a server:

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
# Six sessions are **skipped: already done**, one is computed, and the **exit code** is **0**
# now. The same works after a power failure: the outputs of a session appear as a whole or not
# at all.
#
# ## A cluster
#
# Only the workers change. `client=` (on the command line `--scheduler ADDRESS`) is any Dask
# cluster; with dask-jobqueue the workers are SLURM jobs:
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
# `docs/slurm_batch.py` is a script that does this. `docs/batch.md` describes the rest: tables
# of sessions, NWB files and reports for each, and whether a result holds under stricter quality
# with sessions as groups. In a script with several workers, put the call below `if __name__ ==
# "__main__":`, as always with processes in Python.
