// Writes where it may not, so that the driver reports an XID for the GPU. The
// fault is the process's own: its context is torn down, the GPU goes on.
#include <cstdio>

__global__ void fault(int *nowhere) { *nowhere = 1; }

int main() {
  fault<<<1, 1>>>(reinterpret_cast<int *>(0x7f0000000000));
  cudaError_t err = cudaDeviceSynchronize();
  std::printf("%s\n", cudaGetErrorString(err));
  return err == cudaSuccess;  // the fault is what was wanted
}
