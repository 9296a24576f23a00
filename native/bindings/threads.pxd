# Every extern of threads.pxi. Included by _core.pyx.

cdef extern from "policy/threads.h" namespace "edgereason":
    cdef cppclass CThreadGovernor "edgereason::ThreadGovernor":
        CThreadGovernor(int32_t, int32_t) except +translate_error
        int32_t num_threads() noexcept
        int32_t Observe(double, int32_t, double) noexcept
        void SetBusyCores(double, int32_t) noexcept

    cdef cppclass CLoadMeter "edgereason::LoadMeter":
        CLoadMeter() except +translate_error
        double BusyCores() noexcept
        int32_t num_cores() noexcept
