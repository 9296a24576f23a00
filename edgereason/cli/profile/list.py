"""`edgereason profile list`: the devices that are known, and which of them this machine is."""

from __future__ import annotations

import sys

from edgereason.cli._options import Debug, Json
from edgereason.cli._screen import console, json_object


def command(as_json: Json = False, debug: Debug = False) -> None:
    """List the profiles of devices; * is the one that fits this machine."""
    from edgereason.planning.device import this_machine
    from edgereason.planning.profile import load_profile, matching_profile, profile_names

    fitting = matching_profile(this_machine())
    profiles = [load_profile(name) for name in profile_names()]
    if as_json:
        told = [
            {
                "name": each.name,
                "about": each.about,
                "fits": fitting is not None and each.name == fitting.name,
            }
            for each in profiles
        ]
        json_object.say({"profiles": told})
        return
    from rich.table import Table

    table = Table("name", "", "GB/s", "modes", "about", box=None, pad_edge=False)
    for each in profiles:
        rate = each.bandwidth(each.mode("") if each.modes else None)
        mark = "*" if fitting is not None and each.name == fitting.name else ""
        modes = ", ".join(mode.name for mode in each.modes)
        table.add_row(each.name, mark, f"{rate:g}" if rate else "", modes, each.about)
    console(sys.stdout).print(table)
