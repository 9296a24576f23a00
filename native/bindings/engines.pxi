# The engines as Python sees them. Conversions only; the meaning of every call is in edgereason/engine.h.
from edgereason.errors import ContextFullError, EngineError, UnsupportedError, UsageError

# The version of the llama-cpp-python package this module was built against.
LLAMA_CPP_PYTHON = LLAMA_PACKAGE.decode()

cdef size_t _SHORT_TEXT = 512  # bytes: some tens of microseconds
# Each request asks for the same marks, such as "</think>"; libllama takes 20 us for one.
cdef size_t _MARK_LENGTH = 24  # characters
cdef size_t _MOST_MARKS = 256

_KV_TYPES = {"f16": <uint8_t>KvType.kF16, "q8_0": <uint8_t>KvType.kQ8_0}


cdef bytes _utf8(text):
    # Lone surrogates become bytes that the core refuses as "not UTF-8".
    return text.encode("utf-8", "surrogatepass")


cdef class ManualClock:
    cdef shared_ptr[CManualClock] clock

    def __cinit__(self):
        self.clock = make_shared[CManualClock]()

    def now_ms(self):
        return self.clock.get().NowMs()

    def advance(self, double ms):
        self.clock.get().Advance(ms)


cdef PrefixKv _prefix(const float[:, :, :, ::1] keys, const float[:, :, :, ::1] values) except *:
    # Keys and values [layers, kv_heads, slots, head_dim], which must outlive what is returned.
    cdef PrefixKv prefix
    if keys.size == 0 or keys.size != values.size:
        raise UsageError("keys and values of a prefix must be of one size, and not empty")
    prefix.num_layers, prefix.num_kv_heads = <int32_t>keys.shape[0], <int32_t>keys.shape[1]
    prefix.num_positions, prefix.head_dim = <int32_t>keys.shape[2], <int32_t>keys.shape[3]
    prefix.keys = FloatSpan(&keys[0, 0, 0, 0], <size_t>keys.size)
    prefix.values = FloatSpan(&values[0, 0, 0, 0], <size_t>values.size)
    return prefix


cdef class Engine:
    cdef shared_ptr[CEngine] engine
    cdef int64_t longest_piece
    cdef dict marks  # the tokens of short texts: (text, parse_control) -> list

    def __cinit__(self):
        self.marks = {}

    def __init__(self):
        raise TypeError("an engine is opened by one of the modules in edgereason.engines")

    @property
    def info(self):
        return self.engine.get().info()

    @property
    def most_bytes(self):
        # Of a text that may fit into the context: no token is longer than the longest.
        if self.longest_piece == 0:
            self.longest_piece = <int64_t>self.engine.get().vocab().LongestPiece()
        return self.longest_piece * self.engine.get().info().num_cells

    cdef string get_last_error(self):
        return self.engine.get().last_error()

    def last_error(self):
        return self.engine.get().last_error().decode("utf-8", "replace")

    def tokenize(self, str text not None, *, bint parse_control=False):
        if len(text) > _MARK_LENGTH:
            return self._tokenized(text, parse_control)
        key = (text, parse_control)
        tokens = self.marks.get(key)
        if tokens is None:
            if len(self.marks) >= _MOST_MARKS:
                self.marks.clear()
            tokens = self.marks[key] = self._tokenized(text, parse_control)
        return list(tokens)

    cdef list _tokenized(self, str text, bint parse_control):
        cdef string data = _utf8(text)
        cdef vector[int32_t] tokens
        if data.size() <= _SHORT_TEXT:  # taking the GIL back can take longer than this
            return self.engine.get().Tokenize(data, parse_control)
        with nogil:
            tokens = self.engine.get().Tokenize(data, parse_control)
        return tokens

    def detokenize(self, tokens):
        return b"".join([self.piece(token) for token in tokens])

    cdef size_t _token(self, int32_t token) except? 0:
        if not 0 <= token < self.engine.get().info().num_vocab:
            raise UsageError(f"no token {token}")
        return <size_t>token

    def piece(self, int32_t token):
        cdef string bytes_of = self.engine.get().vocab().pieces[self._token(token)]
        return bytes_of

    def ends(self, int32_t token):
        return self.engine.get().vocab().ends[self._token(token)] != 0

    def is_control(self, int32_t token):
        return self.engine.get().vocab().control[self._token(token)] != 0

    @property
    def bos(self):
        cdef int32_t token = self.engine.get().vocab().bos
        return None if token < 0 else token

    @property
    def add_bos(self):
        return self.engine.get().vocab().add_bos

    def meta(self, str key not None):
        return None

    def decode(self, rows):
        cdef vector[CRow] batch
        cdef CRow row
        cdef const float[::1] embedding
        cdef Status status
        keep = []
        for seq, pos, token, output in rows:
            row.seq, row.pos, row.output, row.logits = seq, pos, output, output != "hidden"
            row.token, row.embedding = -1, <const float*>NULL
            if isinstance(token, int):
                row.token = token
            else:
                embedding = token
                if embedding.shape[0] != self.engine.get().info().num_embd:
                    raise UsageError(f"an embedding has {self.info['num_embd']} numbers, got {len(token)}")
                row.embedding = &embedding[0]
                keep.append(embedding)
            batch.push_back(row)
        with nogil:
            status = self.engine.get().Decode(RowSpan(batch.data(), batch.size()))
        if status == Status.kNoCells:
            raise ContextFullError(f"no KV cells left for {batch.size()} rows")
        if status == Status.kFailed:
            raise EngineError(self.last_error())

    def logits(self, int32_t row):
        return _array(self.engine.get().Logits(row))

    def hidden(self, int32_t row):
        return _array(self.engine.get().Hidden(row))

    def embed(self, int32_t token):
        import numpy

        row = numpy.empty(self.engine.get().info().num_embd, numpy.float32)
        cdef float[::1] room = row
        found = self.engine.get().Embed(<int32_t>self._token(token), FloatRoom(&room[0], <size_t>row.size))
        return row if found else None

    def fork(self, int32_t source, int32_t target, int32_t length):
        return self.engine.get().Fork(source, target, length)

    def trim(self, int32_t seq, int32_t length):
        return self.engine.get().Trim(seq, length)

    def drop(self, int32_t seq):
        self.engine.get().Drop(seq)

    def save(self, int32_t seq):
        cdef vector[uint8_t] state
        with nogil:
            state = self.engine.get().Save(seq)
        return state.data()[:state.size()] if state.size() else b""

    def load(self, int32_t seq, const uint8_t[::1] state not None):
        cdef ByteSpan span
        if state.shape[0] > 0:
            span = ByteSpan(&state[0], <size_t>state.shape[0])
        with nogil:
            self.engine.get().Load(seq, span)

    def load_prefix(
        self, int32_t seq, const float[:, :, :, ::1] keys not None, const float[:, :, :, ::1] values not None
    ):
        cdef PrefixKv prefix = _prefix(keys, values)
        with nogil:
            self.engine.get().LoadPrefix(seq, prefix)

    def set_threads(self, int32_t num_threads):
        self.engine.get().SetThreads(num_threads)


cdef object _array(FloatSpan span):
    import numpy

    if span.size() == 0:
        return None
    return numpy.asarray(<const float[:span.size()]>span.data()).copy()


def needed_bytes(
    int64_t file_bytes, *, int32_t context, int64_t cell_values, int32_t num_embd,
    int32_t num_feed_forward, int32_t num_vocab,
):
    cdef LlamaOptions options
    cdef ModelFile file
    file.file_bytes = file_bytes
    file.num_vocab = num_vocab
    file.num_embd = num_embd
    file.num_feed_forward = num_feed_forward
    file.trained_context = context
    file.cell_values = cell_values
    return NeededBytes(file, PlanOf(options, context))


def free_memory_bytes():
    return FreeMemoryBytes()


cdef class LlamaEngine(Engine):
    cdef shared_ptr[CLlamaEngine] llama

    def __init__(
        self, path, *, int32_t context=0, str kv_type="f16", int32_t gpu_layers=-1,
        int32_t max_seqs=16, int32_t max_rows=512, int32_t max_threads=0, bint hidden=False,
        bint activations=False, bint mmap=True, int64_t memory_limit=0, loras=(),
    ):
        import os

        if kv_type not in _KV_TYPES:
            raise UsageError(f"KV type must be f16 or q8_0, got {kv_type}")
        cdef LlamaOptions options
        cdef LoraFile lora
        options.path = os.fsencode(path)
        options.context = context
        options.kv_type = <KvType><uint8_t>_KV_TYPES[kv_type]
        options.gpu_layers = gpu_layers
        options.max_seqs = max_seqs
        options.max_rows = max_rows
        options.max_threads = max_threads
        options.hidden = hidden
        options.activations = activations
        options.mmap = mmap
        options.memory_limit = memory_limit
        for file, scale in loras:
            lora.path, lora.scale = os.fsencode(file), scale
            options.loras.push_back(lora)
        with nogil:
            self.llama.reset(new CLlamaEngine(options))
        self.engine = static_pointer_cast[CEngine, CLlamaEngine](self.llama)

    def meta(self, str key not None):
        cdef optional[string] value = self.llama.get().Meta(_utf8(key))
        return value.value().decode("utf-8", "replace") if value.has_value() else None

    def activations(self):
        import numpy

        cdef const vector[Activation]* entries = &self.llama.get().activations()
        cdef const Activation* entry
        found = {}
        for i in range(entries.size()):
            entry = &entries[0][i]
            sums = numpy.array(entry.sum_squares, numpy.float64).reshape(-1, entry.num_columns)
            found[entry.name.decode("utf-8", "replace")] = (
                sums, numpy.array(entry.counts, numpy.int64), entry.largest
            )
        return found


cdef class SumEngine(Engine):
    cdef readonly Engine base

    def __init__(self, Engine base not None, Engine guide not None, float strength):
        self.engine = shared_ptr[CEngine](<CEngine*>new CSumEngine(base.engine, guide.engine, strength))
        self.base = base

    def meta(self, str key not None):
        return self.base.meta(key)


cdef class ScriptedEngine(Engine):
    cdef shared_ptr[CScriptedEngine] scripted

    def __init__(
        self, rules=(), *, words=(), control=("<|im_start|>",), str end="<|im_end|>",
        uint32_t caps=575, int32_t context=4096, int32_t max_rows=512, int32_t max_seqs=16,
        int32_t max_threads=1, int32_t num_embd=8, ManualClock clock=None, double step_ms=0,
        double cell_ms=0, double row_ms=0, pace=(), double sleep_ms=0, int64_t fail_at_step=-1,
    ):
        cdef ScriptedOptions options
        cdef ScriptedRule rule
        for after, reply in rules:
            rule.after, rule.reply = _utf8(after), _utf8(reply)
            options.rules.push_back(rule)
        options.words = [_utf8(word) for word in words]
        options.control = [_utf8(name) for name in control]
        options.end = _utf8(end)
        options.caps = caps
        options.num_cells = context
        options.max_rows = max_rows
        options.max_seqs = max_seqs
        options.max_threads = max_threads
        options.num_embd = num_embd
        if clock is not None:
            options.clock = clock.clock
        options.step_ms = step_ms
        options.cell_ms = cell_ms
        options.row_ms = row_ms
        options.pace = pace
        options.sleep_ms = sleep_ms
        options.fail_at_step = fail_at_step
        self.scripted.reset(new CScriptedEngine(options))
        self.engine = static_pointer_cast[CEngine, CScriptedEngine](self.scripted)

    @property
    def num_steps(self):
        return self.scripted.get().num_steps()

    @property
    def num_used_cells(self):
        return self.scripted.get().num_used_cells()

    @property
    def num_threads(self):
        return self.scripted.get().num_threads()

    def text(self, int32_t seq):
        return self.scripted.get().Text(seq)
