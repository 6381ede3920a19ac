# %% [markdown]
# # 4. Quality without raw data, and whether a result holds
#
# Quality metrics can be computed when the recording is not at hand, since the data that they
# need are in the sorter's files. Their use is to answer a question about your result: would it
# be the same with good units only?
#
# ## Metrics, and why some are missing

# %%
import numpy as np
import pandas as pd
import spikeinterface.core as si

import si_curation as sic

analyzer = sic.read_kilosort_as_analyzer(sic.example_folder())
analyzer.compute("curation_metrics")
extension = analyzer.get_extension("curation_metrics")
metrics = extension.get_data()
names = [
    "num_spikes",
    "ContamPct",
    "rp_contamination",
    "rp_contamination_upper",
    "amplitude_cutoff",
]
print(metrics[names].round(3).to_string())

# %% [markdown]
# Kilosort estimates for every unit that **0.0** % of its spikes are contamination
# (`ContamPct`), also for unit 13, which is three neurons (tutorial 3): that number belongs to
# one of its templates. `rp_contamination` is **1.000**. Most other units have too few spikes
# for an estimate: the upper ends of their intervals are high, or the value is NaN.
#
# (Tutorial 3 found 0.28 for unit 10: `contamination_panel` estimates the refractory period of
# each unit, the metrics use SpikeInterface's period, to be comparable with it.)
#
# Every NaN has a reason:

# %%
reasons = extension.get_data(reasons=True)
for unit in (7, 13):
    of_unit = reasons.loc[unit]
    print(unit, of_unit[["rp_contamination", "amplitude_cutoff", "isolation_distance"]].to_dict())

# %% [markdown]
# ## Labels by rules
#
# Rules of the Allen Institute, the IBL and Kilosort have names; your own rules are a table. A
# unit is left `unsorted`, and does not pass, if a metric that the rules need is NaN.

# %%
labels = sic.label_units(analyzer, "allen_documented")
print(labels.labels.to_dict())
for unit in (7, 13):
    print(unit, labels.table.reason[unit])

# %% [markdown]
# Such labels have limits. Unit 10 passes, although it is two neurons (tutorial 3): its
# violations are below the threshold of the rule. `labels.apply_to(session)` labels the units of
# a `CurationSession`, with the rule as the reason.
#
# ## Does a result hold?
#
# No threshold is correct in itself. The question is whether *your result* depends on it. For a
# comparison with ground truth, 60 units are simulated. They fire more while the mouse runs, and
# do *not* respond to reward. But the valve that releases the reward makes an artefact, and in
# some of the units the sorter detected artefacts as spikes.

# %%
rng = np.random.default_rng(1)
duration_s, num_units = 600.0, 60
neurons = si.generate_sorting(
    num_units=num_units,
    durations=[duration_s],
    firing_rates=(3.0, 15.0),
    refractory_period_ms=3.0,
    seed=1,
)
reward_times_s = np.arange(5.0, duration_s, 5.0)
share_at_rest = rng.uniform(0.5, 0.9, num_units)  # of the rate while running
share_artefact = rng.exponential(0.1, num_units).clip(max=0.4) * (rng.random(num_units) < 0.6)


def is_running(times_s):
    """Return whether the mouse runs; it runs every second minute."""
    return times_s // 60.0 % 2 == 1


trains_s = {}
for unit, at_rest, artefact in zip(neurons.unit_ids, share_at_rest, share_artefact, strict=True):
    times_s = neurons.get_unit_spike_train(unit, return_times=True)
    times_s = times_s[is_running(times_s) | (rng.random(times_s.size) < at_rest)]
    num_artefacts = rng.binomial(times_s.size, artefact)
    after_reward_s = rng.choice(reward_times_s, num_artefacts) + rng.uniform(0, 0.3, num_artefacts)
    trains_s[unit] = np.sort(np.concatenate([times_s, after_reward_s]))

# %% [markdown]
# Two results, each one number per unit: the change of its firing rate while running, and after
# reward.

# %%


def running_effect(times_s):
    """Return (running - rest) / (running + rest), of spike counts."""
    return 2.0 * is_running(times_s).mean() - 1.0


def reward_effect(times_s):
    """Return the rate in the 300 ms after reward over the mean rate, minus 1."""
    since_reward_s = times_s % 5.0
    rate_hz = (since_reward_s < 0.3).sum() / (0.3 * reward_times_s.size)
    return rate_hz / (times_s.size / duration_s) - 1.0


running = pd.Series({unit: running_effect(times_s) for unit, times_s in trains_s.items()})
reward = pd.Series({unit: reward_effect(times_s) for unit, times_s in trains_s.items()})
print(f"running {running.mean():.2f}, reward {reward.mean():.2f}")

# %% [markdown]
# Both look like effects: **running 0.16, reward 0.82**. Now the quality of the units.
# (SpikeInterface needs a recording to create an analyzer; this one is a dummy that is not
# read.)

# %%
rate_hz = neurons.sampling_frequency
samples = {unit: np.rint(times_s * rate_hz).astype(int) for unit, times_s in trains_s.items()}
sorting = si.NumpySorting.from_unit_dict([samples], rate_hz)
recording = si.generate_recording(
    num_channels=4, sampling_frequency=rate_hz, durations=[duration_s]
)
mouse = si.create_sorting_analyzer(sorting, recording, sparse=False)
mouse.compute("curation_metrics")
quality = mouse.get_extension("curation_metrics").get_data()

names = ["isi_violations_ratio", "sliding_rp_violation"]
for name, effect in {"running": running, "reward": reward}.items():
    result = sic.effect_vs_quality(effect, quality, names)
    for metric, row in result.summary.iterrows():
        print(f"{name}, {metric}: {row.verdict}\n    {row.reason}")
    figure = sic.plot_effect_vs_quality(result)
    figure.figure.savefig(f"effect_vs_quality_{name}.png", dpi=150)
figure

# %% [markdown]
# In each panel the threshold becomes stricter, and the units fewer, to the right. The grey band
# is the effect when as many units are removed at random: an effect that depends on quality
# leaves the band.
#
# - *Reward* **vanishes**: **0.816 with all 60 units**, and not different from 0 with the best
#   **24**. It was the artefact. A test of reward against baseline would not have shown this.
# - *Running* is **stable** against refractory violations, as a real effect should be. Against
#   the other metric it **shrinks**. Here the whole reason has to be read: that metric can only
#   be small for units with a high firing rate, and **given firing_rate** the correlation
#   disappears. Good units differ from bad ones not only in quality; the covariates account for
#   this.
#
# With several animals or sessions, pass `groups=`: units of one session are not independent.
