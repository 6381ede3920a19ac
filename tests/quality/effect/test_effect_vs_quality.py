"""An effect against sorting quality: tables, verdicts against the truth, the figure."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import si_curation as sic
from si_curation.quality.effect.directions import QUALITY_DIRECTIONS
from si_curation.quality.effect.effect_vs_quality import effect_vs_quality
from si_curation.quality.effect.verdict import Evidence, judge_effect, verdict_text
from si_curation.views.effect_vs_quality import plot_effect_vs_quality

FAST = {"num_bootstraps": 200, "num_permutations": 199}


def population(seed, num_units=100):
    """Metrics as a sorting has them; contamination, rate and amplitude are independent."""
    rng = np.random.default_rng(seed)
    contamination = rng.exponential(0.1, num_units)
    log_rate = rng.normal(1.0, 1.0, num_units)
    metrics = pd.DataFrame(
        {
            "rp_contamination": contamination * rng.lognormal(0.0, 0.1, num_units),
            "presence_ratio": 1 / (1 + np.exp(-log_rate - rng.normal(0.0, 1.0, num_units))),
            "firing_rate": np.exp(log_rate),
            "amplitude_median": -rng.lognormal(4.5, 0.5, num_units),
        },
        index=np.arange(num_units) * 3 + 5,
    )
    noise = pd.Series(rng.normal(0.0, 1.0, num_units), index=metrics.index)
    return metrics, contamination, log_rate, noise


# the verdict


def evidence(effect, lower, upper, z, p):
    n = np.linspace(100, 20, len(effect)).astype(int)
    return Evidence(n, *(np.array(a, dtype=float) for a in (effect, lower, upper, z, p)))


@pytest.mark.parametrize(
    ("effect", "lower", "upper", "z", "p", "verdict", "words"),
    [
        ([1, 0.9], [0.8, 0.5], [1.2, 1.3], [0, 1], [1, 0.3], "stable", "no more than random"),
        ([1, 0.9], [0.8, -0.1], [1.2, 1.9], [0, 1], [1, 0.3], "stable", "too few to exclude"),
        ([0, 0.1], [-0.2, -0.1], [0.2, 0.3], [0, 1], [1, 0.3], "stable", "no clear effect"),
        ([1, 0.5], [0.8, 0.3], [1.2, 0.7], [0, -4], [1, 0.01], "shrinks", "beyond random"),
        ([1, 0.5], [0.8, -0.1], [1.2, 1.1], [0, -4], [1, 0.01], "shrinks", "may vanish"),
        ([1, 0.1], [0.8, -0.1], [1.2, 0.3], [0, -4], [1, 0.01], "vanishes", "from 0"),
        ([-1, -0.1], [-1.2, -0.3], [-0.8, 0.1], [0, 4], [1, 0.01], "vanishes", "from 0"),
        ([1, -0.3], [0.8, -0.5], [1.2, -0.1], [0, -4], [1, 0.01], "vanishes", "-0.3 [-0.5, -0.1]"),
        ([1, 1.5], [0.8, 1.3], [1.2, 1.7], [0, 4], [1, 0.01], "grows", "beyond random"),
        ([-1, -2], [-1.2, -2.2], [-0.8, -1.8], [0, -4], [1, 0.01], "grows", "p = 0.01"),
        ([1, 2, 0.1], [0.8, 1.8, -0.1], [1.2, 2.2, 0.3], [0, 5, -4], [1, 0.01, 0.01], "grows", ""),
    ],
)
def test_verdict(effect, lower, upper, z, p, verdict, words):
    found, reasons = judge_effect(evidence(effect, lower, upper, z, p), 0.0, 0.05)
    reason = verdict_text(reasons)
    assert found == verdict
    assert words in reason
    assert reason.startswith(f"{effect[0]:.3g} with all 100 units")
    shifted = [np.array(a, dtype=float) + 7 for a in (effect, lower, upper)]
    assert judge_effect(evidence(*shifted, z, p), 7.0, 0.05)[0] == verdict


# the whole


def test_table_is_what_it_says():
    metrics, contamination, _, noise = population(0)
    effect = 1.0 + 5 * contamination + noise
    result = effect_vs_quality(effect, metrics, **FAST)
    assert result.effect == pytest.approx(effect.mean())
    pd.testing.assert_series_equal(result.values, effect.rename("effect"))
    assert result.notes == ()
    for row in result.table.itertuples():
        values = metrics[row.metric].abs()
        kept = values >= row.threshold if row.comparison == ">=" else values <= row.threshold
        assert kept.sum() == row.n_units
        assert effect[kept].mean() == pytest.approx(row.effect)
        assert row.lower < row.effect < row.upper
        assert row.removed_lower <= effect.mean() + 1e-9
        assert row.p_random_removal <= row.p_adjusted
    assert result.table.groupby("metric")["n_units"].agg(list).map(tuple).nunique() == 1
    assert result.table["n_units"].tolist()[:9] == [100, 90, 80, 70, 60, 50, 40, 30, 20]
    for name, row in result.summary.iterrows():
        values = metrics[name].abs() * (-1 if name == "rp_contamination" else 1)
        assert row["rho"] == pytest.approx(stats.spearmanr(values, effect).statistic)
        others = [c for c in ("firing_rate", "amplitude_median") if c != name]
        assert row["covariates"] == ", ".join(others)
        table = result.table[result.table["metric"] == name]
        assert row["p_removal"] == table["p_adjusted"].iloc[1:].min()
    p = result.summary["p_removal"].to_numpy()
    np.testing.assert_allclose(result.summary["p_removal_holm"].min(), min(p.min() * 4, 1.0))


def test_intervals_are_those_of_scipy():
    metrics, _, _, noise = population(1)
    table = effect_vs_quality(noise, metrics, ["firing_rate"], num_bootstraps=4000).table
    for row in table.iloc[[0, 4, 8]].itertuples():
        kept = noise[metrics["firing_rate"] >= row.threshold].to_numpy()
        expected = stats.bootstrap(
            [kept], np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(0)
        ).confidence_interval
        spread = np.ptp(expected)
        np.testing.assert_allclose([row.lower, row.upper], expected, atol=0.08 * spread)


def test_median_and_functions_are_the_same_thing():
    metrics, contamination, _, noise = population(2, 40)
    effect = contamination + noise
    names = ["rp_contamination"]
    few = {"num_bootstraps": 50, "num_permutations": 49, "keep": (1.0, 0.5)}
    by_name = effect_vs_quality(effect, metrics, names, statistic="median", **few)
    by_call = effect_vs_quality(effect, metrics, names, statistic=np.median, **few)
    pd.testing.assert_frame_equal(by_name.table, by_call.table)
    pd.testing.assert_frame_equal(by_name.summary, by_call.summary)
    of_ids = effect_vs_quality(lambda ids: effect[ids].mean(), metrics, names, **few)
    mean = effect_vs_quality(effect, metrics, names, **few)
    pd.testing.assert_frame_equal(of_ids.table, mean.table)
    # the jackknife pseudo-values of a mean are the values
    np.testing.assert_allclose(of_ids.values, mean.values)
    assert of_ids.settings["statistic"] == "function"


def test_the_seed_and_nothing_else_decides():
    metrics, _, _, noise = population(3)
    first = effect_vs_quality(noise, metrics, **FAST)
    again = effect_vs_quality(noise[::-1], metrics[metrics.columns[::-1]], **FAST)
    pd.testing.assert_frame_equal(
        first.summary.drop(columns="p_removal_holm"),
        again.summary.drop(columns="p_removal_holm").loc[first.summary.index],
    )
    other = effect_vs_quality(noise, metrics, seed=1, **FAST)
    assert not other.table["lower"].equals(first.table["lower"])


def test_sign_of_an_effect_does_not_matter():
    metrics, contamination, _, noise = population(4)
    effect = 10 * contamination + noise
    plus = effect_vs_quality(effect, metrics, **FAST)
    minus = effect_vs_quality(-effect, metrics, **FAST)
    assert plus.summary["verdict"].equals(minus.summary["verdict"])
    np.testing.assert_allclose(plus.summary["rho"], -minus.summary["rho"])
    np.testing.assert_allclose(plus.summary["p_removal"], minus.summary["p_removal"])


def test_direction_can_be_overridden():
    metrics, contamination, _, noise = population(5)
    names = ["rp_contamination"]
    as_is = effect_vs_quality(noise, metrics, names, **FAST)
    turned = effect_vs_quality(noise, metrics, names, directions={names[0]: "higher"}, **FAST)
    assert as_is.summary["rho"].iloc[0] == pytest.approx(-turned.summary["rho"].iloc[0])
    assert set(turned.table["comparison"]) == {">="}
    metrics["depth"] = contamination
    found = effect_vs_quality(noise, metrics, ["depth"], directions={"depth": "lower"}, **FAST)
    assert found.summary.index.tolist() == ["depth"]
    with pytest.raises(sic.ParameterError, match="'depth' has no direction"):
        effect_vs_quality(noise, metrics, ["depth"])
    assert "depth" in effect_vs_quality(noise, metrics, **FAST).notes[0]
    with pytest.raises(sic.ParameterError, match="expected 'higher' or 'lower'"):
        effect_vs_quality(noise, metrics, directions={"depth": "up", "snr": 1})


def test_every_metric_of_spikeinterface_has_a_direction():
    from spikeinterface.metrics.quality.quality_metrics import ComputeQualityMetrics

    columns = {c for m in ComputeQualityMetrics.metric_list for c in m.metric_columns}
    # neither more nor less of it is better
    assert columns - set(QUALITY_DIRECTIONS) == {"firing_range"}


def test_thresholds_of_the_user():
    metrics, _, _, noise = population(6)
    names, cuts = ["amplitude_median", "rp_contamination"], {"amplitude_median": [100, 80, 1e9, 1]}
    table = effect_vs_quality(noise, metrics, names, thresholds=cuts, **FAST).table
    table = table[table["metric"] == "amplitude_median"]
    size = metrics["amplitude_median"].abs()
    assert table["threshold"].tolist() == [size.min(), 80.0, 100.0]
    assert table["n_units"].tolist() == [100, (size >= 80).sum(), (size >= 100).sum()]


def test_ties_constants_gaps_and_few_units_are_handled_and_said():
    metrics, contamination, _, noise = population(7)
    metrics["isi_violations_count"] = (contamination * 30).astype(int)
    metrics["nn_hit_rate"] = 0.9
    metrics["d_prime"] = np.where(np.arange(100) < 6, 1.0 + np.arange(100), np.nan)
    metrics["snr"] = np.nan
    metrics["l_ratio"] = pd.array(np.where(np.arange(100) % 2, np.arange(100), -1), "Int64")
    metrics.loc[metrics["l_ratio"] < 0, "l_ratio"] = pd.NA
    metrics["silhouette"] = np.r_[np.zeros(95), np.ones(5)]
    metrics["KSLabel"] = "good"
    result = effect_vs_quality(noise, metrics, **FAST)
    summary = result.summary
    verdicts = summary["verdict"]
    assert verdicts["nn_hit_rate"] == "untested"
    assert summary.loc["nn_hit_rate", "reason"] == "it is 0.9 for all units"
    assert verdicts[["d_prime", "snr", "silhouette"]].tolist() == ["too few units"] * 3
    assert summary.loc["d_prime", "reason"].startswith("6 units have the metric, expected 10")
    assert summary.loc["snr", "n_units"] == 0
    assert "no threshold leaves 10 units" in summary.loc["silhouette", "reason"]
    assert summary.loc["l_ratio", "n_units"] == 50
    assert summary["p_removal"].isna().sum() == 4
    ties = result.table[result.table["metric"] == "isi_violations_count"]
    assert (ties["n_units"].diff().dropna() < 0).all()
    for row in ties.itertuples():
        assert (metrics["isi_violations_count"] <= row.threshold).sum() == row.n_units
    assert "KSLabel" not in summary.index


def test_fewer_than_ten_units():
    metrics, _, _, noise = population(8, 9)
    summary = effect_vs_quality(noise, metrics, **FAST).summary
    assert set(summary["verdict"]) == {"too few units"}
    allowed = effect_vs_quality(noise, metrics, min_units=4, keep=(1.0, 0.5), **FAST)
    assert "too few units" not in set(allowed.summary["verdict"])


def test_units_that_are_on_one_side_only_are_said():
    metrics, _, _, noise = population(9)
    effect = pd.concat([noise.iloc[10:], pd.Series({10_000: 1.0})])
    effect.iloc[0] = np.nan
    result = effect_vs_quality(effect, metrics.drop(columns="firing_rate"), **FAST)
    assert len(result.values) == 89
    assert result.summary["n_units"].tolist() == [89] * 3
    assert result.notes == (
        "covariates that are missing and not held constant: firing_rate",
        "1 units have an effect and no metrics; left out",
        "11 units have metrics and no effect; left out",
    )


def test_covariates_with_gaps_and_the_metric_itself():
    metrics, _, log_rate, noise = population(10)
    metrics["num_spikes"] = metrics["firing_rate"] * 1000
    metrics.loc[metrics.index[:20], "amplitude_median"] = np.nan
    summary = effect_vs_quality(noise + log_rate, metrics, **FAST).summary
    assert np.isnan(summary.loc["num_spikes", "partial_rho"])  # the firing rate over again
    assert "determine the metric" in summary.loc["num_spikes", "reason"]
    assert summary.loc["firing_rate", "covariates"] == "amplitude_median"
    assert np.isfinite(summary.loc["presence_ratio", "partial_rho"])
    alone = effect_vs_quality(noise, metrics, covariates=(), **FAST).summary
    assert alone["partial_rho"].isna().all()
    assert not alone["explained"].any()
    assert alone["reason"].str.contains("given covariates: none is there").all()
    constant = effect_vs_quality(noise * 0 + 2, metrics, **FAST).summary
    assert set(constant["verdict"]) == {"stable"}
    assert constant["reason"].str.contains("the effect is the same for all units").all()


def test_sessions():
    parts = {}
    for session in range(8):
        metrics, _, _, noise = population(20 + session, 30)
        metrics["effect"] = noise + session  # sessions differ, and so does their quality
        metrics["presence_ratio"] += session
        parts[session] = metrics
    table = pd.concat(parts, names=["session", "unit"])
    effect, metrics = table["effect"], table.drop(columns="effect")
    names = ["presence_ratio"]
    pooled = effect_vs_quality(effect, metrics, names, **FAST)
    within = effect_vs_quality(effect, metrics, names, groups="session", **FAST)
    assert "sessions are taken for independent" in pooled.notes[0]
    assert within.notes == ()
    assert pooled.summary["verdict"].iloc[0] == "grows"
    assert within.summary["verdict"].iloc[0] == "stable"
    assert pooled.summary["rho"].iloc[0] > 0.5
    assert abs(within.summary["rho"].iloc[0]) < 0.2
    width = within.table["upper"].iloc[0] - within.table["lower"].iloc[0]
    assert width > 3 * (pooled.table["upper"].iloc[0] - pooled.table["lower"].iloc[0])
    codes = metrics.index.get_level_values("session")
    for groups in (list(codes), pd.Series(codes, index=metrics.index)):
        same = effect_vs_quality(effect, metrics, names, groups=groups, **FAST)
        pd.testing.assert_frame_equal(same.table, within.table)
    seen = []
    few = {"num_bootstraps": 20, "num_permutations": 19, "keep": (1.0, 0.5)}
    effect_vs_quality(lambda ids: seen.append(ids[0]) or len(ids), metrics, names, **few)
    assert isinstance(seen[0], tuple)
    two = metrics.loc[:1]
    assert "2 groups" in effect_vs_quality(effect, two, names, groups="session", **FAST).notes[-1]
    one = effect_vs_quality(effect, metrics.loc[:0], names, groups="session", **FAST)
    assert "one group" in one.notes[0]


def test_all_problems_at_once():
    metrics, _, _, noise = population(11)
    with pytest.raises(sic.ParameterError) as error:
        effect_vs_quality(
            noise,
            metrics,
            alpha=2,
            confidence_level="high",
            null_value=np.nan,
            keep=(1.5,),
            min_units=1,
            num_bootstraps=2.5,
            num_permutations=True,
            seed=-1,
            thresholds={"snr": [1], "firing_rate": [np.nan]},
        )
    for words in (
        "alpha is 2",
        "confidence_level is 'high'",
        "null_value is nan",
        "keep is (1.5,)",
        "min_units is 1",
        "num_bootstraps is 2.5",
        "num_permutations is True",
        "seed is -1",
        "thresholds of 'snr': the metric is not tested",
        "thresholds of 'firing_rate'",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("effect", "change", "words"),
    [
        ([1.0], {}, "expected a Series or a function"),
        (pd.Series(["a"] * 100), {}, "expected numbers"),
        (pd.Series(np.inf, index=[5, 8]), {}, "2 units is infinite"),
        (pd.Series([1.0], index=[1]), {}, "are the unit ids the same"),
        (pd.Series([1.0, 2.0], index=[5, 5]), {}, "two values"),
        (lambda ids: np.nan, {}, "expected a finite number"),
        (lambda ids: ids, {}, "expected one number"),
        (lambda ids: np.nan if len(ids) < 90 else 1.0, {}, "min_units must be larger"),
        (len, {"metrics": [1]}, "expected a DataFrame"),
        (len, {"metric_names": ["snr", "x"]}, "'snr' is no column; 'x' is no column"),
        (len, {"metric_names": "snr"}, "expected a list of texts"),
        (len, {"groups": "session"}, "neither an index level nor a column"),
        (len, {"groups": [1, 2]}, "2 values for 100 units"),
        (len, {"groups": [None] * 100}, "100 units have none"),
    ],
)
def test_what_cannot_be_used(effect, change, words):
    metrics = population(12)[0]
    with pytest.raises(sic.ParameterError, match=words):
        effect_vs_quality(effect, **{"metrics": metrics, **change}, **FAST)


# the truth: fewer runs than the benchmark, bounds that chance crosses once in 10,000 at most


def verdicts(make, metric, groups=None, num_runs=60):
    found = []
    for seed in range(num_runs):
        metrics, contamination, log_rate, noise = population(1000 + seed)
        effect = make(contamination, log_rate) + noise
        options = {"num_bootstraps": 200, "num_permutations": 199, "seed": seed}
        found.append(effect_vs_quality(effect, metrics, [metric], **options).summary.iloc[0])
    return pd.DataFrame(found)


def test_a_real_effect_is_stable():
    found = verdicts(lambda contamination, log_rate: 0.5, "rp_contamination")
    assert (found["verdict"] != "stable").sum() <= stats.binom.ppf(0.9999, 60, 0.05)


def test_an_artefact_of_contamination_vanishes():
    found = verdicts(lambda contamination, log_rate: 15 * contamination, "rp_contamination")
    assert set(found["verdict"]) <= {"vanishes", "shrinks"}
    assert (found["verdict"] == "vanishes").mean() > 0.6
    assert (found["p_partial"] < 0.05).all()
    assert not found["explained"].any()


@pytest.mark.slow
def test_an_artefact_of_firing_rate_is_caught_by_the_partial_correlation():
    found = verdicts(lambda contamination, log_rate: log_rate, "presence_ratio")
    assert (found["p_rho"] < 0.05).mean() > 0.9
    assert (found["p_partial"] < 0.05).sum() <= stats.binom.ppf(0.9999, 60, 0.05)
    assert found["explained"].mean() > 0.75
    assert found.loc[found["explained"], "reason"].str.contains("given firing_rate").all()


# the figure


@pytest.fixture(scope="module")
def result():
    metrics, contamination, _, noise = population(13)
    metrics["snr"] = np.nan
    metrics["nn_hit_rate"] = 1.0
    return effect_vs_quality(10 * contamination + noise, metrics, **FAST)


def test_the_figure_shows_the_table(result, tmp_path):
    before = plt.get_fignums()
    figure = plot_effect_vs_quality(result).figure
    assert plt.get_fignums() == before
    assert len(figure.axes) == len(result.summary)
    for axes, (name, row) in zip(figure.axes, result.summary.iterrows(), strict=True):
        table = result.table[result.table["metric"] == name]
        assert axes.get_title(loc="left").startswith(row["verdict"])
        shown = f"|{name}|" if name == "amplitude_median" else name
        assert axes.get_xlabel().split()[0] == shown
        lines = [line for line in axes.lines if line.get_marker() == "o"]
        assert len(lines) == (len(table) > 0)
        if lines:
            drawn = lines[0].get_xydata()
            np.testing.assert_allclose(drawn[:, 1], table["effect"])
            np.testing.assert_allclose(1 - drawn[:, 0], table["n_units"] / row["n_units"])
    figure.savefig(tmp_path / "effect.pdf")
    assert (tmp_path / "effect.pdf").stat().st_size > 5000


def test_figures_and_axes_of_the_user(result):
    names = ["rp_contamination", "firing_rate"]
    own, panels = plt.subplots(1, 2)
    assert plot_effect_vs_quality(result, names, axes=panels).figure is own
    assert panels[1].get_xlabel() == "firing_rate ≥"
    assert plot_effect_vs_quality(result, names[:1], ax=panels[0]).figure is own
    plt.close(own)
    figure = plot_effect_vs_quality(result, names).figure.subfigures()
    assert plot_effect_vs_quality(result, names, figure=figure).figure is figure
    with pytest.raises(sic.ParameterError, match="2 axes are given for 6 panels"):
        plot_effect_vs_quality(result, axes=panels)
    with pytest.raises(sic.UnknownIdError, match="d_prime"):
        plot_effect_vs_quality(result, ["d_prime"])
