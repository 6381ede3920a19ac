# %% [markdown]
# # 2. From any sorter to phy and back
#
# phy was made for Kilosort, but merging and splitting by eye is needed after every sorter. Here a
# simulated recording is sorted by a sorter that SpikeInterface brings along, the obvious part of
# the curation is done in code, the rest is left to phy, and what was decided there is read back.
# With your data only the first cell changes: `"simple"` becomes `"kilosort4"`,
# `"spykingcircus2"`...

# %%
import tempfile
from pathlib import Path

import pandas as pd
import spikeinterface.core as si
from spikeinterface.comparison import compare_sorter_to_ground_truth
from spikeinterface.sorters import run_sorter

import si_curation as sic

work = Path(tempfile.mkdtemp())
recording, truth = si.generate_ground_truth_recording(
    durations=[30.0], num_channels=16, num_units=6, seed=0
)
# a file, so that phy can show the traces
recording = recording.save(folder=work / "recording", progress_bar=False)
sorting = run_sorter(
    "simple",
    recording,
    folder=work / "sorter",
    seed=0,
    clusterer="kmeans",
    clusterer_kwargs={"n_clusters": 10, "random_state": 0},
)
print(f"{len(sorting.unit_ids)} units found, {len(truth.unit_ids)} neurons simulated")

# %% [markdown]
# A sorter that is told to make ten clusters makes ten, also of six neurons: some are in two
# pieces.
#
# ## What phy would show
#
# SpikeInterface computes templates and amplitudes; the extensions of this package follow. For a
# sorter that is not Kilosort the units at this moment are the templates, and their lineage is
# kept from here.

# %%
analyzer = si.create_sorting_analyzer(sorting, recording, sparse=True)
analyzer.compute(
    {
        "random_spikes": {},
        "templates": {"operators": ["average"]},
        "spike_amplitudes": {},
        "spike_locations": {"method": "center_of_mass"},
    },
    progress_bar=False,
)
analyzer.compute(["template_assignment", "template_best_channels", "unit_similarity"])
suggestions = sic.suggest_merges(analyzer)
print("suggested:", suggestions.groups())
for row in suggestions.table.head(3).itertuples():
    print(f"{row.unit_id_a} and {row.unit_id_b}, score {row.score:.2f}: {row.reason}")

# %% [markdown]
# Each suggestion comes with its reasons. Where the cross-correlogram has a dip, two units avoid
# each other's refractory period, as the pieces of one neuron do and two neurons do not. Where it
# cannot be told because the spikes are few, the reason says so, and the score stays lower.
#
# ## Merge what is clear
#
# Steps are recorded with a reason; `undo()` takes any back. Nothing changes in `analyzer`:
# `apply()` makes a new one.

# %%
session = sic.CurationSession(analyzer, decided_by="tutorial")
for group in suggestions.groups(threshold=0.8):
    new_unit = session.merge(group, reason="suggested, score of 0.8 or more")
    print("merged", group, "into", new_unit)
curated = session.apply()
before, after = (
    compare_sorter_to_ground_truth(truth, result).get_performance()["accuracy"].mean()
    for result in (sorting, curated.sorting)
)
print(f"mean accuracy against the truth: {before:.2f} before, {after:.2f} after")

# %% [markdown]
# The accuracy of the six neurons rises, because the pieces of a neuron are together now.
#
# ## To phy
#
# The folder has what the sorter wrote and what was curated. With `principal_components` phy shows
# its FeatureView, and with `template_features` its TemplateFeatureView, which no sorter but
# Kilosort 1 and 2 ever wrote a file for.

# %%
curated.compute(
    {"random_spikes": {"method": "all"}, "waveforms": {}, "principal_components": {}},
    progress_bar=False,
)
curated.compute("templates", operators=["average"])
curated.compute(["template_features", "template_best_channels"], progress_bar=False)
phy_folder = sic.export_to_phy(curated, work / "phy")
print(sorted(path.name for path in phy_folder.glob("*features.npy")))
print(sorted(path.name for path in phy_folder.glob("cluster_*.tsv")))

# %% [markdown]
# `phy template-gui params.py` in that folder opens it.
#
# ## And back
#
# Say that in phy you called one unit good, and saved. phy writes that into `cluster_group.tsv`,
# which is done by hand here.

# %%
good = int(curated.unit_ids[-1])
saved_by_phy = f"cluster_id\tgroup\n{good}\tgood\n"
(phy_folder / "cluster_group.tsv").write_text(saved_by_phy, encoding="utf-8")

back = sic.read_kilosort_as_analyzer(phy_folder)
groups = pd.Series(back.sorting.get_property("quality"), index=back.unit_ids)
print("same units:", back.unit_ids.tolist() == curated.unit_ids.tolist())
num_spikes = [len(one.sorting.to_spike_vector()) for one in (curated, back)]
print("same number of spikes:", num_spikes[0] == num_spikes[1])
print(f"unit {good} is", groups[good])

# %% [markdown]
# Ids, spikes and labels are those that phy showed. Had you merged or split there, the new units
# would be here, and `sic.reconstruct_lineage(back)` would tell from what. To write labels and
# metrics into a folder that phy has already been used on, see `sic.update_phy_folder` and
# `sic.write_phy_columns`.
