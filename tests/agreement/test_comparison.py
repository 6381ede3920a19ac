"""Planted disagreements are all found, and none is invented."""

import shutil

import numpy as np
import pytest

import si_curation as sic
from si_curation.variables import AGREEMENT, COMPARED_UNITS, DISPUTED_UNITS

PER_KIND = 3  # templates for each kind of disagreement
FIRST_NEW = 1000


class Copies:
    """Two curated copies of a folder, in which disagreements are planted."""

    def __init__(self, templates):
        self.templates = templates
        self.clusters = {name: templates.astype(np.int64) for name in "ab"}
        self.labels = {name: {} for name in "ab"}
        self.expected = {}
        self.groups = []
        self._next, self._new = 0, FIRST_NEW
        self._number = np.zeros(templates.size, dtype=np.int64)
        for one in np.unique(templates):
            self._number[templates == one] = np.arange(np.sum(templates == one))

    def three(self):
        self._next += PER_KIND
        return range(self._next - PER_KIND, self._next)

    def new(self, name, where):
        self._new += 1
        self.clusters[name][where] = self._new
        return self._new

    def merge(self, name, *units):
        return self.new(name, np.isin(self.clusters[name], units))

    def split(self, name, unit, part):
        """Parts of the spikes of a unit, by the number that each spike has among them."""
        its = self.clusters[name] == unit
        numbers = part(self._number[its])
        places = np.flatnonzero(its)
        return [self.new(name, places[numbers == one]) for one in np.unique(numbers)]

    def label(self, name, unit, label):
        self.labels[name][unit] = label

    def expect(self, a=(), b=()):
        """Note the kind of each disputed unit, {unit: kind} of each copy."""
        group = {(name, unit) for name, of in (("a", a), ("b", b)) for unit in dict(of)}
        self.expected |= {("a", unit): kind for unit, kind in dict(a).items()}
        self.expected |= {("b", unit): kind for unit, kind in dict(b).items()}
        self.groups.append(group)


def all_of(kind, *units):
    return dict.fromkeys(units, kind)


def plant(copies):
    """Disagreements of more than 20 kinds, and changes that are none."""
    c = copies
    half = lambda numbers: numbers % 2  # noqa: E731
    for name, other in ("ab", "ba"):  # merged by one
        x, y, _ = c.three()
        new = c.merge(name, x, y)
        c.expect(**{name: {new: "merged"}, other: all_of("not_merged", x, y)})
    x, y, z = c.three()  # three against two of them
    c.expect({c.merge("a", x, y, z): "merged"}, all_of("not_merged", c.merge("b", x, y), z))
    x, y, z = c.three()  # merges that overlap
    c.expect(all_of("regrouped", c.merge("a", x, y), z), all_of("regrouped", x, c.merge("b", y, z)))
    x, *_ = c.three()  # split by one
    c.expect(all_of("split", *c.split("a", x, half)), {x: "not_split"})
    x, *_ = c.three()  # into three
    c.expect({x: "not_split"}, all_of("split", *c.split("b", x, lambda n: n % 3)))
    x, *_ = c.three()  # at different places
    parts = c.split("a", x, half), c.split("b", x, lambda n: n // 40)
    c.expect(all_of("regrouped", *parts[0]), all_of("regrouped", *parts[1]))
    x, *_ = c.three()  # into three and into two of them
    first, *rest = c.split("a", x, lambda n: n % 3)
    _, other = c.split("b", x, lambda n: n % 3 > 0)
    c.expect(all_of("split", *rest), {other: "not_split"})
    x, y, _ = c.three()  # one spike elsewhere
    c.clusters["b"][np.flatnonzero(c.templates == x)[0]] = y
    c.expect(all_of("regrouped", x, y), all_of("regrouped", x, y))
    for one, other, kind in (
        ("good", "mua", "label"),
        ("good", "noise", "noise"),
        ("mua", "noise", "noise"),
        ("good", None, "label_missing"),
        (None, "noise", "label_missing"),
        ("unsorted", "mua", "label_missing"),
    ):
        x, *_ = c.three()
        for name, label in (("a", one), ("b", other)):
            if label is not None:
                c.label(name, x, label)
        c.expect({x: kind}, {x: kind})
    x, y, _ = c.three()  # merged by both, with other labels
    new = [c.merge(name, x, y) for name in "ab"]
    c.label("a", new[0], "good"), c.label("b", new[1], "mua")
    c.expect({new[0]: "label"}, {new[1]: "label"})
    x, *_ = c.three()  # split by both, one part with another label
    parts = [c.split(name, x, half) for name in "ab"]
    c.label("a", parts[0][1], "noise")
    c.expect({parts[0][1]: "label_missing"}, {parts[1][1]: "label_missing"})
    x, y, _ = c.three()  # merged by one, and labelled
    new = c.merge("a", x, y)
    c.label("a", new, "good")
    c.expect({new: "merged"}, all_of("not_merged", x, y))
    x, *_ = c.three()  # few spikes taken out as noise
    stays, out = c.split("a", x, lambda n: n < 5)
    c.label("a", out, "noise")
    c.expect(all_of("split", stays, out), {x: "not_split"})
    x, y, _ = c.three()  # a part moved to another unit
    one, other = c.split("a", x, half)
    c.expect(all_of("regrouped", one, c.merge("a", other, y)), all_of("regrouped", x, y))
    x, y, z = c.three()  # merged by one, another pair by the other
    c.expect(
        {**all_of("regrouped", c.merge("a", x, y), z)},
        {**all_of("regrouped", c.merge("b", x, z), y)},
    )
    plant_equal(c)


def plant_equal(c):
    """Changes after which both are equal: of which nothing may be said."""
    half = lambda numbers: numbers % 2  # noqa: E731
    x, y, z = c.three()
    c.merge("a", x, y, z), c.merge("b", x, y, z)
    x, y, _ = c.three()
    c.split("a", x, half), c.split("b", x, half)
    c.label("a", y, "good"), c.label("b", y, "good")
    x, y, z = c.three()  # other ids
    c.new("a", c.clusters["a"] == x), c.split("b", c.merge("b", y, z), lambda n: n * 0)
    c.split("a", c.merge("a", y, z), lambda n: n * 0)
    x, *_ = c.three()
    c.label("a", x, "unsorted")


@pytest.fixture(scope="module")
def copies(simulate, tmp_path_factory):
    made = simulate(
        num_templates=26 * PER_KIND,
        num_spikes=26 * PER_KIND * 80,
        num_channels=8,
        shared_fraction=0.05,  # spikes at the same sample
        write_features=False,
        seed=2,
    )
    found = Copies(np.load(made.folder / "spike_templates.npy").reshape(-1))
    plant(found)
    assert found._next <= 26 * PER_KIND
    place = tmp_path_factory.mktemp("copies")
    found.start = made.folder
    for name in "ab":
        folder = shutil.copytree(made.folder, place / name)
        np.save(folder / "spike_clusters.npy", found.clusters[name].astype(np.int32))
        lines = [f"{unit}\t{label}" for unit, label in sorted(found.labels[name].items())]
        (folder / "cluster_group.tsv").write_text("\n".join(["cluster_id\tgroup", *lines, ""]))
        setattr(found, name, folder)
    return found


@pytest.fixture(scope="module")
def compared(copies):
    return sic.compare_curations(copies.a, copies.b)


def test_all_that_is_planted_is_found_and_nothing_else(copies, compared):
    table = compared.disputed
    units = zip(table["curation"], table["unit_id"], strict=True)
    found = dict(zip(units, table["kind"], strict=True))
    assert len(copies.groups) >= 20
    assert found == copies.expected
    by_decision = table.groupby("decision")
    decisions = {
        frozenset(zip(rows["curation"], rows["unit_id"], strict=True)) for _, rows in by_decision
    }
    assert decisions == {frozenset(group) for group in copies.groups}
    assert [*by_decision.groups] == [*range(1, len(decisions) + 1)]
    of_a = table[table["curation"] == "a"].groupby("decision")
    spikes = of_a["num_disputed_spikes"].sum()
    assert spikes.is_monotonic_decreasing
    assert spikes.iloc[-1] == 1  # the spike that is elsewhere


def test_tables_are_what_is_declared(compared):
    for table, declared in (
        (compared.units, COMPARED_UNITS),
        (compared.disputed, DISPUTED_UNITS),
        (compared.agreement, AGREEMENT),
    ):
        assert list(table.columns) == list(declared)
        for name, one in declared.items():
            if one.dtype in ("int64", "Int64", "float64"):
                assert str(table[name].dtype) == one.dtype, name
            if one.codes:
                assert set(table[name]) <= set(one.codes), name
    units = compared.units
    same = units[units["kind"] == "same"]
    assert (same["num_same"] == 1).all()
    assert (same["num_disputed_spikes"] == 0).all()
    assert (units.groupby("curation")["num_spikes"].sum() == compared.num_spikes).all()
    for row in units.itertuples():
        assert sum(count for _, _, count in row.counterparts) == row.num_spikes


def test_a_copy_agrees_with_itself(copies):
    found = sic.compare_curations(copies.a, copies.a)
    assert found.disputed.empty
    assert (found.units["kind"] == "same").all()
    assert found.agreement["value"].tolist() == [1.0] * 4
    assert found.agreement["low"].tolist() == [1.0] * 4
    assert found.agreement["observed"].tolist() == [1.0] * 4


def test_agreement_is_that_of_scikit_learn(copies, compared):
    from sklearn.metrics import adjusted_mutual_info_score, cohen_kappa_score

    table = compared.agreement.set_index("quantity")
    a, b = copies.clusters["a"], copies.clusters["b"]
    labels = [
        np.array([copies.labels[name].get(unit, "unsorted") for unit in copies.clusters[name]])
        for name in "ab"
    ]
    assert table.loc["units", "value"] == pytest.approx(adjusted_mutual_info_score(a, b))
    assert table.loc["labels", "value"] == pytest.approx(cohen_kappa_score(*labels))
    decided = (labels[0] != "unsorted") & (labels[1] != "unsorted")
    kappa = cohen_kappa_score(labels[0][decided], labels[1][decided])
    assert table.loc["decided_labels", "value"] == pytest.approx(kappa)
    assert table.loc["decided_labels", "num_compared"] == decided.sum()
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    again = sic.compare_curations(copies.a, copies.b).agreement
    assert again.equals(compared.agreement)


def test_permuted_labels_agree_as_chance_does(copies, tmp_path):
    rng = np.random.default_rng(0)
    clusters = np.load(copies.a / "spike_clusters.npy")
    labels = rng.choice(["good", "mua", "noise"], np.unique(clusters).size)
    folders = []
    for name in "xy":
        folders.append(shutil.copytree(copies.a, tmp_path / name))
        rng.shuffle(labels)
        lines = [f"{i}\t{one}" for i, one in zip(np.unique(clusters), labels, strict=True)]
        (folders[-1] / "cluster_group.tsv").write_text("\n".join(["cluster_id\tgroup", *lines]))
    np.save(folders[1] / "spike_clusters.npy", rng.permutation(clusters))
    shuffled = sic.compare_curations(*folders).agreement.set_index("quantity")["value"]
    assert abs(shuffled["units"]) < 0.01
    np.save(folders[1] / "spike_clusters.npy", clusters)
    found = sic.compare_curations(*folders).agreement.set_index("quantity")["value"]
    assert found["units"] == 1
    assert abs(found["labels"]) < 0.25  # of 80 units
    assert abs(found["labels_of_same_units"]) < 0.25


@pytest.mark.slow
def test_every_kind_of_source_is_the_same_curation(copies, tmp_path):
    """Folder, analyzer, session, journal, curation file: of one curation nothing is disputed."""
    analyzer = sic.read_kilosort_as_analyzer(copies.start)
    journal = tmp_path / "journal"
    session = sic.CurationSession(analyzer, journal=journal)
    session.merge([0, 1])
    session.split_by_template(session.merge([2, 3]))
    session.label([5, 6], "good")
    session.remove([7])
    file = tmp_path / "curation.json"
    file.write_text(session.to_spikeinterface_curation().model_dump_json())
    curated = session.apply(format="binary_folder", folder=tmp_path / "analyzer")
    sic.export_to_phy(session.apply(), tmp_path / "phy")
    sources = [session, journal, file, curated, tmp_path / "analyzer"]
    found = sic.compare_curations(*sources, start=copies.start, num_bootstraps=0)
    assert found.disputed.empty
    assert found.num_guessed == 0
    assert found.agreement["value"].tolist() == [1.0] * len(found.agreement)
    assert found.agreement["low"].isna().all()
    found = sic.compare_curations(copies.start, session)
    removed = found.disputed[found.disputed["kind"] == "not_removed"]
    assert removed[["curation", "unit_id"]].values.tolist() == [["a", 7]]
    assert set(found.disputed["unit_id"]) == {0, 1, 5, 6, 7, *session.unit_ids[-3:-2]}
    session.close()


def test_the_consensus_has_what_all_agree_on(copies, compared, tmp_path):
    session = compared.consensus(journal=tmp_path / "journal")
    again = sic.compare_curations(session, copies.a, copies.b, names=["c", "a", "b"])
    units = again.units
    agreed = compared.units[compared.units["kind"] == "same"]
    its = units[(units["curation"] == "c")].set_index("unit_id")
    marked = session.table["disputed"].notna()
    assert (its.loc[marked.index[~marked], "kind"] == "same").all()
    assert (its.loc[marked.index[marked], "kind"] != "same").all()
    assert (~marked).sum() == len(agreed) / 2
    session.undo()
    session.close()
    with pytest.raises(sic.OutputExistsError):
        compared.consensus(journal=tmp_path / "journal")
    # as the curations began where they do not agree: from the templates, but for what both merged
    start = sic.compare_curations(compared.consensus(), copies.start).units
    left = start[(start["curation"] == "b") & (start["kind"] != "same")]["unit_id"]
    x = 2 * PER_KIND
    assert {x, x + 1} <= set(left)  # both merged these, one of them with a third
    of_start = sic.read_kilosort_as_analyzer(copies.start)
    other = compared.consensus(of_start, mark=None)
    same = sic.compare_curations(other, compared.consensus())
    assert same.disputed.empty
    assert "disputed" not in other.table


def test_a_consensus_that_cannot_be_made_leaves_nothing(copies, compared, simulate, tmp_path):
    other = simulate(num_templates=4, num_spikes=500, num_channels=4, write_features=False).folder
    journal = tmp_path / "journal"
    for wrong in ({"mark": "group"}, {"mark": "a/b"}, {"mark": "num_spikes"}, {"decided_by": 3}):
        with pytest.raises(sic.ParameterError):
            compared.consensus(journal=journal, **wrong)
    with pytest.raises(sic.ParameterError, match="sorting_analyzer"):
        compared.consensus(sic.read_kilosort_as_analyzer(other), journal=journal)
    assert not journal.exists()


def test_the_consensus_of_equal_curations_is_the_curation(copies):
    for folder in (copies.a, copies.b):
        session = sic.compare_curations(folder, folder).consensus()
        assert sic.compare_curations(session, folder).disputed.empty
        assert session.history.empty  # nothing had to be done


def test_three_curators(copies):
    found = sic.compare_curations(
        copies.a, copies.b, copies.a, names=["anna", "ben", "eve"], num_bootstraps=50
    )
    assert len(found.agreement) == 4 * 4
    whole = found.agreement[found.agreement["curations"].map(len) == 3].set_index("quantity")
    pairs = found.agreement[found.agreement["curations"].map(len) == 2]
    mean = pairs[pairs["quantity"] == "units"]["value"].mean()
    assert whole.loc["units", "value"] == pytest.approx(mean)
    assert whole["measure"].tolist()[1:] == ["fleiss_kappa", "krippendorff_alpha", "fleiss_kappa"]
    assert found.disputed["num_votes"].isin([1, 2]).all()
    votes = found.disputed.groupby("curation")["num_votes"]
    assert votes.unique().map(list).to_dict() == {"anna": [2], "ben": [1], "eve": [2]}
    assert repr(found).startswith("CurationComparison(3 curations")


@pytest.mark.slow
def test_spikes_at_the_same_sample_are_told_apart(copies):
    """Without rows and templates: by the units that the others of a unit are in."""
    from spikeinterface.core import NumpySorting, create_sorting_analyzer

    found = sic.read_phy_folder(copies.start)
    recording = None
    sortings = []
    for name in "ab":
        labels = copies.clusters[name]
        sortings.append(
            NumpySorting.from_samples_and_labels(
                [found.spike_samples], [labels], found.sampling_frequency
            )
        )
    from spikeinterface.core import generate_recording

    recording = generate_recording(8, 30_000.0, [found.last_sample / 30_000 + 1], seed=0)
    analyzers = [create_sorting_analyzer(one, recording, sparse=False) for one in sortings]
    compared = sic.compare_curations(*analyzers, start=copies.start)
    table = compared.disputed
    pairs = set(zip(table["curation"], table["unit_id"], strict=True))
    expected = {k for k, kind in copies.expected.items() if "label" not in kind and kind != "noise"}
    assert expected <= pairs
    assert compared.num_guessed < 20
    assert len(pairs - expected) <= 2 * compared.num_guessed


@pytest.mark.slow
def test_a_sorting_that_is_another_one_is_one_error(copies, simulate, tmp_path):
    other = simulate(num_templates=4, num_spikes=500, num_channels=4, write_features=False).folder
    with pytest.raises(sic.ParameterError, match="one sorting") as error:
        sic.compare_curations(copies.a, other)
    assert str(copies.a) in str(error.value)
    assert str(other) in str(error.value)
    short = shutil.copytree(copies.a, tmp_path / "short")
    for path in short.glob("*.npy"):
        values = np.load(path, allow_pickle=path.name == "ops.npy")
        if values.ndim and values.shape[0] == copies.templates.size:
            np.save(path, values[:-10])
    for pair in ((copies.a, short), (short, copies.a)):
        with pytest.raises(sic.ParameterError, match="10 others are no whole units"):
            sic.compare_curations(*pair)
    slow = shutil.copytree(copies.a, tmp_path / "slow")
    params = (slow / "params.py").read_text()
    (slow / "params.py").write_text(params.replace("30000", "25000"))
    with pytest.raises(sic.ParameterError, match="25000 Hz"):
        sic.compare_curations(copies.a, slow)


def test_what_has_no_spikes_needs_a_start(copies, tmp_path):
    analyzer = sic.read_kilosort_as_analyzer(copies.a)
    with sic.CurationSession(analyzer, journal=tmp_path / "journal") as session:
        session.label(session.unit_ids[:1], "good")
    with pytest.raises(sic.ParameterError, match="give start="):
        sic.compare_curations(tmp_path / "journal", copies.a)
    with pytest.raises(sic.ParameterError, match="other spikes"):
        sic.compare_curations(tmp_path / "journal", copies.a, start=copies.b)
    (tmp_path / "wrong.json").write_text('{"unit_ids": [1, 2], "removed": [1]}')
    with pytest.raises(sic.ParameterError, match=r"wrong\.json.*other units"):
        sic.compare_curations(tmp_path / "wrong.json", copies.a, start=copies.a)
    with pytest.raises(sic.FolderNotFoundError):
        sic.compare_curations(tmp_path / "nothing", copies.a)
    with pytest.raises(sic.ParameterError, match="names are"):
        sic.compare_curations(copies.a, copies.b, names=["x", "x"])
    with pytest.raises(sic.ParameterError, match="num_bootstraps"):
        sic.compare_curations(copies.a, copies.b, num_bootstraps=-1)


def test_units_that_went_are_removed_and_parts_of_units_are_not(copies):
    analyzer = sic.read_kilosort_as_analyzer(copies.a)
    fewer = analyzer.remove_units(analyzer.unit_ids[:2])
    found = sic.compare_curations(copies.a, fewer)
    assert found.disputed["kind"].tolist() == ["not_removed"] * 2
    assert set(found.disputed["unit_id"]) == set(analyzer.unit_ids[:2].tolist())
    session = found.consensus()
    assert set(session.unit_ids) >= set(analyzer.unit_ids[:2].tolist())


@pytest.mark.parametrize("dialect", ["kilosort1", "kilosort2.5"])
def test_dtypes_and_orders_of_other_sorters(simulate, dialect):
    dtypes = {"spike_templates": "uint32", "spike_clusters": "uint16", "spike_times": "uint64"}
    folder = simulate(
        dialect,
        num_templates=5,
        num_channels=8,
        num_spikes=400,
        shuffled=True,
        column_vectors=True,
        dtypes=dtypes,
        curation=4,
        write_features=False,
    ).folder
    analyzer = sic.read_kilosort_as_analyzer(folder)
    found = sic.compare_curations(folder, analyzer, folder)
    assert found.disputed.empty
    assert found.consensus().history.empty
    assert sic.replay_curation(folder, analyzer).left.empty


def test_no_spikes_and_one_unit(simulate, tmp_path):
    made = simulate(num_templates=2, num_spikes=50, num_channels=4, write_features=False).folder
    analyzer = sic.read_kilosort_as_analyzer(made)
    one, other = sic.CurationSession(analyzer), sic.CurationSession(analyzer)
    one.merge([0, 1])
    other.merge([0, 1])
    found = sic.compare_curations(one, other)
    assert found.agreement["value"].tolist()[:2] == [1.0, 1.0]
    assert found.agreement["value"].isna().tolist() == [False, False, True, False]
    one.remove(one.unit_ids)
    other.remove(other.unit_ids)
    found = sic.compare_curations(one, other)
    assert found.disputed.empty
    assert found.agreement["num_compared"].tolist() == [0, 50, 50, 0]
    assert found.consensus().unit_ids == []


@pytest.mark.slow
def test_real_folders(shared_data):
    """What phy did to the folder of Kilosort 4; and folders of other versions with themselves."""
    curated, fresh = shared_data / "ks4_phy_curated", shared_data / "ks4_fresh"
    found = sic.compare_curations(curated, fresh).disputed
    of_a = found[found["curation"] == "a"].set_index("unit_id")["kind"].to_dict()
    expected = {13: "merged", 10: "merged", 8: "label_missing", 11: "split", 12: "split"}
    assert of_a == expected
    again = sic.replay_curation(curated, fresh)
    assert set(again.steps["outcome"]) == {"carried"}
    assert sic.compare_curations(again.session, curated).disputed.empty
    for name in ("ks1_phy_curated", "ks25_example", "np1_without_params"):
        folder = shared_data / name
        found = sic.compare_curations(folder, folder, sampling_frequency=30_000.0)
        assert found.disputed.empty
        assert found.agreement["value"].dropna().eq(1).all()
