# SPDX-License-Identifier: Apache-2.0
import json

from kuryr.controller.verdicts import Code, Verdict, as_json, table, worst

FINE = Verdict("A", notes=("as it should be",))
DOUBTFUL = Verdict("B", warnings=("may be wrong", "this too"))
WRONG = Verdict("C", failures=("x" * 30 + " " + "y" * 90,), warnings=("w",))


def test_the_worst_counts() -> None:
    assert [verdict.code for verdict in (FINE, DOUBTFUL, WRONG)] == [0, 1, 2]
    assert worst([]) is Code.SUCCESS
    assert worst([FINE, WRONG, DOUBTFUL]) is Code.FAILURE


def test_the_table_names_check_result_and_details() -> None:
    lines = table("Results", [FINE, DOUBTFUL, WRONG, Verdict("D")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    text = "\n".join(line.strip("| ") for line in lines)
    assert "Check: A\nResult: Success\nDetails: as it should be" in text
    assert "Check: B\nResult: Warning\nDetails: may be wrong\nthis too" in text
    assert "Result: Failure\nDetails: xxx" in text
    assert "Check: D\nResult: Success\nDetails: None" in text


def test_json_has_numbers() -> None:
    found = json.loads(as_json("Results", [FINE, DOUBTFUL, Verdict("D")]))
    assert found["name"] == "Results"
    assert found["checks"][1] == {"check": "B", "result": 1, "details": "may be wrong\nthis too"}
    assert found["checks"][2]["details"] is None
