"""A plugin for pytest in the tests of llama.cpp's server: nothing is fetched, and tests that our
server is not to pass, or cannot, are expected to fail, each with its reason.

Their tests compare words and numbers of tokens of one model; here another one answers.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict


def pytest_sessionstart(session: pytest.Session) -> None:
    sys.path.insert(0, str(session.config.rootpath))
    import utils

    ask = utils.ServerProcess.make_request

    def asked(self: Any, *args: Any, **more: Any) -> Any:
        result = ask(self, *args, **more)
        result.headers = CaseInsensitiveDict(result.headers)  # as HTTP has them
        return result

    utils.ServerProcess.make_request = asked
    utils.ServerPreset.load_all = staticmethod(lambda: None)
