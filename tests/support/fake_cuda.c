// The calls of the CUDA driver that edgereason makes, on the memory of the host. A thread without a
// current context is refused, as the real one does; a device address and a host address are told
// apart by a bit that no address of the host has.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define DEVICE_BIT (UINT64_C(1) << 60)
enum { kOk = 0, kInvalid = 1, kOutOfMemory = 2, kNoContext = 201 };

typedef struct {
  size_t src_x, src_y;
  unsigned src_type;
  const char* src_host;
  uint64_t src_device;
  void* src_array;
  size_t src_pitch;
  size_t dst_x, dst_y;
  unsigned dst_type;
  char* dst_host;
  uint64_t dst_device;
  void* dst_array;
  size_t dst_pitch;
  size_t width, height;
} Copy2D;

static __thread int has_context = 0;
static int the_context, the_stream;

int cuInit(unsigned flags) { return flags ? kInvalid : kOk; }
int cuDeviceGet(int* device, int ordinal) {
  *device = 5;
  return ordinal ? kInvalid : kOk;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
  *context = &the_context;
  return device == 5 ? kOk : kInvalid;
}
int cuCtxSetCurrent(void* context) {
  has_context = context == &the_context;
  return has_context ? kOk : kInvalid;
}
int cuStreamCreate(void** stream, unsigned flags) {
  *stream = &the_stream;
  return has_context && !flags ? kOk : kNoContext;
}
int cuStreamSynchronize(void* stream) { return stream == &the_stream ? kOk : kInvalid; }
int cuMemGetInfo_v2(size_t* free_bytes, size_t* total) {
  *free_bytes = (size_t)3 << 30;
  *total = (size_t)4 << 30;
  return has_context ? kOk : kNoContext;
}
int cuMemAlloc_v2(uint64_t* address, size_t num_bytes) {
  if (!has_context) return kNoContext;
  if (num_bytes > (size_t)1 << 32) return kOutOfMemory;
  *address = (uint64_t)(uintptr_t)malloc(num_bytes) | DEVICE_BIT;
  return kOk;
}
int cuMemFree_v2(uint64_t address) {
  if (!(address & DEVICE_BIT)) return kInvalid;
  free((void*)(uintptr_t)(address & ~DEVICE_BIT));
  return kOk;
}
int cuMemsetD8_v2(uint64_t address, unsigned char value, size_t num_bytes) {
  if (!(address & DEVICE_BIT)) return kInvalid;
  memset((void*)(uintptr_t)(address & ~DEVICE_BIT), value, num_bytes);
  return kOk;
}
int cuMemcpy2DAsync_v2(const Copy2D* order, void* stream) {
  if (!has_context) return kNoContext;
  if (stream != &the_stream || order->src_x || order->src_y || order->dst_x || order->dst_y)
    return kInvalid;
  if (order->src_pitch < order->width || order->dst_pitch < order->width) return kInvalid;
  const char* from = order->src_host;
  char* to = order->dst_host;
  if (order->src_type == 2) {
    if (!(order->src_device & DEVICE_BIT)) return kInvalid;
    from = (const char*)(uintptr_t)(order->src_device & ~DEVICE_BIT);
  }
  if (order->dst_type == 2) {
    if (!(order->dst_device & DEVICE_BIT)) return kInvalid;
    to = (char*)(uintptr_t)(order->dst_device & ~DEVICE_BIT);
  }
  for (size_t row = 0; row < order->height; row++)
    memcpy(to + row * order->dst_pitch, from + row * order->src_pitch, order->width);
  return kOk;
}
int cuGetErrorString(int code, const char** text) {
  *text = code == kOutOfMemory ? "out of memory" : code == kNoContext ? "no context" : "invalid";
  return kOk;
}
