"""JUnit XML: a suite for each run, a test case for each judged claim."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from harness.checkers.verdict import UNKNOWN, Verdict
from harness.errors import UsageError
from harness.history.record import Results


def write_junit(path: Path, runs: Sequence[tuple[str, Results]]) -> None:
    """Write all runs so far, replacing the file atomically. Raises `UsageError` when that fails.

    An invalid claim is a failure with the witness in words, an unknown one an error. With
    `--expect invalid` the verdict as a whole is the only test case.
    """
    suites = ET.Element("testsuites", name="harness")
    for name, results in runs:
        suites.append(_suite(name, results))
    partial = path.with_name(path.name + ".partial")
    try:
        ET.ElementTree(suites).write(partial, encoding="utf-8", xml_declaration=True)
        partial.replace(path)
    except OSError as e:
        raise UsageError(f"--junit: can't write {path}: {e.strerror}") from e


def _suite(name: str, results: Results) -> ET.Element:
    suite = ET.Element("testsuite", name=name)
    if results.expect == "invalid":
        expected = Verdict(
            valid=UNKNOWN if results.valid == UNKNOWN else results.exit_code == 0,
            why=f"expected to be invalid: {results.why}",
        )
        cases = {"expected-invalid": expected}
    else:
        cases = {n: v for n, v in results.claims.items() if v.judged}
    for claim, verdict in cases.items():
        case = ET.SubElement(suite, "testcase", classname=name, name=claim)
        if verdict.valid is False:
            ET.SubElement(case, "failure", message=_xml(verdict.why)).text = _xml(_words(verdict))
        elif verdict.valid == UNKNOWN:
            ET.SubElement(case, "error", message=_xml(verdict.why)).text = _xml(verdict.why)
        else:
            ET.SubElement(case, "system-out").text = _xml(verdict.why)
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(v.valid is False for v in cases.values())))
    suite.set("errors", str(sum(v.valid == UNKNOWN for v in cases.values())))
    return suite


def _words(verdict: Verdict) -> str:
    lines = [verdict.why]
    for witness in verdict.evidence.get("witnesses", []):
        lines += ["", witness["sentence"], *witness["words"]]
    return "\n".join(lines)


def _xml(text: str) -> str:
    """Replace control characters that XML does not allow."""
    return "".join(c if c >= " " or c in "\n\t" else "?" for c in text)
