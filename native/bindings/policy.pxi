# The policies of the core, one by one, for the tests that compare them with slow twins. Conversions only.
from edgereason.errors import UsageError


cdef vector[string] _texts(values) except *:
    cdef vector[string] texts = values
    return texts


cdef StringView _view(bytes data):
    return StringView(<const char*>data, len(data))


cdef TokenSpan _token_span(const vector[int32_t]& tokens):
    return TokenSpan(tokens.data(), tokens.size())


cdef class TextMatcher:
    cdef CTextMatcher core

    def __init__(self, patterns):
        self.core = CTextMatcher(_texts(patterns))

    def feed(self, bytes piece not None):
        """(pattern or -1, bytes of the piece after it, its length)."""
        cdef TextMatch match = self.core.Feed(_view(piece))
        return match.pattern, match.num_after, match.num_pattern

    def reset(self):
        self.core.Reset()

    @property
    def num_held(self):
        return self.core.num_held()


cdef class MarkerTracker:
    """The texts it has shown so far are in `answer` and `reasoning`."""

    cdef CMarkerTracker core
    cdef string shown_answer
    cdef string shown_reasoning

    def __init__(self, open, shut, stop, bint inside, ends=()):
        cdef vector[size_t] own = ends
        self.core = CMarkerTracker(_texts(open), _texts(shut), _texts(stop), inside, own)

    def feed(self, bytes piece not None):
        """0 nothing, 1 opened, 2 shut, 3 stopped."""
        return <uint8_t>self.core.Feed(_view(piece), &self.shown_answer, &self.shown_reasoning)

    def force_shut(self):
        self.core.ForceShut(&self.shown_reasoning)

    def flush(self):
        self.core.Flush(&self.shown_answer, &self.shown_reasoning)

    @property
    def inside(self):
        return self.core.inside()

    @property
    def num_held(self):
        return self.core.num_held()

    @property
    def answer(self):
        return <bytes>self.shown_answer

    @property
    def reasoning(self):
        return <bytes>self.shown_reasoning


cdef class RepetitionDetector:
    cdef CRepetitionDetector core
    cdef vector[int32_t] tokens

    def __init__(self, int32_t max_period, int32_t repeats, int32_t min_tokens):
        cdef Loop rule
        rule.max_period = max_period
        rule.repeats = repeats
        rule.min_tokens = min_tokens
        self.core = CRepetitionDetector(rule)

    def push(self, int32_t token):
        self.tokens.push_back(token)
        return self.core.Push(_token_span(self.tokens))


cdef class TokenBudget:
    cdef CTokenBudget core

    def __init__(self, int32_t limit=-1):
        self.core = CTokenBudget(limit)

    def can_spend(self):
        return self.core.can_spend()

    def spend(self):
        self.core.Spend()

    def refund(self, int32_t num):
        self.core.Refund(num)

    @property
    def used(self):
        return self.core.used()

    @property
    def remaining(self):
        return self.core.remaining()


cdef class Sampler:
    cdef unique_ptr[CSampler] core
    cdef int32_t num_vocab

    def __init__(self, int32_t num_vocab):
        self.core.reset(new CSampler(num_vocab))
        self.num_vocab = num_vocab

    def sample(
        self,
        const float[::1] logits not None,
        sampling,
        *,
        recent=(),
        uint64_t draw=0,
        int32_t lift=-1,
        float lift_share=0,
    ):
        """(token, logprob, margin, entropy); token -1: the logits are of no use."""
        cdef Sampling settings
        cdef vector[ContextItem] seen
        for token in recent:
            seen.push_back(ContextItem.OfToken(token))
        FillSampling(sampling, &settings)
        ids = [*recent, *sampling.logit_bias, max(lift, 0)]
        if len(logits) != self.num_vocab or min(ids) < 0 or max(ids) >= self.num_vocab:
            raise UsageError(f"logits and tokens must be those of a vocabulary of {self.num_vocab}")
        cdef Sampled drawn = self.core.get().Sample(
            LogitSpan(&logits[0], logits.shape[0]), settings, ItemSpan(seen.data(), seen.size()), draw, lift, lift_share
        )
        return drawn.token, drawn.logprob, drawn.margin, drawn.entropy

    def weigh(self, const float[::1] logits not None, sampling, blend, *, uint64_t draw=0):
        """[(token, weight)], the heaviest first."""
        cdef Sampling settings
        cdef Blend rule
        FillSampling(sampling, &settings)
        FillBlend(blend, &rule)
        if len(logits) != self.num_vocab:
            raise UsageError(f"logits must be those of a vocabulary of {self.num_vocab}")
        cdef WeightedSpan found = self.core.get().Weigh(
            LogitSpan(&logits[0], logits.shape[0]), settings, rule, ItemSpan(), draw
        )
        return [(found.data()[i].token, found.data()[i].weight) for i in range(found.size())]


cdef class BlendSwitch:
    cdef CBlendSwitch core
    cdef Blend rule

    def __init__(self, blend):
        FillBlend(blend, &self.rule)

    def next(self, double entropy):
        return self.core.Next(self.rule, entropy)

    @property
    def is_over(self):
        return self.core.is_over(self.rule)


def log_probs(const float[::1] logits not None, tokens):
    """Of the tokens, or None where the logits are of no use."""
    cdef vector[int32_t] asked = tokens
    cdef vector[double] scores
    if min(tokens, default=0) < 0 or max(tokens, default=0) >= len(logits):
        raise UsageError(f"tokens must be those of a vocabulary of {len(logits)}")
    if not LogProbs(LogitSpan(&logits[0], logits.shape[0]), _token_span(asked), &scores):
        return None
    return scores


cdef class CostModel:
    cdef CCostModel core

    def observe(self, int32_t rows, int64_t cells, double ms):
        self.core.Observe(rows, cells, ms)

    def restore(self, vector[double] knot_ms, double cell_ms):
        self.core.Restore(knot_ms, cell_ms)

    def step_ms(self, int32_t rows, int64_t cells=-1):
        return self.core.StepMs(rows, cells)

    def rows_within(self, double ms, int32_t max_rows):
        return self.core.RowsWithin(ms, max_rows)

    @property
    def load(self):
        return self.core.load()

    @property
    def cell_ms(self):
        return self.core.cell_ms()

    @property
    def known(self):
        return self.core.known()


def guess_next(tokens, int32_t num):
    """A negative token stands for what is none."""
    cdef vector[ContextItem] items
    cdef vector[int32_t] guesses
    guesses.resize(num)
    for token in tokens:
        items.push_back(ContextItem.OfToken(token) if token >= 0 else ContextItem.Latent())
    cdef Guessed found = GuessNext(
        ItemSpan(items.data(), items.size()), GuessSpan(guesses.data(), guesses.size())
    )
    return [guesses[i] for i in range(found.num)], found.match


cdef class Lookahead:
    cdef CLookahead core

    def num_worth(
        self, CostModel cost not None, int32_t num_rows, int32_t num, match, double guess_ms=0
    ):
        """`match` None: a model guesses."""
        cdef Guessed found
        found.num, found.match = num, kDrafted if match is None else match
        found.guess_ms = guess_ms
        return self.core.NumWorth(cost.core, num_rows, found)

    def learn(self, int32_t num, int32_t num_right):
        self.core.Learn(num, num_right)


def num_unfinished_utf8(bytes text not None):
    return NumUnfinishedUtf8(_view(text))


def soft_share(float soft, int32_t used, int32_t limit, bint at_sentence_end):
    return SoftShare(soft, used, limit, at_sentence_end)


def ends_sentence(bytes text not None):
    return EndsSentence(_view(text))


def counter_uniform(uint64_t seed, uint64_t index):
    return CounterUniform(seed, index)
