"""The engine ray, on a cluster of two nodes on this machine."""

import json
import os
import signal
import threading
import time

import pytest
from survey_toy import OPTIONS

from kcinn.survey import merge, run

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.second = made.add_node(num_cpus=1)
    yield made
    import ray

    ray.shutdown()
    made.shutdown()


def workers():
    psutil = pytest.importorskip("psutil")
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any("ray::Worker" in word for word in process.info["cmdline"] or ()):
            found.append(process.pid)
    return found


def test_killed_workers_and_a_killed_node_do_not_change_the_catalogue(
    cluster, toy_model_file, stars, undisturbed, tmp_path
):
    folder, killed = tmp_path / "out", []

    def kill():
        while len(list(folder.glob("parts/*.sha256"))) < 1:
            time.sleep(0.002)
        for pid in workers():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        cluster.remove_node(cluster.second, allow_graceful=False)

    thread = threading.Thread(target=kill)
    thread.start()
    report = run(toy_model_file, stars, folder, engine="ray", address=cluster.address, **OPTIONS)
    thread.join()
    assert killed and report.complete and report.n_computed == 37
    merge(folder, tmp_path / "catalogue.fits")
    assert (tmp_path / "catalogue.fits").read_bytes() == (undisturbed.parent / "catalogue.fits").read_bytes()
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert any(event["event"] == "failure" and "died" in event["reason"] for event in events)
