// The kernels of the workload that are no matrix products. Memory bounds them; only GELU in bf16 comes near what a device computes.
//
// Numbers are moved in packs of 16 bytes, as frameworks do; sizes are whole packs (a test in `operands.rs` holds that). bf16 is the
// upper half of fp32 and fp16 is converted by one instruction, so that no header of the CUDA toolkit is needed.

struct bf16 { unsigned short bits; };
struct fp16 { unsigned short bits; };
typedef float fp32;

__device__ float number(fp32 x) { return x; }
__device__ float number(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }

__device__ void set(fp32& to, float x) { to = x; }
// Rounds to nearest, ties to even.
__device__ void set(bf16& to, float x) {
    unsigned bits = __float_as_uint(x);
    to.bits = (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
__device__ void set(fp16& to, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x)); }

template <class T> struct __align__(16) Pack {
    static const int SIZE = 16 / sizeof(T);
    T at[SIZE];
};

__device__ size_t thread_index() { return (size_t)blockIdx.x * blockDim.x + threadIdx.x; }

// Mixes the bits of an index (finalizer of MurmurHash3, Appleby, public domain).
__device__ unsigned mixed(unsigned x) {
    x ^= x >> 16;
    x *= 0x85ebca6bu;
    x ^= x >> 13;
    x *= 0xc2b2ae35u;
    return x ^ (x >> 16);
}

// Uniform between -1 and 1.
template <class T> __device__ void fill(T* to, unsigned count, unsigned seed) {
    size_t i = thread_index();
    if (i < count) set(to[i], (float)(int)mixed((unsigned)i ^ seed) * (1.0f / 2147483648.0f));
}

template <class T> __device__ void add(Pack<T>* to, const Pack<T>* left, const Pack<T>* right, unsigned packs) {
    size_t i = thread_index();
    if (i >= packs) return;
    Pack<T> a = left[i], b = right[i], sum;
    for (int j = 0; j < Pack<T>::SIZE; j++) set(sum.at[j], number(a.at[j]) + number(b.at[j]));
    to[i] = sum;
}

template <class T> __device__ void gelu(Pack<T>* to, const Pack<T>* from, unsigned packs) {
    size_t i = thread_index();
    if (i >= packs) return;
    Pack<T> x = from[i], y;
    for (int j = 0; j < Pack<T>::SIZE; j++) {
        float value = number(x.at[j]);
        set(y.at[j], 0.5f * value * (1.0f + erff(value * 0.70710678f)));
    }
    to[i] = y;
}

// Softmax and norm: a warp takes a row and keeps it in shared memory, where each thread uses only what it put there itself.
extern __shared__ uint4 shared_rows[];

template <class T> __device__ Pack<T>* own_row(unsigned packs) { return (Pack<T>*)shared_rows + threadIdx.y * packs; }

__device__ size_t row_index() { return (size_t)blockIdx.x * blockDim.y + threadIdx.y; }

__device__ float sum_of_warp(float x) {
    for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(0xffffffffu, x, lanes);
    return x;
}

__device__ float largest_of_warp(float x) {
    for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lanes));
    return x;
}

template <class T> __device__ void softmax(Pack<T>* to, const Pack<T>* from, unsigned packs) {
    Pack<T>* row = own_row<T>(packs);
    size_t start = row_index() * packs;
    float largest = -3.4e38f;
    for (unsigned i = threadIdx.x; i < packs; i += 32) {
        row[i] = from[start + i];
        for (int j = 0; j < Pack<T>::SIZE; j++) largest = fmaxf(largest, number(row[i].at[j]));
    }
    largest = largest_of_warp(largest);
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < packs; i += 32)
        for (int j = 0; j < Pack<T>::SIZE; j++) sum += __expf(number(row[i].at[j]) - largest);
    float scale = 1.0f / sum_of_warp(sum);
    for (unsigned i = threadIdx.x; i < packs; i += 32) {
        Pack<T> y;
        for (int j = 0; j < Pack<T>::SIZE; j++) set(y.at[j], scale * __expf(number(row[i].at[j]) - largest));
        to[start + i] = y;
    }
}

// `parameters` holds the weights of a row, then its biases.
template <class T>
__device__ void layer_norm(Pack<T>* to, float2* statistics, const Pack<T>* from, const Pack<T>* parameters, unsigned packs) {
    Pack<T>* row = own_row<T>(packs);
    size_t start = row_index() * packs;
    float width = (float)(packs * Pack<T>::SIZE);
    float sum = 0.0f;
    for (unsigned i = threadIdx.x; i < packs; i += 32) {
        row[i] = from[start + i];
        for (int j = 0; j < Pack<T>::SIZE; j++) sum += number(row[i].at[j]);
    }
    float mean = sum_of_warp(sum) / width;
    float squares = 0.0f;
    for (unsigned i = threadIdx.x; i < packs; i += 32)
        for (int j = 0; j < Pack<T>::SIZE; j++) {
            float distance = number(row[i].at[j]) - mean;
            squares += distance * distance;
        }
    float scale = rsqrtf(sum_of_warp(squares) / width + 1e-5f);
    if (threadIdx.x == 0) statistics[row_index()] = make_float2(mean, scale);
    for (unsigned i = threadIdx.x; i < packs; i += 32) {
        Pack<T> weight = parameters[i], bias = parameters[packs + i], y;
        for (int j = 0; j < Pack<T>::SIZE; j++)
            set(y.at[j], (number(row[i].at[j]) - mean) * scale * number(weight.at[j]) + number(bias.at[j]));
        to[start + i] = y;
    }
}

// A block copies a row.
template <class T> __device__ void gather(Pack<T>* to, const Pack<T>* table, const long long* indices, unsigned packs) {
    size_t start = (size_t)blockIdx.x * packs, picked = (size_t)indices[blockIdx.x] * packs;
    for (unsigned i = threadIdx.x; i < packs; i += blockDim.x) to[start + i] = table[picked + i];
}

extern "C" __global__ void empty() {}

extern "C" __global__ void fill_fp16(fp16* to, unsigned count, unsigned seed) { fill(to, count, seed); }

extern "C" __global__ void fill_indices(long long* to, unsigned count, unsigned below) {
    size_t i = thread_index();
    if (i < count) to[i] = mixed((unsigned)i) % below;
}

#define KERNELS_OF(T)                                                                                                                \
    extern "C" __global__ void fill_##T(T* to, unsigned count, unsigned seed) { fill(to, count, seed); }                             \
    extern "C" __global__ void add_##T(Pack<T>* to, const Pack<T>* left, const Pack<T>* right, unsigned packs) {                     \
        add(to, left, right, packs);                                                                                                 \
    }                                                                                                                                \
    extern "C" __global__ void gelu_##T(Pack<T>* to, const Pack<T>* from, unsigned packs) { gelu(to, from, packs); }                 \
    extern "C" __global__ void softmax_##T(Pack<T>* to, const Pack<T>* from, unsigned packs) { softmax(to, from, packs); }           \
    extern "C" __global__ void layer_norm_##T(                                                                                       \
        Pack<T>* to, float2* statistics, const Pack<T>* from, const Pack<T>* parameters, unsigned packs) {                           \
        layer_norm(to, statistics, from, parameters, packs);                                                                         \
    }                                                                                                                                \
    extern "C" __global__ void gather_##T(Pack<T>* to, const Pack<T>* table, const long long* indices, unsigned packs) {             \
        gather(to, table, indices, packs);                                                                                           \
    }

KERNELS_OF(fp32)
KERNELS_OF(bf16)
