# How many threads a step should use, for those who decode outside of the scheduler. Conversions only.

cdef class ThreadGovernor:
    cdef unique_ptr[CThreadGovernor] core

    def __init__(self, int32_t max_threads, int32_t fixed=0):
        self.core.reset(new CThreadGovernor(max_threads, fixed))

    def observe(self, double now_ms, int32_t rows, double step_ms):
        return self.core.get().Observe(now_ms, rows, step_ms)

    def set_busy_cores(self, double busy, int32_t num_cores=0):
        self.core.get().SetBusyCores(busy, num_cores)

    @property
    def num_threads(self):
        return self.core.get().num_threads()


cdef class LoadMeter:
    cdef unique_ptr[CLoadMeter] core

    def __init__(self):
        self.core.reset(new CLoadMeter())

    def busy_cores(self):
        return self.core.get().BusyCores()

    @property
    def num_cores(self):
        return self.core.get().num_cores()
