// Sixteen floats at a time, written once for every processor: the compiler's own vectors become AVX-512, AVX2 or NEON.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));
constexpr int LANES = 16;
#define INLINE static inline __attribute__((always_inline))

INLINE Floats load(const float* from) { Floats v; memcpy(&v, from, 64); return v; }
INLINE void store(float* to, Floats v) { memcpy(to, &v, 64); }
INLINE Floats all(float x) { return Floats{} + x; }
INLINE Floats larger(Floats a, Floats b) { return a > b ? a : b; }
INLINE Floats as_floats(Ints v) { Floats f; memcpy(&f, &v, 64); return f; }
INLINE Ints as_ints(Floats v) { Ints i; memcpy(&i, &v, 64); return i; }
INLINE Floats absolute(Floats v) { return as_floats(as_ints(v) & 0x7fffffff); }

// The sum is taken in one fixed tree (halves onto halves), so that it does not depend on the processor.
INLINE float sum(Floats v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps((__m512)v);
#endif
  float t[LANES];
  store(t, v);
  for (int width = 8; width; width /= 2) for (int i = 0; i < width; i++) t[i] += t[i + width];
  return t[0];
}

INLINE int32_t sum(Ints v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_epi32((__m512i)v);
#endif
  int32_t n = 0;
  for (int i = 0; i < LANES; i++) n += v[i];
  return n;
}

INLINE float largest(Floats v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_ps((__m512)v);
#endif
  float t[LANES];
  store(t, v);
  for (int width = 8; width; width /= 2) for (int i = 0; i < width; i++) t[i] = t[i] > t[i + width] ? t[i] : t[i + width];
  return t[0];
}

// Sixteen IEEE half-precision numbers (finite ones: a scale is never infinite).
INLINE Floats halves(const uint16_t* from) {
#if defined(__AVX512F__)
  return (Floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)from));
#else
  Ints h;
  for (int i = 0; i < LANES; i++) h[i] = from[i];
  Floats magnitude = as_floats((h & 0x7fff) << 13) * 0x1p112f;  // exact, for subnormal halves too
  return as_floats(as_ints(magnitude) | ((h & 0x8000) << 16));
#endif
}

INLINE float half(uint16_t h) {
  uint32_t bits = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
  float magnitude;
  memcpy(&magnitude, &bits, 4);
  magnitude *= 0x1p112f;
  memcpy(&bits, &magnitude, 4);
  bits |= sign;
  memcpy(&magnitude, &bits, 4);
  return magnitude;
}

// To the nearest whole number, ties to even; for |v| < 2^22.
INLINE Floats rounded(Floats v) { Floats big = all(0x1.8p23f); return (v + big) - big; }
INLINE Ints whole(Floats v) { return __builtin_convertvector(v, Ints); }

// The nearest whole numbers, ties to even, for |v| < 2^23.
INLINE Ints nearest(Floats v) {
#if defined(__AVX512F__)
  return (Ints)_mm512_cvtps_epi32((__m512)v);
#else
  Ints n;
  for (int i = 0; i < LANES; i++) n[i] = (int32_t)lrintf(v[i]);
  return n;
#endif
}

// exp, within 2 units in the last place for v <= 0 down to -87, and 0x1p-126 or so below that.
// Source of the polynomial: Cephes, expf.c (S. Moshier).
INLINE Floats exponential(Floats v) {
  v = larger(v, all(-87.0f));
  Floats n = rounded(v * 1.44269504088896341f);
  Floats r = v - n * 0.693359375f;
  r = r - n * -2.12194440e-4f;
  Floats p = all(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + (r + 1.0f);
  return p * as_floats((whole(n) + 127) << 23);
}
