"""Tasks: questions whose right answers are known; one file each, its name is the task's.

Either problems without end, with a known way to the answer, dealt from a seed:

    generate(rng, split=..., ...) -> Problem        check(problem, text) -> bool

or a benchmark, whose data are fetched from where they were published, never shipped:

    SOURCE = Source(urls, licence)                  items(files) -> Iterator[Item]

`files` are those of `SOURCE.urls`, in that order. A checker of an item is a file in bench/checkers.
"""
