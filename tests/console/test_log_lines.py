from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from console.log_lines import MaskingFormatter, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no such user: <ann.smith+shop@mail.example>", "no such user: <…>"),
        ("+48 501 987-123 and %2B48501987123 are bad", "… and … are bad"),
        ("https://name:password@registry.example/x", "…"),
        (
            "timers[3]: offset 1795334638348 at 10:00:00,123",
            "timers[3]: offset 1795334638348 at 10:00:00,123",
        ),
        ("{'phone': '+48501987123', 'email': 'żółw@mail.example'}", "{'phone': '…', 'email': '…'}"),
    ],
)
def test_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_what_an_error_quotes_is_masked_too() -> None:
    error = ValueError("ann@mail.example can't be reached at +48501987123")
    info = (ValueError, error, None)
    record = logging.LogRecord("a", logging.ERROR, "", 1, "%r", ("bob@mail.example",), info)
    line = MaskingFormatter().format(record)
    assert "ValueError: … can't be reached at …" in line
    assert "mail.example" not in line


def test_what_ends_the_process_is_told_masked() -> None:
    program = "from console.log_lines import set_up\nset_up('DEBUG')\nraise KeyError('+48501987123')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "CRITICAL carillon: ended by an error" in done.stderr
    assert "KeyError: '…'" in done.stderr
    # The traceback shows the line of the program, which is not data; the error itself is.
    assert "501987123" not in done.stderr.rpartition("KeyError:")[2]


def test_libraries_that_log_records_stay_quiet() -> None:
    program = (
        "import logging\nfrom console.log_lines import QUIET, set_up\nset_up('DEBUG')\n"
        "assert all(not logging.getLogger(f'{name}.x').isEnabledFor(logging.INFO) for name in QUIET)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
