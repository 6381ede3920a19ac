"""Typical mistakes: each is one line that names the option or file and the way out.

docs/troubleshooting.md lists them where a user looks.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import warnings

import pytest

import si_curation as sic
from si_curation.cli import main
from si_curation.cli.main import cli
from si_curation.cli.wording import KEYWORD, PYTHON_ONLY, arguments_of

NWB = "NWBFile: {session_description: x, identifier: y, session_start_time: '%s'}\n"
OTHER = {"format_version": "2", "unit_ids": [901, 902], "merges": [{"unit_ids": [901, 902]}]}
OTHER |= {"splits": [], "removed": [], "label_definitions": {}, "manual_labels": []}
RULES = "rules: [{metric: rp_contaminaton, comparison: '>', threshold: 0.1, label: mua}]\n"
#: The call, and words of its error; "ks" is a folder of Kilosort, "saved" an analyzer of it.
MISTAKES = [
    # the wrong place
    ("merges nowhere", "nowhere does not exist, expected an analyzer or a folder"),
    ("info notes.txt", "notes.txt is a file, expected a Kilosort/phy folder (give the folder that"),
    ("info empty", "empty has none of spike_times.npy, "),
    ("merges .", "give one of khz, ks, no_params, saved"),
    ("info s3://bucket/ks", "FOLDER is 's3://bucket/ks', a URL"),
    ("journal saved", "saved is a saved SortingAnalyzer, and this is of Kilosort/phy folders"),
    (
        "attach ks ks",
        "expected a saved SortingAnalyzer; of a folder one is made by si-curation comp",
    ),
    ("metrics saved --write-phy", "--write-phy needs a Kilosort/phy folder, which saved is not"),
    # the sampling rate, the gain, groups
    ("contamination no_params", "params.py: is missing (pass --sampling-frequency (in Hz), or put"),
    ("contamination no_params --sampling-frequency 30", "--sampling-frequency is 30.0, expected a"),
    ("contamination no_params --sampling-frequency 30", "30 kHz are 30000 Hz"),
    (
        "info khz",
        "sample_rate is 30.0, expected a number from 1,000 to 10,000,000 in Hz: 30 kHz are",
    ),
    ("merges ks --gain-to-uv 0", "--gain-to-uv is 0; leave it out if it is not known"),
    ("merges saved --gain-to-uv 0.195", "is a saved analyzer, which has its gain and units: leave"),
    ("merges ks --exclude-group nosie", "--exclude-group has ['nosie'], but the groups of this"),
    ("merges ks --exclude-group nosie", "(did you mean 'noise'?)"),
    # what is there already, or of the wrong kind
    ("merges ks --output there.csv", "there.csv exists; give another --output"),
    ("report ks there.html", "there.html exists; give another path or --overwrite"),
    (
        "export-phy ks empty",
        "empty exists; give another folder, or --overwrite (it is then kept as",
    ),
    ("merges ks --output out.xls", "--output is out.xls, expected a .csv, .tsv or .json file"),
    ("report ks page.pdf", "page.pdf does not end in .html or .htm, expected the name of a page"),
    ("export-nwb ks units.csv --t-start 0 --metadata nwb.yaml", "units.csv does not end in .nwb"),
    # misspelt
    ("mergse ks", "No such command 'mergse'. (Did you mean one of: 'merges'"),
    ("merges ks --treshold 0.4", "No such option '--treshold'. Did you mean '--threshold'?"),
    (
        "metrics ks --metric presence_ration",
        "there is no metric 'presence_ration' (did you mean 'pr",
    ),
    (
        "metrics ks --metric rp_contamination",
        "(a column of that name is of the metric 'rp_violation",
    ),
    (
        "compute ks --output c --extensions tempaltes",
        "--extensions has tempaltes (did you mean 'tem",
    ),
    ("propose ks --rules allen_documentd", "(did you mean 'allen_documented'?)"),
    (
        "propose ks --rules rules.yaml",
        "rules.yaml: metrics ['rp_contaminaton'] do not exist (did you",
    ),
    ("export-unitmatch um ks --good-label godo", "Give other --good-label, or --all-units"),
    # numbers
    ("merges ks --threshold 7", "--threshold is 7.0, expected a number from 0 up to 1"),
    ("metrics ks --window-s -3", "--window-s is -3.0, expected a number above 0"),
    (
        "contamination ks --refractory-period-ms 2000",
        "--refractory-period-ms is 2000.0, expected a",
    ),
    ("contamination ks --period 50 10", "--period has 1 of 1 of no use: 50 to 10 s"),
    ("split-sessions ks out --borders 900s", "--borders has 900 (s), expected numbers above 0 and"),
    ("split-sessions ks out", "give --borders, the sample (a whole number) or the second"),
    # times of NWB
    (
        "export-nwb ks units.nwb --metadata date.yaml",
        "session_start_time is '31.12.2026', expected",
    ),
    (
        "export-nwb ks units.nwb --metadata nwb.yaml",
        "the time of the samples is not known: give --t",
    ),
    # curations and models of something else
    (
        "compare ks other.json",
        "b (other.json) has steps and no spikes: give --start, the folder or",
    ),
    ("replay other.json ks out --start ks", "the curation is of other units; not here: 901, 902"),
    ("compare ks bad.json --start ks", "bad.json cannot be read: Expecting property name"),
    ("label ks --model other.json", "other.json is not a model"),
    ("reviews ks", "expected proposals of merges (write_phy_proposals, si-curation propose)"),
    ("restore ks", "ks has no backup: nothing of it was replaced by this package"),
    (
        "learn ks --output model.json",
        "expected 2 or more: what is learnt of one is tested on another",
    ),
    ("learn ks no_params --output model.json", "params.py: is missing (pass --sampling-frequency"),
    ("learn there.csv --output model.json --gain-to-uv 2", "there.csv cannot be read as a table"),
    ("batch ks --output b", "FOLDER missing; --example-recipe prints a recipe"),
    ("batch recipe.yaml ks --output b", "recipe.yaml: 1 problem: extention: this key is not known"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which all of the above can be tried."""
    root = tmp_path_factory.mktemp("place")
    ks = shutil.copytree(sic.example_folder(), root / "ks")
    params = (ks / "params.py").read_text()
    sic.read_kilosort_as_analyzer(ks, format="binary_folder", folder=root / "saved")
    for name in ("khz", "no_params"):
        shutil.copytree(ks, root / name)
    (root / "no_params" / "params.py").unlink()
    (root / "khz" / "params.py").write_text(params.replace("30000", "30"))
    (root / "empty").mkdir()
    texts = {
        "notes.txt": "x",
        "there.csv": "",
        "there.html": "",
        "bad.json": "{ no json",
        "other.json": json.dumps(OTHER),
        "nwb.yaml": NWB % "2026-01-01T12:00:00+00:00",
        "date.yaml": NWB % "31.12.2026",
        "rules.yaml": RULES,
        "recipe.yaml": "extention: [unit_similarity]\n",
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    return root


@pytest.fixture
def call(capfd, monkeypatch, place):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sic, "open_gui", lambda *args, **kwargs: None)

    def run(text):
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit) as stop:
            main(shlex.split(text))
        printed = capfd.readouterr()
        return stop.value.code or 0, printed.out, printed.err

    return run


def lines_of(err):
    """Lines but those that slow commands say on the way."""
    return [line for line in err.splitlines() if not line.endswith("...") and "ompil" not in line]


def names_of_python(text):
    """Arguments that are spelled as in Python."""
    known = {*arguments_of(cli.commands.values()), *PYTHON_ONLY}
    return [found[0] for found in KEYWORD.finditer(text) if found[1].lower() in known]


@pytest.mark.parametrize(("mistake", "words"), MISTAKES)
def test_a_mistake_is_one_line_with_the_way_out(call, place, mistake, words):
    before = sorted(path.name for path in place.rglob("*"))
    code, out, err = call(mistake)
    assert code == 2
    assert out == ""
    assert [line.startswith("Error: ") for line in lines_of(err)] == [True]
    assert words in err
    assert "Traceback" not in err
    assert "--debug" not in err, "an error that nobody thought of"
    assert not names_of_python(err)
    assert sorted(path.name for path in place.rglob("*")) == before


@pytest.mark.parametrize(
    ("mistake", "module", "extra"),
    [
        ("export-nwb ks u.nwb --t-start 0 --metadata nwb.yaml", "pynwb", "nwb"),
        ("learn ks khz --output model.json", "sklearn", "learn"),
    ],
)
def test_a_missing_extra_is_named(call, monkeypatch, mistake, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    code, out, err = call(mistake)
    assert (code, out, len(lines_of(err))) == (2, "", 1)
    assert f'pip install "si_curation[{extra}]"' in err


def wrong_calls(name):
    """The example of a command, with inputs that are none."""
    line = [line for line in cli.commands[name].epilog.splitlines() if "si-curation " in line][-1]
    words = line.strip().removeprefix("si-curation ")
    if name == "demo":
        words += " --folder si_curation_demo/phy"
    words = words.replace("si_curation_demo/made_up_units.csv", "si_curation_demo/phy")
    words = words.replace("si_curation_demo/recipe.yaml", "si_curation_demo/phy")
    for wrong in ("nowhere", "notes.txt", "empty", "khz", "bad.json"):
        yield words.replace("si_curation_demo/phy", wrong).replace(
            "si_curation_demo/analyzer", wrong
        )


@pytest.mark.parametrize("name", sorted(set(cli.commands) - {"warmup"}))
def test_no_command_names_arguments_of_python(call, place, name):
    (place / "si_curation_demo").mkdir(exist_ok=True)
    for words in wrong_calls(name):
        code, out, err = call(words)
        assert code in (1, 2), words
        assert "Traceback" not in out + err
        assert "--debug" not in err, words
        assert len(lines_of(err)) <= 2, "a note and an error"
        assert not names_of_python(out + err), words
