// CUDA's language on a processor: a fiber per thread, one block after the other.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>

#define __global__
#define __device__
#define __constant__
#define __shared__ static
#define __launch_bounds__(...)

using std::max;
using std::min;

struct alignas(16) float4 { float x, y, z, w; };
struct Place { int x, y; };

static const int MOST = 1024, WARP_SIZE = 32, STACK = 1 << 16;
static Place threadIdx, blockIdx;
static jmp_buf scheduler, fibers[MOST];
static ucontext_t contexts[MOST];
static bool begun[MOST], ended[MOST];
static std::function<void()> body;

struct Barrier {
  int alive, waiting, generation;
  void open() { waiting = 0; generation++; }
};
static Barrier block, warps[MOST / WARP_SIZE];

static void pause_fiber() {
  if (!_setjmp(fibers[threadIdx.x])) _longjmp(scheduler, 1);
}

static void wait_at(Barrier& barrier) {
  int mine = barrier.generation;
  if (++barrier.waiting == barrier.alive) return barrier.open();
  while (barrier.generation == mine) pause_fiber();
}

static void leave(Barrier& barrier) {
  barrier.alive--;
  if (barrier.waiting && barrier.waiting == barrier.alive) barrier.open();
}

static void __syncthreads() { wait_at(block); }
static void __syncwarp() { wait_at(warps[threadIdx.x / WARP_SIZE]); }

static void fiber() {
  for (;;) {
    body();
    leave(block);
    leave(warps[threadIdx.x / WARP_SIZE]);
    ended[threadIdx.x] = true;
    pause_fiber();
  }
}

static void resume(int thread) {
  threadIdx.x = thread;
  if (_setjmp(scheduler)) return;
  if (begun[thread]) _longjmp(fibers[thread], 1);
  begun[thread] = true;
  getcontext(&contexts[thread]);
  contexts[thread].uc_stack.ss_sp = malloc(STACK);
  contexts[thread].uc_stack.ss_size = STACK;
  makecontext(&contexts[thread], fiber, 0);
  setcontext(&contexts[thread]);
}

static void launch(const int* grid, int threads, std::function<void()> kernel) {
  body = kernel;
  for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++) {
      block = {threads, 0, 0};
      for (Barrier& warp : warps) warp = {WARP_SIZE, 0, 0};
      std::fill(ended, ended + threads, false);
      for (bool any = true; any;) {
        any = false;
        for (int thread = 0; thread < threads; thread++)
          if (!ended[thread]) resume(thread), any = true;
      }
    }
}

static float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
static float __int_as_float(int bits) { float x; memcpy(&x, &bits, 4); return x; }
static int __float_as_int(float x) { int bits; memcpy(&bits, &x, 4); return bits; }
