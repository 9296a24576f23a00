# Every extern of the engines. Included by _core.pyx.

cdef extern from "llama_engine.h" namespace "edgereason":
    cdef enum class KvType(uint8_t):
        kF16
        kQ8_0

    cdef cppclass LlamaOptions:
        string path
        int32_t context
        KvType kv_type
        int32_t gpu_layers
        int32_t max_seqs
        int32_t max_rows
        int32_t max_threads
        cbool hidden
        cbool mmap
        int64_t memory_limit

    cdef cppclass CLlamaEngine "edgereason::LlamaEngine"(CEngine):
        CLlamaEngine(const LlamaOptions&) except +translate_error nogil
        optional[string] Meta(const string&) except +translate_error
