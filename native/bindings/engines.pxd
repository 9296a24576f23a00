# Every extern of the engines. Included by _core.pyx.

cdef extern from *:
    const char* LLAMA_PACKAGE "EDGEREASON_LLAMA_PACKAGE"


cdef extern from "llama_engine.h" namespace "edgereason":
    cdef enum class KvType(uint8_t):
        kF16
        kQ8_0

    cdef cppclass LlamaOptions:
        string path
        vector[LoraFile] loras
        int32_t context
        KvType kv_type
        int32_t gpu_layers
        int32_t max_seqs
        int32_t max_rows
        int32_t max_threads
        cbool hidden
        cbool activations
        cbool mmap
        int64_t memory_limit

    cdef cppclass ModelFile:
        int64_t file_bytes
        int32_t num_vocab
        int32_t num_embd
        int32_t num_feed_forward
        int32_t trained_context
        int64_t cell_values

    cdef cppclass MemoryPlan:
        int64_t cells

    MemoryPlan PlanOf(const LlamaOptions&, int32_t) except +translate_error
    int64_t NeededBytes(const ModelFile&, const MemoryPlan&) except +translate_error
    int64_t FreeMemoryBytes() except +translate_error

    cdef struct Activation:
        string name
        int64_t num_columns
        vector[double] sum_squares
        vector[int64_t] counts
        float largest

    cdef cppclass CLlamaEngine "edgereason::LlamaEngine"(CEngine):
        CLlamaEngine(const LlamaOptions&) except +translate_error nogil
        optional[string] Meta(const string&) except +translate_error
        const vector[Activation]& activations() except +translate_error


cdef extern from "edgereason/scripted.h" namespace "edgereason":
    cdef cppclass ScriptedRule:
        string after
        string reply

    cdef cppclass ScriptedOptions:
        vector[ScriptedRule] rules
        vector[string] words
        vector[string] control
        string end
        uint32_t caps
        int32_t num_cells
        int32_t max_rows
        int32_t max_seqs
        int32_t max_threads
        int32_t num_embd
        shared_ptr[CManualClock] clock
        double step_ms
        double cell_ms
        double row_ms
        vector[double] pace
        double sleep_ms
        int64_t fail_at_step

    cdef cppclass CScriptedEngine "edgereason::ScriptedEngine"(CEngine):
        CScriptedEngine(const ScriptedOptions&) except +translate_error
        int64_t num_steps() noexcept nogil
        int32_t num_used_cells() noexcept nogil
        int32_t num_threads() noexcept nogil
        string Text(int32_t) except +translate_error


cdef extern from "sum_engine.h" namespace "edgereason":
    cdef cppclass CSumEngine "edgereason::SumEngine"(CEngine):
        CSumEngine(shared_ptr[CEngine], shared_ptr[CEngine], float) except +translate_error


cdef extern from "thread_state.h" namespace "edgereason":
    void KeepThreadState() noexcept nogil

cdef extern from "host.h" namespace "edgereason":
    cdef struct HostRows:
        int32_t num_rows
        int32_t num_outputs
        const int32_t* seqs
        const int32_t* positions
        const int32_t* tokens
        const uint8_t* outputs
        const float* embeddings

    cdef struct HostResults:
        const float* logits
        const float* hidden

    cdef struct HostCalls:
        Status (*decode)(void*, const HostRows*, HostResults*, string*) noexcept
        Status (*fork)(void*, int32_t, int32_t, int32_t, string*) noexcept
        Status (*trim)(void*, int32_t, int32_t, string*) noexcept
        Status (*save)(void*, int32_t, vector[uint8_t]*, string*) noexcept
        Status (*load)(void*, int32_t, int32_t, const uint8_t*, size_t, string*) noexcept
        Status (*set_threads)(void*, int32_t, string*) noexcept
        void (*release)(void*) noexcept

    cdef cppclass HostOptions:
        EngineInfo info
        string vocab_path
        string fingerprint
        void* model
        const HostCalls* calls

    void CloseHosts() noexcept nogil

    cdef cppclass CHostEngine "edgereason::HostEngine"(CEngine):
        CHostEngine(const HostOptions&) except +translate_error
        optional[string] Meta(const string&) except +translate_error
