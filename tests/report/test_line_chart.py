"""Charts of one line: everything is inside the frame, at round ticks."""

from hypothesis import given, settings
from hypothesis import strategies as st

from si_curation.report.line_chart import line_chart

NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 6))


@settings(max_examples=25)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_everything_is_inside_and_in_order(places, diagonal, from_zero):
    points = [(x, y, "") for x, y in places]
    chart = line_chart("t", ("x", "y"), points, diagonal=diagonal, level=0.5, from_zero=from_zero)
    left, right, top, bottom = chart.frame
    drawn = [(x, y) for x, y, _ in chart.points]
    drawn += [(x, y) for one in chart.lines for x, y in (one[:2], one[2:])]
    assert all(left - 0.1 <= x <= right + 0.1 and top - 0.1 <= y <= bottom + 0.1 for x, y in drawn)
    assert 2 <= len(chart.ticks_x) <= 12
    assert 2 <= len(chart.ticks_y) <= 12
    xs, ys = [one[0] for one in chart.ticks_x], [one[0] for one in chart.ticks_y]
    assert xs == sorted(set(xs))
    assert ys == sorted(set(ys), reverse=True)
    assert chart.path.count(",") == len(points)


def test_places_are_those_of_the_numbers():
    chart = line_chart("t", ("x", "y"), [(0, 0, ""), (1, 0.5, ""), (2, 1, "")])
    left, right, top, bottom = chart.frame
    assert chart.points[0] == (left, bottom, "")
    assert chart.points[1] == ((left + right) / 2, (top + bottom) / 2, "")
    assert chart.points[2] == (right, top, "")
