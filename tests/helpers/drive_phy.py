"""Drive the real phy without a screen; run by an interpreter that has phy, not by pytest.

    python drive_phy.py FOLDER [OPERATIONS.json [FOLDER OPERATIONS.json ...]]

Opens each FOLDER in phy's TemplateGUI controller, does the operations as phy does them, saves if
there were any, and prints phy's answers for every cluster as one JSON line. Operations are
["merge", [ids]], ["split", [rows], [parts]], ["label", [ids], value, field], ["undo"], ["redo"],
["save"], ["random", seed, steps, few, many, remerges], and ["quit"] as the last, not to save.
"""

import json
import os
import sys
from itertools import zip_longest
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np


def main(folder, operations):
    from phy.apps.template.gui import TemplateController
    from phy.gui.qt import create_app
    from phylib.io.model import load_model

    create_app()
    model = load_model(folder / "params.py")
    controller = TemplateController(
        model=model, dir_path=folder, config_dir=folder / ".phy_config", enable_threading=False
    )
    supervisor = controller.supervisor
    supervisor.n_templates = model.n_templates
    clustering = supervisor.clustering
    for name, *arguments in operations:
        operate(supervisor, name, *arguments)
    if operations and operations[-1][0] != "quit":
        supervisor.save()
    answers = {}
    for cluster in map(int, clustering.cluster_ids):
        answers[cluster] = {
            "num_spikes": int(supervisor.n_spikes(cluster)),
            "template": int(controller.get_template_for_cluster(cluster)),
            "channels": [int(c) for c in controller.get_best_channels(cluster)],
            "group": supervisor.cluster_meta.get("group", cluster) or "unsorted",
        }
    found = {"clusters": answers, "template_features": model.template_features is not None}
    if found["template_features"]:
        # what the TemplateFeatureView of phy draws for the first and the last cluster
        first, last = min(answers), max(answers)
        view = controller.create_template_feature_view()
        points = view.coords([first, last], load_all=True)
        found["pair"] = [first, last]
        found["points"] = [[bunch.x.tolist(), bunch.y.tolist()] for bunch in points]
        # what its AmplitudeView draws of both, and grey behind them
        found["amplitudes"] = {
            kind: [
                [bunch.spike_ids.tolist(), bunch.amplitudes.tolist()]
                for bunch in controller._amplitude_getter(
                    [first, last, None], name=kind, load_all=True
                )
            ]
            for kind in ("template", "feature", "template_feature")
        }
    if model.features is not None:
        found["feature_view"] = feature_view(controller, [min(answers), max(answers)])
        # all templates of a cluster, and how strongly phy draws each
        waveforms = controller._get_template_waveforms(max(answers))
        found["templates"] = [waveforms.data.tolist(), waveforms.masks[:, 0].tolist()]
    print("ANSWERS " + json.dumps(found))


def operate(supervisor, name, *arguments):
    """Do an operation as phy's user does it."""
    if name == "merge":
        supervisor.merge(arguments[0])
    elif name == "split":
        supervisor.split(np.array(arguments[0]), np.array(arguments[1]))
    elif name == "label":
        label(supervisor, arguments[0], *arguments[1:])
    elif name == "random":
        random_steps(supervisor, *arguments)
    elif name in ("undo", "redo", "save"):
        getattr(supervisor, name)()


def label(supervisor, clusters, value, field="group"):
    supervisor.cluster_meta.set(field, clusters, value)
    supervisor._global_history.action(supervisor.cluster_meta)


def random_steps(supervisor, seed, number, few, many, remerges=True):
    """Merge, split, label, undo and redo at random; keep between `few` and `many` clusters.

    remerges=False: as a curator, who splits less, and leaves what was split apart.
    """
    rng = np.random.default_rng(seed)
    clustering = supervisor.clustering
    apart = {int(i) for i in clustering.cluster_ids if i >= supervisor.n_templates}
    kinds = ["merge", "split", "label", "undo", "redo"]
    labels = [("group", "good"), ("group", "noise"), ("region", "CA1"), ("score", "3")]
    shares = [0.3, 0.3, 0.2, 0.12, 0.08] if remerges else [0.3, 0.12, 0.43, 0.1, 0.05]
    for kind in rng.choice(kinds, number, p=shares):
        ids = [int(i) for i in clustering.cluster_ids]
        free = [i for i in ids if remerges or i not in apart]
        if kind == "merge" and len(ids) > few and len(free) > 3:
            supervisor.merge(rng.choice(free, rng.integers(2, 4), replace=False).tolist())
        elif kind == "split" and len(ids) < many and free:
            count = 1 + (rng.random() < 0.2)
            several = rng.choice(free, min(count, len(free)), replace=False).tolist()
            rows = clustering.spikes_in_clusters(several)
            supervisor.split(np.sort(rng.choice(rows, max(1, rows.size // 3), replace=False)))
            apart |= {int(i) for i in clustering.cluster_ids} - set(ids)
        elif kind == "label":
            field, value = labels[rng.integers(4)]
            label(supervisor, [int(rng.choice(ids))], value, field)
        elif kind in ("undo", "redo"):
            getattr(supervisor, kind)()


def feature_view(controller, clusters):
    """What each panel of phy's FeatureView of some clusters holds: x and y of each cluster."""
    view = controller.create_feature_view()
    view.cluster_ids = clusters
    bunches = view.get_clusters_data()
    panels = {}
    for i, j, x, y in view._iter_subplots():
        panels[f"{i},{j}"] = [
            [
                view._get_axis_data(bunch, dim, cluster_id=bunch.cluster_id).data.tolist()
                for dim in (x, y)
            ]
            for bunch in bunches
        ]
    return {"channels": [int(c) for c in view.channel_ids[:2]], "panels": panels}


if __name__ == "__main__":
    folders, operations = sys.argv[1::2], sys.argv[2::2]
    for one, path in zip_longest(folders, operations):
        main(Path(one).resolve(), json.loads(Path(path).read_text()) if path else [])
