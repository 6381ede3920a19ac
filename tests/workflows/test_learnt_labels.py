"""How right learnt labels are on recordings that were left out, on labels of human curators.

The labels are of the UnitRefine project (MIT, Anoushka Jain and the UnitRefine authors).
"""

import numpy as np
import pandas as pd
import pytest

import si_curation as sic

NOT_OURS = ["sync_spike_2", "sync_spike_4", "sync_spike_8", "isi_violations_count", "rp_violations"]


def table_of(folder, name, labels):
    table = pd.read_csv(folder / f"{name}.csv").dropna(subset=["firing_rate"])
    table["group"] = np.array(labels)[table.pop("label")]
    table["session"] = table.pop("recording")
    return table.drop(columns=NOT_OURS).reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "labels", "auc", "preset"),
    [("noise_neural", ["neural", "noise"], 0.92, 0.64), ("sua_mua", ["mua", "sua"], 0.89, 0.68)],
)
def test_recordings_that_were_left_out(shared_data, name, labels, auc, preset):
    table = table_of(shared_data / "unitrefine", name, labels)
    summary = sic.learn_labels(table).report().summary.set_index("measure")["value"]
    assert summary[f"auc: {labels[0]} or {labels[1]}"] >= auc
    # the best of the presets, see benchmarks/bench_labels.py
    assert summary["balanced_accuracy"] >= preset + 0.1


@pytest.mark.slow
def test_the_accuracy_that_is_asked_for_is_reached(shared_data, monkeypatch):
    # the learning curve, which takes two thirds of the time, is not looked at
    monkeypatch.setattr("si_curation.learning.model._CURVE", ())
    table = table_of(shared_data / "unitrefine", "sua_mua", ["mua", "sua"])
    right = []
    for session in table["session"].unique():
        rows = table[table["session"] == session]
        model = sic.learn_labels(table[table["session"] != session], accuracy=0.95)
        found = model.label(metrics=rows.drop(columns=["group", "session"])).table
        right += (found["label"] == rows["group"])[found["decided"]].tolist()
    assert 0.93 <= np.mean(right) <= 0.97
    assert len(right) > 0.55 * len(table)
