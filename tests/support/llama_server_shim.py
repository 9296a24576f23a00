#!/usr/bin/env python3
"""Our server where the tests of llama.cpp's server start theirs: its flags, our options.

    LLAMA_SERVER_BIN_PATH=tests/support/llama_server_shim.py pytest unit/test_security.py

Those tests name no model that is here, and ask for any: one of ours answers to all names. Run by
`tests/server/test_llama_cpp.py`.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from edgereason.engines import llamacpp
from edgereason.models.bundle import Bundle, open_bundle
from edgereason.models.hub import resolve
from edgereason.prompt.detection import detect_reasoning
from edgereason.runtime.reasoner import Reasoner
from edgereason.server import Model, Models, Server, ServerConfig, build_app

_MODEL = "EDGEREASON_SHIM_MODEL"


class AnyName(Models):
    def named(self, name: str) -> Model:
        return next(iter(self))


def read_flags(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for flag, default in (("--host", "127.0.0.1"), ("--alias", "model"), ("--reasoning", "auto")):
        parser.add_argument(flag, default=default)
    for flag, default in (("--port", 8080), ("--ctx-size", 512), ("--parallel", 1), ("--seed", 0)):
        parser.add_argument(flag, type=int, default=default)
    parser.add_argument("--kv-unified", action="store_true")
    parser.add_argument("--n-predict", type=int, default=512)
    parser.add_argument("--temp", type=float, default=0.0)
    parser.add_argument("--api-key", action="append", default=[])
    parser.add_argument("--chat-template-file", type=Path)
    return parser.parse_known_args(given)[0]


def bundle_of(flags: argparse.Namespace) -> Bundle:
    """The model as the flags have it: its template, what one line may hold, how it draws."""
    bundle = open_bundle(resolve(os.environ.get(_MODEL, "smollm2-135m")))
    drawn = replace(bundle.sampling, temperature=flags.temp, seed=flags.seed)
    room = flags.ctx_size // (1 if flags.kv_unified else flags.parallel)
    bundle = replace(bundle, sampling=drawn, context=min(room, bundle.context or room))
    if flags.chat_template_file is None:
        return bundle
    template = flags.chat_template_file.read_text(encoding="utf-8")
    return replace(bundle, chat_template=template, reasoning=detect_reasoning(template))


def main() -> None:
    flags = read_flags(sys.argv[1:])
    bundle = bundle_of(flags)

    def open_model(path: Path) -> Reasoner:
        config = llamacpp.Config(context=flags.ctx_size, sequences=max(4, flags.parallel))
        return Reasoner(bundle, llamacpp.open(bundle, config), threads=1)

    config = ServerConfig(
        host=flags.host,
        port=flags.port,
        api_keys=tuple(flags.api_key),
        answer_tokens=max(1, flags.n_predict),
        default_effort="none"
        if flags.reasoning == "off" or not bundle.reasoning.opens
        else "medium",
    )
    models = AnyName({flags.alias: Model(flags.alias, bundle)}, open_model)
    Server(build_app(models, config), config).listen()


if __name__ == "__main__":
    main()
