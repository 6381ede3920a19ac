"""What each column of `contamination_panel` is, its units and where its formula comes from."""

from __future__ import annotations

from si_curation.kernels.contamination import SLIDING_CONFIDENCE, SLIDING_REFERENCE

_UMS = "UltraMegaSort2000, rpv_contamination; SpikeInterface, isi_violation"
_HILL = "Hill et al. 2011, J. Neurosci. 31:8699"
_LLOBET = "Llobet et al. 2022, bioRxiv 2022.02.08.479192"
_SLIDING = "Steinmetz lab and IBL, slidingRefractory; SpikeInterface, sliding_rp_violation"
_KILOSORT = "Kilosort 4, CCG.py; the names are the other way round in Kilosort 2 and 3"

CONTAMINATION_MODELS = {
    "isi_violations_ratio": f"rate of adjacent violations over firing rate, 1 ({_UMS})",
    "hill_contamination": (
        "share of the spikes that are one other neuron's, from adjacent violations, 0 to 0.5 "
        f"({_HILL})"
    ),
    "rp_contamination": (
        "share of the spikes that are many other neurons', from all pairs, 0 to 1 "
        f"({_LLOBET}; SpikeInterface, rp_violation)"
    ),
    "rp_contamination_one_neuron": (
        f"share of the spikes that are one other neuron's, from all pairs, 0 to 0.5 ({_LLOBET})"
    ),
}
CONTAMINATION_DESCRIPTIONS: dict[str, str] = {
    "num_spikes": "number of spikes, count",
    "firing_rate_hz": "spikes per duration of the recording, Hz",
    "refractory_period_ms": "refractory period of all columns but sliding_* and kilosort_*, ms",
    "refractory_period_source": "where it came from: given, autocorrelogram or default",
    "isi_violations_count": (
        "adjacent violations: intervals of consecutive spikes shorter than the refractory period, "
        "count (SpikeInterface, isi_violation)"
    ),
    "rp_violations": (
        "violations of all pairs: pairs of any two spikes not further apart than the refractory "
        "period, count (SpikeInterface, rp_violation)"
    ),
    "censored_pairs": "pairs of spikes closer than the censored period, count",
    "expected_pairs": (
        "pairs within the refractory period, were all spikes independent, count "
        "(N^2 (t_r - t_c) / (T - 2 N t_c))"
    ),
}
for _name, _text in CONTAMINATION_MODELS.items():
    CONTAMINATION_DESCRIPTIONS[_name] = _text
    for _end in ("lower", "upper"):
        CONTAMINATION_DESCRIPTIONS[f"{_name}_{_end}"] = (
            f"{_end} end of the confidence interval of {_name} (Poisson interval of the violations;"
            " Garwood 1936)"
        )
CONTAMINATION_DESCRIPTIONS |= {
    "sliding_rp_violation": (
        f"smallest contamination that a refractory period rules out with {SLIDING_CONFIDENCE:.0%} "
        f"confidence, itself an upper bound, 0.005 to 0.35 ({_SLIDING})"
    ),
    "sliding_rp_period_ms": f"refractory period that rules it out best, ms ({_SLIDING})",
    "sliding_rp_confidence": (
        f"largest confidence that contamination is below {SLIDING_REFERENCE:.0%}, 0 to 1 "
        f"({_SLIDING})"
    ),
    "kilosort_r12": (
        "smallest ratio of the centre of the autocorrelogram (1 to 10 ms) to its shoulders, 1; "
        f"100 times it is ContamPct ({_KILOSORT})"
    ),
    "kilosort_q12": (
        f"smallest probability of so few pairs in the centre by chance, 0 to 1 ({_KILOSORT})"
    ),
    "reason": "which of the columns above are NaN and why; empty where none is",
}
COMPARABLE_CONTAMINATION_COLUMNS: tuple[str, ...] = (
    "firing_rate_hz",
    *(f"{name}{end}" for name in CONTAMINATION_MODELS for end in ("", "_lower", "_upper")),
    "sliding_rp_violation",
    "sliding_rp_confidence",
    "kilosort_r12",
    "kilosort_q12",
)
