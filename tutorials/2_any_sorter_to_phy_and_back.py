# %% [markdown]
# # 2. From any sorter to phy and back
#
# phy was made for Kilosort, but the result of every sorter needs manual curation. Here a
# simulated recording is sorted by a sorter that is part of SpikeInterface. The clear merges are
# done in code, the rest is left to phy, and the result of phy is read back. With your data only
# the first cell changes: `"simple"` becomes `"kilosort4"`, `"spykingcircus2"`...

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
# The sorter was set to ten clusters, but there are six neurons: some are split in two.
#
# ## What phy shows
#
# SpikeInterface computes templates and amplitudes; the extensions of this package follow. For
# other sorters than Kilosort, the units at this point are taken as the templates, and their
# lineage is kept from here on.

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
# Each suggestion has its reasons. A dip in the cross-correlogram means that the spikes of two
# units respect a common refractory period, as the parts of one neuron do and two neurons do
# not. Where there are too few spikes to see a dip, the reason says so, and the score is lower.
#
# ## Apply the clear merges
#
# Each step is recorded with its reason; `undo()` reverts the last one. `analyzer` does not
# change: `apply()` returns a new analyzer.

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
# The accuracy of the six neurons rises, because the parts of each neuron are merged.
#
# ## To phy
#
# The folder has the result of the sorter and the curation. With `principal_components` phy
# shows its FeatureView, and with `template_features` its TemplateFeatureView, for which only
# Kilosort 1 and 2 write a file.

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
# Suppose that you labelled one unit good in phy, and saved. phy writes the label into
# `cluster_group.tsv`; here the file is written by the script.

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
# Ids, spikes and labels are those of phy. Units that you merge or split in phy are read in the
# same way, and `sic.reconstruct_lineage(back)` shows which templates they came from. To write
# labels and metrics into an existing phy folder, see `sic.update_phy_folder` and
# `sic.write_phy_columns`.
