# The scheduler as Python sees it. Conversions only; the meaning of every field is in the C++ headers.
from libc.string cimport memcpy

cdef int32_t _int32(str name, value) except? -1:
    cdef int32_t number = 0
    FillNamed(name.encode(), value, &number)
    return number


cdef KeptTokens _kept(uint64_t context_key, tokens) except *:
    cdef KeptTokens kept
    kept.key = context_key
    kept.tokens = tokens
    return kept


cdef class Scheduler:
    cdef unique_ptr[CScheduler] core
    cdef readonly Engine engine
    cdef readonly Engine draft

    def __init__(
        self, Engine engine not None, *, int32_t threads=0, int32_t park_cells=-1,
        double chunk_ms=50, double margin=1.15, double answer_share=0.75, double most_slack=3,
        double delivery_ms=2, lookahead=0, cores=(), nice=0, bint lock_memory=False, ManualClock clock=None,
        Engine draft=None,
    ):
        cdef SchedulerOptions options
        options.num_threads = threads
        options.park_cells = park_cells
        options.chunk_ms = chunk_ms
        options.margin = margin
        options.answer_share = answer_share
        options.most_slack = most_slack
        options.delivery_ms = delivery_ms
        options.lookahead = _int32("lookahead", lookahead)
        for core in cores:
            options.thread.cores.push_back(_int32("core", core))
        options.thread.nice = _int32("nice", nice)
        options.thread.lock_memory = lock_memory
        cdef shared_ptr[CClock] time
        if clock is None:
            time = static_pointer_cast[CClock, CSteadyClock](make_shared[CSteadyClock]())
        else:
            time = static_pointer_cast[CClock, CManualClock](clock.clock)
        self.engine = engine
        self.draft = draft
        cdef shared_ptr[CEngine] guesses
        if draft is not None:
            guesses = draft.engine
        self.core.reset(new CScheduler(engine.engine, time, options, guesses))

    def __dealloc__(self):
        with nogil:  # its thread may wait for the GIL to end its step
            self.core.reset()

    def start(self):
        with nogil:
            self.core.get().Start()

    def stop(self):
        with nogil:
            self.core.get().Stop()

    def warm_up(self):
        with nogil:
            self.core.get().WarmUp()

    def now_ms(self):
        return self.core.get().NowMs()

    def step(self):
        cdef cbool did
        with nogil:
            did = self.core.get().Step()
        return did

    def open(
        self, *, priority=0, double arrival_ms=0, double deadline_ms=float("inf"),
        think_budget=-1, bint stream=False, uint64_t context_key=0, int32_t prefix=0,
    ):
        cdef SequenceOptions options
        options.priority = _int32("priority", priority)
        options.arrival_ms = arrival_ms
        options.deadline_ms = deadline_ms
        options.think_budget = _int32("think_budget", think_budget)
        options.stream = stream
        options.context_key = context_key
        options.prefix = prefix
        return self.core.get().Open(options)

    def run(self, int64_t sequence, phases):
        self.run_all([(sequence, phases)])

    def run_all(self, runs):
        cdef vector[IdAndChain] native
        native.resize(len(runs))
        for i, (sequence, phases) in enumerate(runs):
            native[<size_t>i].id = sequence
            native[<size_t>i].chain.resize(len(phases))
            for j, phase in enumerate(phases):
                FillPhase(phase, &native[<size_t>i].chain[<size_t>j])
        self.core.get().RunAll(native)

    def stop_thinking(self, int64_t sequence):
        self.core.get().StopThinking(sequence)

    def cancel(self, int64_t sequence):
        self.core.get().Cancel(sequence)

    def close(self, int64_t sequence, *, bint park=False):
        self.core.get().Close(sequence, park)

    def add_prefix(self, const float[:, :, :, ::1] keys not None, const float[:, :, :, ::1] values not None):
        cdef PrefixKv prefix = _prefix(keys, values)
        cdef int32_t id
        with nogil:
            id = self.core.get().AddPrefix(prefix)
        return id

    def kept(self):
        cdef vector[KeptTokens] native
        with nogil:
            native = self.core.get().kept()
        return [(one.key, tuple(one.tokens)) for one in native]

    def num_kept(self, uint64_t context_key, tokens):
        cdef KeptTokens kept = _kept(context_key, tokens)
        cdef int32_t num
        with nogil:
            num = self.core.get().NumKept(kept)
        return num

    def save_kept(self, uint64_t context_key, tokens):
        cdef KeptTokens kept = _kept(context_key, tokens)
        cdef vector[uint8_t] state
        with nogil:
            state = self.core.get().SaveKept(kept)
        return state.data()[:state.size()] if state.size() else b""

    def restore_kept(self, uint64_t context_key, tokens, const uint8_t[::1] state not None):
        cdef KeptTokens kept = _kept(context_key, tokens)
        if state.shape[0] == 0:
            raise UsageError("there is no KV to restore")
        cdef const uint8_t* data = &state[0]
        cdef size_t size = state.shape[0]
        cdef cbool done
        with nogil:
            done = self.core.get().RestoreKept(kept, ByteSpan(data, size))
        return done

    def add_adapters(self, uint64_t key, *, loras=(), const float[:, ::1] steering=None):
        import os

        cdef Adapters adapters
        cdef LoraFile lora
        for file, scale in loras:
            lora.path, lora.scale = os.fsencode(file), scale
            adapters.loras.push_back(lora)
        if steering is not None and steering.size > 0:
            adapters.steering.resize(<size_t>steering.size)
            memcpy(adapters.steering.data(), &steering[0, 0], adapters.steering.size() * sizeof(float))
        with nogil:
            self.core.get().AddAdapters(key, adapters)

    def restore_lengths(self, lengths):
        cdef vector[LearnedLength] native
        cdef LearnedLength one
        for kind, (weight, mean, spread) in lengths.items():
            one.kind, one.weight, one.mean, one.spread = kind, weight, mean, spread
            native.push_back(one)
        self.core.get().RestoreLengths(native)

    def lengths(self):
        cdef vector[LearnedLength] native = self.core.get().lengths()
        return {one.kind: (one.weight, one.mean, one.spread) for one in native}

    def restore_cost(self, knot_ms, double cell_ms=0):
        cdef KnownCost cost
        cost.knot_ms = knot_ms
        cost.cell_ms = cell_ms
        self.core.get().RestoreCost(cost)

    def take(self, double timeout_ms, size_t max_events=256):
        cdef vector[Event] events
        with nogil:
            events = self.core.get().Take(timeout_ms, max_events)
        taken = []
        cdef Event event
        cdef string error
        for event in events:
            if event.kind == EventKind.kText:
                taken.append((event.id, "text", ToPython(event.channel), event.text[:event.num_bytes]))
            elif event.kind == EventKind.kPhaseEnd:
                taken.append((event.id, "phase", event.last, DictOf(event.result[0])))
                del event.result
            else:
                error = FaultText(event, self.core.get().last_error())
                taken.append((event.id, "failed", ToPython(event.fault), error.decode("utf-8", "replace")))
        return taken

    def stats(self):
        return self.core.get().stats()


def names(str which not None):
    """The names of an enumeration, or of a record's fields, as the core has them, in its order."""
    return Names(which.encode())
