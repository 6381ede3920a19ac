# %% [markdown]
# # 1. I curated in phy, now what?
#
# You sorted with Kilosort and spent an afternoon in phy. Now a script needs the spikes, the
# labels and the channels of each unit as phy showed them.
#
# The trap: phy writes your merges and splits into `spike_clusters.npy` and leaves all the rest as
# the sorter wrote it. From then on a cluster id is no longer a row of `templates.npy`, and a
# script that takes it for one gives some units another unit's waveform and channels. Ten lines do
# it right, without the raw recording. The folder is read, never changed.

# %%
import pandas as pd

import si_curation as sic

folder = sic.example_folder()  # or your own, such as "mouse1/day1/kilosort4"
analyzer = sic.read_kilosort_as_analyzer(folder)
analyzer.compute(["template_best_channels", "cross_correlograms", "unit_similarity"])

spikes = analyzer.sorting
print("units:", spikes.unit_ids.tolist())
groups = pd.Series(spikes.get_property("quality"), index=spikes.unit_ids)
print("phy's groups:", groups.to_dict())
times_s = {unit: spikes.get_unit_spike_train(unit, return_times=True) for unit in spikes.unit_ids}
print("spike times of unit 4 (s):", times_s[4][:3].round(4).tolist())
best = analyzer.get_extension("template_best_channels")
print("best channels of unit 13:", best.get_best_channels(13)[:3].tolist())

# %% [markdown]
# These are phy's clusters under phy's ids, and the group of a cluster that nobody labelled is
# `unsorted`, as in phy. `analyzer` is SpikeInterface's `SortingAnalyzer`: whatever works on one
# works here.
#
# ## What has been done to each unit
#
# The sorter's templates are never rewritten, so that the folder still tells what was merged and
# what was split, whoever did it and when.

# %%
lineage = sic.reconstruct_lineage(analyzer)
print(lineage[["event", "num_spikes", "templates"]].to_string())

# %% [markdown]
# Units **10** and **13** were merged by hand; **11** and **12** are the parts of template 3. Unit
# 13 consists of the spikes of templates 1, 0 and 2, most of them from template 1, which is the
# one that phy shows for it. The row 13 of `templates.npy` does not even exist.

# %%
lineage_figure = sic.plot_lineage(analyzer)
lineage_figure.figure.savefig("lineage.png", dpi=150)
lineage_figure

# %% [markdown]
# ## See it
#
# Each view of phy is one call that starts with `sic.plot_`. A figure is saved by
# `.figure.savefig("name.pdf")`; a notebook shows the last value of a cell.

# %%
templates_figure = sic.plot_best_channels(analyzer)
templates_figure.figure.savefig("best_channels.png", dpi=150)
templates_figure

# %% [markdown]
# ## Go on
#
# - Save it: `analyzer.save_as(format="zarr", folder="curated.zarr")`. Where it is loaded again,
#   `import si_curation` first.
# - Leave noise out: `sic.read_kilosort_as_analyzer(folder, exclude_groups=["noise"])`.
# - Amplitudes in µV: give the gain of the recording, `gain_to_uV=`.
# - One page to send to a colleague: `sic.export_report(analyzer, "session.html")`.
# - Whether unit 13 deserves its label `good` is the matter of tutorial 3.
