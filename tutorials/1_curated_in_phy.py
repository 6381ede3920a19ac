# %% [markdown]
# # 1. I curated in phy, now what?
#
# You sorted with Kilosort and curated in phy. Now a script needs the spikes, the labels and the
# channels of each unit as phy showed them.
#
# phy writes merges and splits into `spike_clusters.npy` and leaves the other arrays as the
# sorter wrote them. From then on a cluster id is no longer a row of `templates.npy`. A script
# that uses it as one assigns some units the waveform and channels of another unit. The ten
# lines below read the folder correctly, without the raw recording. The folder is not changed.

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
# The units are phy's clusters with phy's ids. The group of a cluster without a label is
# `unsorted`, as in phy. `analyzer` is a SpikeInterface `SortingAnalyzer`, so all functions of
# SpikeInterface that take one work.
#
# ## Which units were merged or split
#
# phy never rewrites the sorter's templates. So the folder still shows which units were merged
# and which were split.

# %%
lineage = sic.reconstruct_lineage(analyzer)
print(lineage[["event", "num_spikes", "templates"]].to_string())

# %% [markdown]
# Units **10** and **13** were merged by hand; **11** and **12** are the parts of template 3.
# Unit 13 consists of the spikes of templates 1, 0 and 2. Most are from template 1, which phy
# shows for this unit. `templates.npy` has no row 13.

# %%
lineage_figure = sic.plot_lineage(analyzer)
lineage_figure.figure.savefig("lineage.png", dpi=150)
lineage_figure

# %% [markdown]
# ## Figures
#
# Functions that start with `sic.plot_` draw phy's views. `.figure.savefig("name.pdf")` saves a
# figure; a notebook shows the last value of a cell.

# %%
templates_figure = sic.plot_best_channels(analyzer)
templates_figure.figure.savefig("best_channels.png", dpi=150)
templates_figure

# %% [markdown]
# ## Next steps
#
# - Save it: `analyzer.save_as(format="zarr", folder="curated.zarr")`. Before you load it again,
#   `import si_curation`.
# - Without noise: `sic.read_kilosort_as_analyzer(folder, exclude_groups=["noise"])`.
# - Amplitudes in µV: give the gain of the recording, `gain_to_uV=`.
# - One page to send to a colleague: `sic.export_report(analyzer, "session.html")`.
# - Tutorial 3 examines whether unit 13 deserves its label `good`.
