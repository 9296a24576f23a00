# cython: language_level=3, boundscheck=False, wraparound=False
# The policies of the core as a module of their own, built for the tests only.
include "policy.pxd"
include "policy.pxi"
include "plan.pxd"
include "plan.pxi"
