"""Drive the real phy without a screen; run by an interpreter that has phy, not by pytest.

    python drive_phy.py FOLDER [OPERATIONS.json]

Opens FOLDER in phy's TemplateGUI controller, does the operations as phy does them, saves if there
were any, and prints phy's answers for every cluster as one JSON line. Operations are
["merge", [ids]], ["split", [rows], [parts]], ["label", [ids], group].
"""

import json
import os
import sys
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
    clustering = supervisor.clustering
    for name, *arguments in operations:
        if name == "merge":
            clustering.merge(arguments[0])
        elif name == "split":
            clustering.split(np.array(arguments[0]), np.array(arguments[1]))
        elif name == "label":
            supervisor.cluster_meta.set("group", arguments[0], arguments[1])
    if operations:
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
    main(
        Path(sys.argv[1]).resolve(),
        json.loads(Path(sys.argv[2]).read_text()) if len(sys.argv) > 2 else [],
    )
