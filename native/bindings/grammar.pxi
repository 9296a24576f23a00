# Grammars as Python sees them. Conversions only; the meaning of every call is in the C++ headers.
from cpython.pycapsule cimport PyCapsule_New
from libcpp.utility cimport move


cdef class Grammars:
    cdef shared_ptr[const Guidance] guidance
    cdef readonly Engine engine

    def __init__(self, Engine engine not None, str library not None):
        import os

        cdef string path = os.fsencode(library)
        self.engine = engine
        with nogil:
            self.guidance = Guidance.Open(path, engine.engine)

    def compile(self, str kind not None, str text not None):
        cdef string of_kind = _utf8(kind)
        cdef string data = _utf8(text)
        cdef Grammar made = Grammar.__new__(Grammar)
        cdef unique_ptr[CGrammar] compiled
        with nogil:
            compiled = self.guidance.get().Compile(of_kind, data)
        made.grammar = shared_ptr[CGrammar](move(compiled))
        return made


cdef class Grammar:
    cdef shared_ptr[CGrammar] grammar

    def __init__(self):
        raise TypeError("a grammar is compiled by Grammars")

    @property
    def is_json(self):
        return self.grammar.get().is_json()

    @property
    def capsule(self):
        # Valid as long as this is.
        return PyCapsule_New(<void*>self.grammar.get(), GRAMMAR_CAPSULE, NULL)


cdef class Guide:
    cdef unique_ptr[CGuide] guide

    def __init__(self, Grammar grammar not None, int32_t budget):
        cdef unique_ptr[CGrammar] own
        with nogil:
            own = grammar.grammar.get().Clone()
            self.guide.reset(new CGuide(shared_ptr[CGrammar](move(own)), budget))

    def prepare(self):
        cdef cbool goes_on
        with nogil:
            goes_on = self.guide.get().Prepare()
        return goes_on

    @property
    def mask(self):
        cdef MaskSpan mask = self.guide.get().mask()
        return (<const char*>mask.data())[:4 * mask.size()]

    def accept(self, int32_t token, int32_t left):
        cdef cbool taken
        with nogil:
            taken = self.guide.get().Accept(token, left)
        return taken

    def forced(self):
        cdef vector[int32_t] tokens
        with nogil:
            tokens = self.guide.get().Forced()
        return tokens

    @property
    def must_end(self):
        return self.guide.get().MustEnd()

    @property
    def ending(self):
        cdef TokensSpan tokens = self.guide.get().Ending()
        return [tokens.data()[i] for i in range(tokens.size())]

    @property
    def ends_valid(self):
        return self.guide.get().ends_valid()
