from __future__ import annotations

import json

import pytest

from streams.settings import Settings
from tests.console.conftest import Carillon

pytestmark = pytest.mark.embedded


@pytest.mark.usefixtures("own_topics")
def test_pause_list_and_resume(carillon: Carillon) -> None:
    assert (
        "sms of all companies is paused" in carillon("channels", "pause", "sms", "--why", "wrong text").output
    )
    assert carillon("channels", "pause", "email", "--company", "acme", "--as", "maria").exit_code == 0
    listed = [json.loads(line) for line in carillon("channels", "list", "--json").output.splitlines()]
    assert [(one["channel"], one["company"], one["by"], one["why"]) for one in listed] == [
        ("sms", "", "", "wrong text"),
        ("email", "acme", "maria", ""),
    ]
    table = carillon("channels", "list").output
    assert "wrong text" in table
    assert carillon("channels", "resume", "sms").exit_code == 0
    again = carillon("channels", "resume", "sms")
    assert (again.exit_code, "is not paused" in again.output) == (1, True)
    left = carillon("channels", "list", "--json").output.splitlines()
    assert [json.loads(line)["company"] for line in left] == ["acme"]


def test_a_channel_that_is_none(carillon: Carillon, own_topics: Settings) -> None:
    assert own_topics.topic_prefix
    assert carillon("channels", "pause", "fax").exit_code == 2
