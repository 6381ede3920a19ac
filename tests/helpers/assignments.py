"""Names and shortcuts of the tests of `template_assignment` and `template_best_channels`."""

from __future__ import annotations

from oracles import folders as naive

ASSIGNMENT = "template_assignment"
BEST = "template_best_channels"
TABLE = ["unit_id", "rank", "channel_id", "channel_index", "amplitude", "x_um", "y_um", "shank"]


def extension(analyzer, name=ASSIGNMENT):
    return analyzer.get_extension(name)


def ranked(analyzer):
    return extension(analyzer, BEST).get_data(outputs="dataframe")


def naive_ranking(truth, template_id, **kwargs):
    return naive.rank_channels_dense(
        truth.templates_unwhitened[template_id],
        truth.channel_positions,
        truth.channel_shanks,
        **kwargs,
    )
