# %% [markdown]
# # 3. Merge decisions with evidence
#
# A curator decides whether two units are the same neuron. A wrong merge is worse than a missing
# one: the merged unit responds to whatever any of its neurons responds to. The evidence is in
# the folder that the sorter wrote; no recording is needed. The example was curated in phy, with
# deliberate mistakes.

# %%
import pandas as pd

import si_curation as sic

analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
analyzer.compute(
    ["template_best_channels", "template_features", "unit_similarity", "cross_correlograms"]
)

# %% [markdown]
# ## Wrong merges
#
# phy does not show what a merged cluster was made of, but the files do: each spike keeps the
# template that found it. If the spikes of two templates come from one neuron, they are hardly
# ever closer to each other than its refractory period.

# %%
bad = sic.find_bad_merges(analyzer)
columns = ["unit_id", "template_id_a", "template_id_b", "observed", "expected", "ratio_allowed"]
print(bad[columns].round(2).to_string(index=False))
groups = pd.Series(analyzer.sorting.get_property("quality"), index=analyzer.unit_ids)
print("phy's groups:", groups[[10, 13]].to_dict())
contamination = sic.contamination_panel(analyzer)
shown = ["num_spikes", "rp_violations", "expected_pairs", "rp_contamination"]
print(contamination.loc[[10, 13], shown].round(2).to_string())

# %% [markdown]
# Both merges are wrong. In each pair of templates, spikes coincide within the refractory period
# about as often as those of two independent neurons (**20** times where **14.50** are expected,
# **19** where **20.48** are), while contamination of one neuron would explain less than a fifth
# of that (`ratio_allowed`). The curator correctly labelled unit 10 `mua`, but labelled unit 13
# `good`: it has **58** refractory violations, and a random train of its rate would have
# **33.17**.

# %%
unit_page = sic.plot_unit_overview(analyzer, 13)
unit_page.figure.savefig("unit_overview.png", dpi=150)
unit_page

# %% [markdown]
# The page shows three templates of different amplitude and location, amplitudes in three bands,
# and a peak in the autocorrelogram where a neuron has a gap.
# `sic.plot_unit_templates_by_source`, `sic.plot_cross_correlograms`, `sic.plot_contamination`
# and others draw each panel alone.
#
# ## Wrong splits

# %%
suggestions = sic.suggest_merges(analyzer)
best = suggestions.table.iloc[0]
print(f"{best.unit_id_a} and {best.unit_id_b}: score {best.score:.2f}")
for reason in best.reason.split("; "):
    print(" -", reason)
print("next best score:", round(suggestions.table.score[1], 4))

# %% [markdown]
# One pair stands out. Read the reasons before the score: these units fire so rarely that only
# about one coincidence is expected, so the cross-correlogram is no evidence for or against a
# merge. The evidence for a merge is that the sorter found both with one template, and that
# amplitude and depth are continuous. Look at the pair:

# %%
pair_page = sic.plot_pair_overview(analyzer, 11, 12)
pair_page.figure.savefig("pair_overview.png", dpi=150)
pair_page

# %% [markdown]
# The amplitudes of both form one band that was cut in the middle, the templates are equal, and
# the autocorrelogram of both together keeps its gap. One neuron was split by amplitude.
#
# ## Apply the decisions, with reasons
#
# With `journal=`, each step is written to disk at once, and `CurationSession.resume` continues
# later.

# %%
session = sic.CurationSession(analyzer, decided_by="me")
together = session.merge([11, 12], reason="one amplitude band, one template of the sorter")
parts = session.split_by_template(13, reason="templates meet within the refractory period")
parts += session.split_by_template(10, reason="templates meet within the refractory period")
print("11 + 12 =", together, "| 13 and 10 in parts:", parts)
curated = session.apply()
after = sic.contamination_panel(curated)
shown = ["num_spikes", "rp_violations", "rp_contamination", "rp_contamination_upper"]
print(after.loc[[together, *parts], shown].round(2).to_string())
print("bad merges left:", len(sic.find_bad_merges(curated)))
print(session.history[["operation", "inputs", "outputs", "reason"]].to_string(index=False))

# %% [markdown]
# The parts of 13 and 10 have almost no violations, and no bad merge is left. The upper ends of
# the intervals show the uncertainty: **295** and **548** spikes are too few to rule out any
# contamination (`rp_contamination_upper` of **1.00**), and a contamination of NaN means that
# there are not enough spikes to estimate it. The estimate alone would look like that of a clean
# unit.
#
# `sic.export_to_phy(curated, "for_phy")` writes a folder for phy, `sic.update_phy_folder`
# writes into the folder that was read (with a backup), and
# `session.to_spikeinterface_curation()` returns the steps in SpikeInterface's format.
