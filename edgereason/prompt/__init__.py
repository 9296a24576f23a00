"""From a conversation to the tokens a model reads:
templates, how it reasons, no injected tokens.
"""
