"""What a model is before it is opened:
bundles, their files, where they come from. The embedded models lie here.
"""
