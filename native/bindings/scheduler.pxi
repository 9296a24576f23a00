# The scheduler as Python sees it. Conversions only; the meaning of every field is in the C++ headers.

cdef vector[int32_t] _tokens(values) except *:
    cdef vector[int32_t] tokens = values
    return tokens


cdef vector[string] _texts(values) except *:
    cdef vector[string] texts = values
    return texts


cdef void _fill_sampling(Sampling* out, sampling) except *:
    cdef LogitBias bias
    out.temperature = sampling.temperature
    out.top_k = sampling.top_k
    out.top_p = sampling.top_p
    out.min_p = sampling.min_p
    out.repetition_penalty = sampling.repetition_penalty
    out.presence_penalty = sampling.presence_penalty
    out.penalty_window = sampling.penalty_window
    out.seed = sampling.seed
    for token, value in sampling.logit_bias.items():
        bias.token = token
        bias.bias = value
        out.bias.push_back(bias)


cdef void _fill_phase(Phase* out, phase) except *:
    out.channel = <Channel><uint8_t>phase.channel
    if phase.fresh is not None:
        out.fresh = optional[vector[int32_t]](_tokens(phase.fresh))
    out.latent = phase.latent
    out.retract = phase.retract
    out.force = _tokens(phase.force)
    out.budget = phase.budget
    out.soft = phase.soft
    out.open = _texts(phase.open)
    out.shut = _texts(phase.shut)
    out.close = _tokens(phase.close)
    out.stop = _texts(phase.stop)
    out.owed = phase.owed
    _fill_sampling(&out.sampling, phase.sampling)
    if phase.probe is not None:
        out.probe.every = phase.probe.every
        out.probe.cue = _tokens(phase.probe.cue)
        out.probe.tokens = phase.probe.tokens
        out.probe.agree = phase.probe.agree
    if phase.loop is not None:
        out.loop.max_period = phase.loop.max_period
        out.loop.repeats = phase.loop.repeats
        out.loop.min_tokens = phase.loop.min_tokens


cdef dict _result_dict(const PhaseResult* result):
    return {
        "reason": <uint8_t>result.reason,
        "mark": result.mark,
        "tokens": tuple(result.tokens),
        "text": <bytes>result.text,
        "reasoning": <bytes>result.reasoning,
        "probe": <bytes>result.probe if result.has_probe else None,
        "num_reasoning": result.num_reasoning,
        "num_latent": result.num_latent,
        "num_probe_tokens": result.num_probe_tokens,
        "num_steps": result.num_steps,
        "num_prompt": result.num_prompt,
        "num_cached": result.num_cached,
        "num_cells": result.num_cells,
        "mean_logprob": result.mean_logprob,
        "min_logprob": result.min_logprob,
        "mean_margin": result.mean_margin,
        "mean_entropy": result.mean_entropy,
        "queue_ms": result.queue_ms,
        "prefill_ms": result.prefill_ms,
        "decode_ms": result.decode_ms,
    }


cdef class Scheduler:
    cdef unique_ptr[CScheduler] core
    cdef readonly Engine engine

    def __init__(
        self, Engine engine not None, *, int32_t threads=0, int32_t park_cells=-1,
        double chunk_ms=50, double margin=1.15, double delivery_ms=2, ManualClock clock=None,
    ):
        cdef SchedulerOptions options
        options.num_threads = threads
        options.park_cells = park_cells
        options.chunk_ms = chunk_ms
        options.margin = margin
        options.delivery_ms = delivery_ms
        cdef shared_ptr[CClock] time
        if clock is None:
            time = static_pointer_cast[CClock, CSteadyClock](make_shared[CSteadyClock]())
        else:
            time = static_pointer_cast[CClock, CManualClock](clock.clock)
        self.engine = engine
        self.core.reset(new CScheduler(engine.engine, time, options))

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
        self, *, int32_t priority=0, double arrival_ms=0, double deadline_ms=float("inf"),
        int32_t think_budget=-1, bint stream=False,
    ):
        cdef SequenceOptions options
        options.priority = priority
        options.arrival_ms = arrival_ms
        options.deadline_ms = deadline_ms
        options.think_budget = think_budget
        options.stream = stream
        return self.core.get().Open(options)

    def run(self, int64_t request, phases):
        cdef vector[Phase] chain
        chain.resize(len(phases))
        for i, phase in enumerate(phases):
            _fill_phase(&chain[<size_t>i], phase)
        self.core.get().Run(request, chain)

    def run_all(self, runs):
        cdef vector[IdAndChain] native
        native.resize(len(runs))
        for i, (request, phases) in enumerate(runs):
            native[<size_t>i].id = request
            native[<size_t>i].chain.resize(len(phases))
            for j, phase in enumerate(phases):
                _fill_phase(&native[<size_t>i].chain[<size_t>j], phase)
        self.core.get().RunAll(native)

    def stop_thinking(self, int64_t request):
        self.core.get().StopThinking(request)

    def cancel(self, int64_t request):
        self.core.get().Cancel(request)

    def close(self, int64_t request, *, bint park=False):
        self.core.get().Close(request, park)

    def add_prefix(self, const float[:, :, :, ::1] keys not None, const float[:, :, :, ::1] values not None):
        cdef PrefixKv prefix = _prefix(keys, values)
        cdef int32_t first
        with nogil:
            first = self.core.get().AddPrefix(prefix)
        return first

    def take(self, double timeout_ms, size_t max_events=256):
        cdef vector[Event] events
        with nogil:
            events = self.core.get().Take(timeout_ms, max_events)
        taken = []
        cdef Event event
        for event in events:
            if event.kind == EventKind.kText:
                taken.append((event.id, "text", <uint8_t>event.channel, event.text[:event.num_bytes]))
            elif event.kind == EventKind.kPhaseEnd:
                taken.append((event.id, "phase", event.last, _result_dict(event.result)))
                del event.result
            else:
                taken.append((event.id, "failed", True, self.engine.last_error()))
        return taken

    def stats(self):
        return self.core.get().stats()
