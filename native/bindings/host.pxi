# An engine whose model is a Python object. The contract is in edgereason/engines/base.py; here each
# call takes the GIL, converts, and turns what the model raises into a status.
import atexit
import traceback

from cpython.exc cimport PyErr_SetInterrupt
from cpython.ref cimport Py_DECREF, Py_INCREF


cdef class _Host:
    """What the native side holds: the model, and its last results, which are read in place."""
    cdef object model
    cdef object step  # of one row, or None
    cdef int32_t num_vocab
    cdef int32_t num_embd
    cdef int32_t max_rows
    cdef const int32_t* seqs  # where the engine lays its columns; the arrays below are over them
    cdef tuple columns
    cdef object logits_of  # what `logits` and `hidden` look into
    cdef object hidden_of
    cdef const float[:, ::1] logits
    cdef const float[:, ::1] hidden


cdef Status _failed(object error, string* why) noexcept:
    try:
        where = traceback.extract_tb(error.__traceback__)
        place = f" ({where[-1].filename}:{where[-1].lineno})" if where else ""
        why[0] = _utf8(f"{type(error).__name__}: {error}{place}")
        if isinstance(error, KeyboardInterrupt):
            PyErr_SetInterrupt()  # no error of the model's: the main thread shall get it
    except BaseException:
        why[0] = b"the model failed, and so did its error"
    return Status.kFailed


cdef tuple _columns(_Host host, const HostRows* rows):
    """The engine lays its columns into the same memory each time, so arrays are made once."""
    if host.columns is None or host.seqs != rows.seqs:
        import numpy

        host.seqs = rows.seqs
        host.columns = (
            numpy.asarray(<const int32_t[:host.max_rows]>rows.seqs),
            numpy.asarray(<const int32_t[:host.max_rows]>rows.positions),
            numpy.asarray(<const int32_t[:host.max_rows]>rows.tokens),
            numpy.asarray(<const uint8_t[:host.max_rows]>rows.outputs).view(bool),
        )
    return host.columns


cdef tuple _decode(_Host host, const HostRows* rows):
    cdef int32_t num = rows.num_rows
    embeddings = None
    if rows.embeddings != NULL:
        import numpy

        embeddings = numpy.asarray(<const float[:num, :host.num_embd]>rows.embeddings)
    seqs, positions, tokens, outputs = _columns(host, rows)
    return host.model.decode(
        seqs[:num], positions[:num], tokens[:num], outputs[:num], embeddings
    )


cdef const float* _results(const float[:, ::1] array, str what, int32_t rows, int32_t width) except NULL:
    if array.shape[0] < rows or array.shape[1] != width:
        raise ValueError(
            f"{what} must be [{rows}, {width}], got [{array.shape[0]}, {array.shape[1]}]"
        )
    return &array[0, 0]


cdef Status _host_decode(
    void* pointer, const HostRows* rows, HostResults* results, string* why
) noexcept nogil:
    KeepThreadState()
    return _host_decode_held(pointer, rows, results, why)


cdef Status _host_decode_held(
    void* pointer, const HostRows* rows, HostResults* results, string* why
) noexcept with gil:
    cdef _Host host = <_Host>pointer
    cdef int32_t num = rows.num_rows
    try:
        if num == 1 and rows.embeddings == NULL and host.step is not None:
            logits, hidden = host.step(rows.seqs[0], rows.tokens[0]), None
        else:
            logits, hidden = _decode(host, rows)
        results.logits = results.hidden = NULL
        if rows.num_outputs > 0:
            if logits is None or logits is not host.logits_of:
                host.logits, host.logits_of = logits, logits
            if hidden is not host.hidden_of:
                host.hidden, host.hidden_of = hidden, hidden
            results.logits = _results(host.logits, "logits", rows.num_outputs, host.num_vocab)
            if hidden is not None:
                results.hidden = _results(
                    host.hidden, "hidden", rows.num_outputs, host.num_embd
                )
        return Status.kOk
    except ContextFullError:
        return Status.kNoCells
    except BaseException as error:
        return _failed(error, why)


cdef Status _host_fork(
    void* pointer, int32_t source, int32_t target, int32_t length, string* why
) noexcept with gil:
    try:
        (<_Host>pointer).model.fork(source, target, length)
        return Status.kOk
    except BaseException as error:
        return _failed(error, why)


cdef Status _host_trim(void* pointer, int32_t seq, int32_t length, string* why) noexcept with gil:
    try:
        (<_Host>pointer).model.trim(seq, length)
        return Status.kOk
    except BaseException as error:
        return _failed(error, why)


cdef Status _host_save(
    void* pointer, int32_t seq, vector[uint8_t]* body, string* why
) noexcept with gil:
    cdef const uint8_t[::1] data
    try:
        data = (<_Host>pointer).model.save(seq)
        if data.shape[0] > 0:
            body.assign(&data[0], &data[0] + data.shape[0])
        return Status.kOk
    except BaseException as error:
        return _failed(error, why)


cdef Status _host_load(
    void* pointer, int32_t seq, int32_t length, const uint8_t* body, size_t num_bytes, string* why
) noexcept with gil:
    try:
        (<_Host>pointer).model.load(seq, length, body[:num_bytes] if num_bytes else b"")
        return Status.kOk
    except BaseException as error:
        return _failed(error, why)


cdef Status _host_set_threads(void* pointer, int32_t num_threads, string* why) noexcept with gil:
    try:
        (<_Host>pointer).model.set_threads(num_threads)
        return Status.kOk
    except BaseException as error:
        return _failed(error, why)


cdef void _host_release(void* pointer) noexcept with gil:
    Py_DECREF(<_Host>pointer)


cdef HostCalls _HOST_CALLS
_HOST_CALLS.decode = _host_decode
_HOST_CALLS.fork = _host_fork
_HOST_CALLS.trim = _host_trim
_HOST_CALLS.save = _host_save
_HOST_CALLS.load = _host_load
_HOST_CALLS.set_threads = _host_set_threads
_HOST_CALLS.release = _host_release


def _close_hosts():
    # A native thread that asks for the GIL of an interpreter that is gone never comes back.
    with nogil:
        CloseHosts()


atexit.register(_close_hosts)


cdef class HostEngine(Engine):
    cdef shared_ptr[CHostEngine] host
    cdef readonly object model
    cdef dict _meta

    def __init__(
        self, model, vocab, *, uint32_t caps, int32_t num_vocab, int32_t num_embd, int32_t context,
        int32_t max_rows, int32_t max_seqs, int32_t max_threads=1, int64_t cell_bytes=0,
        str fingerprint="", meta=None,
    ):
        import os

        cdef HostOptions options
        cdef _Host host = _Host()
        host.model, host.num_vocab, host.num_embd = model, num_vocab, num_embd
        host.max_rows = max_rows
        host.step = getattr(model, "step", None)
        if min(num_vocab, num_embd, context, max_rows, max_seqs, max_threads) < 1:
            raise UsageError("the sizes of an engine must be 1 or more")
        options.info.caps = caps
        options.info.num_vocab = num_vocab
        options.info.num_embd = num_embd
        options.info.num_cells = context
        options.info.max_rows = max_rows
        options.info.max_seqs = max_seqs
        options.info.max_threads = max_threads
        options.info.cell_bytes = cell_bytes
        options.vocab_path = os.fsencode(vocab)
        options.fingerprint = _utf8(fingerprint)
        options.calls = &_HOST_CALLS
        options.model = <void*>host
        Py_INCREF(host)
        self.host.reset(new CHostEngine(options))
        self.engine = static_pointer_cast[CEngine, CHostEngine](self.host)
        self.model = model
        self._meta = dict(meta or {})

    def meta(self, str key not None):
        if key in self._meta:
            return self._meta[key]
        cdef optional[string] value = self.host.get().Meta(_utf8(key))
        return value.value().decode("utf-8", "replace") if value.has_value() else None
