"""llama-cpp-python with llama.cpp's grammars, on the same model file, one question at a time."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

from edgereason.models.bundle import model_file, open_bundle
from edgereason.models.hub import resolve


class LlamaCppPython:
    """An open model. Greedy, with the chat template of the file and no thinking."""

    def __init__(self, model: str, context: int, threads: int) -> None:
        from llama_cpp import Llama

        path = model_file(open_bundle(resolve(model)))
        self._llama = Llama(
            str(path), n_ctx=context, n_threads=threads or None, n_gpu_layers=0, verbose=False
        )

    def ask(self, question: str, schema: dict[str, Any], budget: int) -> str:
        """The answer of `budget` tokens at most; "" where its converter refuses the schema."""
        from llama_cpp.llama_grammar import LlamaGrammar

        try:
            grammar = LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)
        except Exception:  # it raises what it likes
            return ""
        done: Any = self._llama.create_chat_completion(
            [{"role": "user", "content": question}],
            max_tokens=budget,
            temperature=0.0,
            grammar=grammar,
        )
        return str(done["choices"][0]["message"]["content"] or "")

    def __enter__(self) -> LlamaCppPython:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._llama.close()
