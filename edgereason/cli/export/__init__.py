"""Export a model, measure what matters in it, compare two, look inside one.

One module a command; a line that names none of them is `model`'s.
"""
