"""A batch on Dask: workers that die, sessions that fail, and the same bits as in one process."""

import os
import signal
import sys
import threading
import time

import dask
import distributed
import numpy as np
import pytest

import si_curation as sic
from helpers.worker_plugins import Poison, die_once
from si_curation.batch import engine
from si_curation.batch.inputs import gather_sessions
from si_curation.batch.session import Options
from si_curation.errors import ParameterError
from si_curation.simulation.simulate import DIALECT_NAMES

pytestmark = pytest.mark.long

NUM_SESSIONS = 30
BROKEN = {  # session: what its error must tell
    "s04": "spike_times.npy: is truncated",
    "s13": "channel_map.npy: is missing",
    "s22": "spike_templates.npy",
}
SMALL = {"extensions": {"curation_metrics": {"metric_names": ["num_spikes", "firing_rate"]}}}


def stamps(folder):
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Thirty small sessions of all dialects, three of them broken in three ways."""
    folder = tmp_path_factory.mktemp("sessions")
    for number in range(NUM_SESSIONS):
        sic.simulate_kilosort_folder(
            folder / f"s{number:02}",
            dialect=DIALECT_NAMES[number % len(DIALECT_NAMES)],
            num_templates=6,
            num_channels=12,
            num_spikes=1500,
            curation=3,
            labels={0: "good", 1: "noise"},
            seed=number,
        )
    times = folder / "s04" / "spike_times.npy"
    times.write_bytes(times.read_bytes()[:-100])
    (folder / "s13" / "channel_map.npy").unlink()
    templates = np.load(folder / "s22" / "spike_templates.npy")
    np.save(folder / "s22" / "spike_templates.npy", templates[:-5])
    # zarr is compared in `test_batch`; it takes longer than all the rest
    recipe = sic.example_recipe().replace("analyzer: zarr", "analyzer: binary_folder")
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as connected,
    ):
        yield connected


class Killer(threading.Thread):
    """Kill one of the workers while it is in the middle of a session.

    Both are stopped for a moment; if each has an unfinished folder, both are at work, and one is
    killed. The other goes on.
    """

    def __init__(self, pids, folder):
        super().__init__(daemon=True)
        self.pids, self.folder, self.unfinished = pids, folder, None

    def run(self):
        while not self.folder.is_dir() or len(self.names(False)) < 8:
            time.sleep(0.01)
        while self.unfinished is None and len(self.names(False)) < 25:
            for pid in self.pids:
                os.kill(pid, signal.SIGSTOP)
            if len(self.names(True)) == 2:
                self.unfinished = self.names(True)
                os.kill(self.pids[0], signal.SIGKILL)
            for pid in self.pids[self.unfinished is not None :]:
                os.kill(pid, signal.SIGCONT)
            time.sleep(0.1)

    def names(self, hidden):
        return [p.name for p in self.folder.iterdir() if p.name.startswith(".") == hidden]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop a process for a moment")
def test_thirty_sessions_three_broken_and_a_worker_killed(
    sessions, client, tmp_path, hash_files, caplog
):
    pattern, recipe = str(sessions / "s*"), sessions / "recipe.yaml"
    out = tmp_path / "dask"
    pids = list(client.run(os.getpid).values())
    killer = Killer(pids, out / "sessions")
    killer.start()
    result = sic.run_batch(pattern, recipe, out, client=client, progress_bar=False)
    killer.join(10)
    assert killer.unfinished, "no worker could be killed in the middle of a session"
    now = set(client.run(os.getpid).values())
    assert pids[0] not in now
    assert pids[1] in now

    # 27 results and three clear errors
    assert result.table["session"].tolist() == [f"s{i:02}" for i in range(NUM_SESSIONS)]
    failed = result.failed.set_index("session")["error"]
    assert sorted(failed.index) == sorted(BROKEN)
    for name, text in BROKEN.items():
        assert text in failed[name]
    assert result.table["status"].value_counts().to_dict() == {"done": 27, "failed": 3}
    done = sorted(path.name for path in (out / "sessions").iterdir())
    assert done == sorted(set(result.table["session"]) - set(BROKEN))
    assert result.units["session"].nunique() == 27

    # nothing is computed twice; here by the address of the scheduler
    before = stamps(out / "sessions"), stamps(out / "records")
    for path in sessions.rglob("*.npy"):
        os.utime(path)
    again = sic.run_batch(pattern, recipe, out, client=client.scheduler.address, progress_bar=False)
    counts = again.table["status"].value_counts().to_dict()
    assert counts == {"skipped: already done": 27, "failed": 3}
    assert again.failed["error"].tolist() == result.failed["error"].tolist()
    assert (stamps(out / "sessions"), stamps(out / "records")) == before

    # the same bits as in this process, on another number of threads
    alone = sic.run_batch(
        pattern, recipe, tmp_path / "here", num_workers=0, num_threads=2, progress_bar=False
    )
    assert alone.failed["error"].tolist() == result.failed["error"].tolist()
    expected = hash_files(tmp_path / "here" / "sessions")
    assert len(expected) > 27 * 20
    assert hash_files(out / "sessions") == expected
    for name in ("units.csv", "metrics_by_session.csv"):
        assert (out / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


@pytest.mark.slow
def test_a_session_that_kills_its_workers_is_given_up(sessions, tmp_path):
    recipe = sic.read_recipe(SMALL)
    names = ["s00", "s01", "s02"]
    chosen = gather_sessions([sessions / name for name in names], recipe)
    with engine.local_client(1, 3) as (client, num_threads):
        assert num_threads >= 1
        environment = next(iter(client.run(lambda: dict(os.environ)).values()))
        assert environment["OMP_NUM_THREADS"] == "1"
        client.register_plugin(Poison(1))
        result = sic.run_batch(
            {s.name: s.folder for s in chosen}, recipe, tmp_path / "out", client=client,
            progress_bar=False,
        )  # fmt: skip
    assert result.table["status"].tolist() == ["done", "failed", "done"]
    assert "3 worker processes died" in result.table["error"].iloc[1]
    # it says nothing of the session, which is therefore tried again
    again = sic.run_batch(
        [sessions / name for name in names], recipe, tmp_path / "out", num_workers=0,
        progress_bar=False,
    )  # fmt: skip
    skipped = "skipped: already done"
    assert again.table["status"].tolist() == [skipped, "done", skipped]


def test_a_worker_that_is_long_in_coming_back_is_waited_for(tmp_path):
    # by default a cluster gives a worker up that is not back after some seconds: here at once
    mark = tmp_path / "died"
    at_once = dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"})
    with at_once, engine.local_client(1, 2) as (client, _):
        futures = client.map(die_once, [0, 1], mark=str(mark), pure=False)
        assert [future.result(timeout=200) for future in futures] == [0, 1]
    assert mark.exists()


def test_outcomes_of_futures(client):
    assert engine._outcome(client.submit(int, "3")) == 3
    fault = engine._outcome(client.submit(int, "three"))
    assert isinstance(fault, ValueError)
    cancelled = client.submit(time.sleep, 60)
    cancelled.cancel()
    assert "connection to the Dask scheduler" in str(engine._outcome(cancelled))


@pytest.mark.slow
def test_workers_of_this_machine(sessions, tmp_path, capfd):
    result = sic.run_batch([sessions / "s00", sessions / "s04"], SMALL, tmp_path, num_workers=2)
    assert result.table["status"].tolist() == ["done", "failed"]
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "1 failed" in shown.err
    assert "Traceback" not in shown.err
    assert "WARNING" not in shown.err


@pytest.mark.slow
def test_a_worker_that_does_not_see_the_output(sessions, client, tmp_path):
    chosen = gather_sessions([sessions / "s00"], sic.read_recipe(SMALL))
    ((number, row),) = engine.run_on_dask(chosen, str(tmp_path / "none"), Options(), client)
    assert number == 0
    assert "a file system that all workers share" in row["error"]


def test_wrong_clients(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "CONNECT_TIMEOUT", "1s")
    at_address = "no Dask scheduler at 'tcp"
    wrong_ones = {3: "expected a dask", "": "expected a dask", "tcp://127.0.0.1:1": at_address}
    for wrong, text in wrong_ones.items():
        with pytest.raises(ParameterError, match=text):
            sic.run_batch([sic.example_folder()], SMALL, tmp_path / "out", client=wrong)
