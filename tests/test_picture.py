"""The picture in the README is what `docs/picture.py` draws, and loads nothing from elsewhere."""

from __future__ import annotations

import html
import re
from importlib.util import module_from_spec, spec_from_file_location

from support.places import ROOT


def test_the_picture_shows_the_commands_and_what_came_of_them() -> None:
    spec = spec_from_file_location("picture", ROOT / "docs" / "picture.py")
    assert spec is not None
    assert spec.loader is not None
    picture = module_from_spec(spec)
    spec.loader.exec_module(picture)
    drawn = (ROOT / "docs" / "cli.svg").read_text(encoding="utf-8")
    text = html.unescape(re.sub(r"<[^>]+>", "", drawn)).replace("\xa0", " ")
    plain = " ".join(text.split())
    for command in picture.COMMANDS:
        assert all(word in plain for word in command.split())
    assert plain.count("tok/s") == len(picture.COMMANDS)
    assert "url(http" not in drawn
    assert "docs/cli.svg" in (ROOT / "README.md").read_text(encoding="utf-8")
