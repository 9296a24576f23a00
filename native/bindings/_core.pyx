# cython: language_level=3, boundscheck=False, wraparound=False
# The native core as one Python module. No logic: each part converts and calls.
include "core.pxd"
include "engines.pxd"
include "engines.pxi"
include "host.pxi"
include "scheduler.pxd"
include "grammar.pxd"
include "grammar.pxi"
include "scheduler.pxi"
include "threads.pxd"
include "threads.pxi"
