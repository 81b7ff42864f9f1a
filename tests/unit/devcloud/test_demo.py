# SPDX-License-Identifier: Apache-2.0
from devcloud.demo import report, watch
from devcloud.demo.probes import Check, Endpoint, Reached, reach_script

POD = Endpoint("pod", "node1", "pods", ("10.10.0.5", "fd00::5"), "port-1")


def test_stages_of_a_pod() -> None:
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert watch.pod_stages(ready) == ["created", "Ready"]
    assert watch.pod_stages({"status": {}}) == ["created"]


def test_stages_of_a_kuryrport() -> None:
    up = [{"type": "Up", "status": "True"}]
    assert watch.kuryrport_stages({}) == ["KuryrPort"]
    assert watch.kuryrport_stages({"status": {"vifs": {"eth0": {}}}}) == ["KuryrPort", "port"]
    assert watch.kuryrport_stages({"status": {"vifs": {"eth0": {"conditions": up}}}}) == [
        "KuryrPort",
        "port",
        "wired",
    ]


def test_split_gives_each_stage_its_own_time() -> None:
    times = {"created": 0.0, "KuryrPort": 0.1, "port": 0.5, "wired": 0.75, "Ready": 2.0}
    assert report.split(times) == "0.10 + 0.40 + 0.25 + 1.25"


def test_split_marks_a_stage_that_was_not_seen() -> None:
    assert (
        report.split({"created": 0.0, "KuryrPort": 0.1, "port": 0.5, "Ready": 2.0})
        == "0.10 + 0.40 + ? + 1.50"
    )


def test_matrix_names_what_failed() -> None:
    results = [Reached("a", "b", "ping", 4, True), Reached("a", "b", "tcp", 6, False)]
    assert "no tcp6" in report.matrix(results)


def test_checks_show_the_detail() -> None:
    assert report.checks([Check("x", False, "because")]) == "FAILED  x: because"


def test_reach_script_brackets_an_ipv6_address() -> None:
    script = reach_script(False, [(POD, "tcp", 6), (POD, "ping", 4)])
    assert "[fd00::5]:8080" in script
    assert "ping -c 1 -W 3 10.10.0.5" in script
    assert "echo pod/tcp/6" in script
