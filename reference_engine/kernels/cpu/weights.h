// A projection's weights in tiles of 16 outputs, block after block of 32 inputs, and the products of a tile with rows.
//
// Q4   per block 320 bytes: 4 x 64 bytes of two 4-bit numbers each, then 16 half-precision scales d and 16 offsets m;
//      weight = d * q + m. Byte 4 * o + i of vector v: output o, inputs 4 * v + i (low half) and 4 * (v + 4) + i (high).
// Q8   per block 544 bytes: 8 x 64 bytes q + 128, then 16 scales d; weight = d * q.
// F32  per input 16 floats.
//
// A row's product does not depend on how many rows are computed with it: each takes the same steps in the same order.
#pragma once
#include "activations.h"

enum Form { Q4 = 0, Q8 = 1, F32 = 2 };
constexpr size_t Q4_BYTES = 320, Q8_BYTES = 544;

struct Matrix {
  const uint8_t* data = nullptr;
  const uint16_t* norms = nullptr;  // Q8 of a head: per tile and block 16 upper bounds of |weights|, half precision
  Form form = F32;
  int outputs = 0, inputs = 0;
  size_t tile_bytes() const {
    return form == F32 ? (size_t)inputs * 64 : (size_t)inputs / BLOCK * (form == Q4 ? Q4_BYTES : Q8_BYTES);
  }
  const uint8_t* tile(int t) const { return data + t * tile_bytes(); }
};

#if defined(__AVX512VNNI__)
struct Grid { __m512i v[8]; };  // 8 x (16 outputs x 4 inputs)
INLINE Grid grid4(const uint8_t* from) {
  Grid g;
  const __m512i low = _mm512_set1_epi8(15);
  for (int i = 0; i < 4; i++) {
    __m512i both = _mm512_loadu_si512(from + i * 64);
    g.v[i] = _mm512_and_si512(both, low), g.v[i + 4] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
  }
  return g;
}
INLINE Grid grid8(const uint8_t* from) {
  Grid g;
  for (int i = 0; i < 8; i++) g.v[i] = _mm512_loadu_si512(from + i * 64);
  return g;
}
// One dot product of four bytes a lane; the four activations are read and spread by the instruction itself.
INLINE void dot(__m512i& sum_, __m512i weights, const int8_t* four) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum_) : "v"(weights), "m"(*(const int32_t*)four));
}

// low: the products of middle * 256 + low; high: those of the high plane, to be taken 65536 times.
template <int R> INLINE void dots(const Grid& g, const Cell* x, Ints* low, Ints* high) {
  __m512i h[R], m[R], l[R];
  for (int r = 0; r < R; r++) h[r] = m[r] = l[r] = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++)
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      dot(h[r], g.v[i], x[r].planes + i * 4);
      dot(m[r], g.v[i], x[r].planes + BLOCK + i * 4);
      dot(l[r], g.v[i], x[r].planes + 2 * BLOCK + i * 4);
    }
  for (int r = 0; r < R; r++) low[r] = (Ints)_mm512_add_epi32(_mm512_slli_epi32(m[r], 8), l[r]), high[r] = (Ints)h[r];
}

// The products of the high plane alone.
template <int R> INLINE void high_dots(const Grid& g, const Cell* x, Ints* high) {
  __m512i h[R];
  for (int r = 0; r < R; r++) h[r] = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++)
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) dot(h[r], g.v[i], x[r].planes + i * 4);
  for (int r = 0; r < R; r++) high[r] = (Ints)h[r];
}
#elif defined(__AVX2__)
struct Grid { __m256i v[16]; };  // 8 x two halves of (8 outputs x 4 inputs)
INLINE Grid grid4(const uint8_t* from) {
  Grid g;
  const __m256i low = _mm256_set1_epi8(15);
  for (int i = 0; i < 8; i++) {
    __m256i both = _mm256_loadu_si256((const __m256i*)(from + i * 32));
    g.v[i] = _mm256_and_si256(both, low), g.v[i + 8] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
  }
  return g;
}
INLINE Grid grid8(const uint8_t* from) {
  Grid g;
  for (int i = 0; i < 16; i++) g.v[i] = _mm256_loadu_si256((const __m256i*)(from + i * 32));
  return g;
}
INLINE __m256i pair(const int8_t* from) { int32_t x; memcpy(&x, from, 4); return _mm256_set1_epi32(x); }
INLINE __m256i two(const int8_t* even, const int8_t* odd) {  // two signed bytes as two 16-bit numbers, in every lane
  return _mm256_set1_epi32((int32_t)((uint16_t)(int16_t)*even | ((uint32_t)(uint16_t)(int16_t)*odd << 16)));
}
template <int R> INLINE void dots(const Grid& g, const Cell* x, Ints* low, Ints* high) {
  const __m256i byte = _mm256_set1_epi16(255);
  for (int r = 0; r < R; r++)
    for (int half = 0; half < 2; half++) {
      __m256i l = _mm256_setzero_si256(), h = l;
      for (int i = 0; i < 8; i++) {
        __m256i even = _mm256_and_si256(g.v[2 * i + half], byte), odd = _mm256_srli_epi16(g.v[2 * i + half], 8);
        const int8_t *both = x[r].planes + i * 8, *top = x[r].planes + 2 * BLOCK + i * 4;
        l = _mm256_add_epi32(l, _mm256_madd_epi16(even, pair(both)));
        l = _mm256_add_epi32(l, _mm256_madd_epi16(odd, pair(both + 4)));
        h = _mm256_add_epi32(h, _mm256_madd_epi16(even, two(top, top + 2)));
        h = _mm256_add_epi32(h, _mm256_madd_epi16(odd, two(top + 1, top + 3)));
      }
      memcpy((char*)&low[r] + half * 32, &l, 32), memcpy((char*)&high[r] + half * 32, &h, 32);
    }
}
#else
struct Grid { uint8_t v[8][64]; };
INLINE Grid grid4(const uint8_t* from) {
  Grid g;
  for (int i = 0; i < 4; i++)
    for (int b = 0; b < 64; b++) g.v[i][b] = from[i * 64 + b] & 15, g.v[i + 4][b] = from[i * 64 + b] >> 4;
  return g;
}
INLINE Grid grid8(const uint8_t* from) { Grid g; memcpy(&g, from, 512); return g; }
template <int R> INLINE void dots(const Grid& g, const Cell* x, Ints* low, Ints* high) {
  static const int place[4] = {0, 2, 1, 3};
  for (int r = 0; r < R; r++) {
    const int16_t* both = (const int16_t*)x[r].planes;
    int32_t l[LANES] = {}, h[LANES] = {};
    for (int i = 0; i < 8; i++)
      for (int j = 0; j < 4; j++)
        for (int o = 0; o < LANES; o++) {
          l[o] += g.v[i][o * 4 + j] * both[i * 4 + place[j]];
          h[o] += g.v[i][o * 4 + j] * x[r].planes[2 * BLOCK + i * 4 + j];
        }
    memcpy(&low[r], l, 64), memcpy(&high[r], h, 64);
  }
}
#endif

// A tile of few rows waits for memory: ask for what comes a few blocks later.
constexpr size_t AHEAD = 4096;
INLINE void ahead(const uint8_t* from) {
  for (int line = 0; line < 5; line++) __builtin_prefetch(from + line * 64, 0, 2);
}

// The first bytes of tile `t`, which nobody asked for ahead: to be called before a barrier, where there is time to wait.
INLINE void warm(const Matrix& w, int t) {
  if (w.form == F32 || t * LANES >= w.outputs) return;
  for (size_t at = 0; at < AHEAD; at += 64) __builtin_prefetch(w.tile(t) + at, 0, 2);
}

constexpr int SOME = 4;  // rows whose sums are in registers at a time

INLINE Floats joined(Ints high, Ints low, const Cell& x) {
  return __builtin_convertvector(high, Floats) * x.high_scale + __builtin_convertvector(low, Floats) * x.scale;
}

template <int R> INLINE void tile4(const uint8_t* w, const Rows& x, int row, Floats* y) {
  constexpr int S = R < SOME ? R : SOME;
  for (int r = 0; r < R; r++) y[r] = Floats{};
  const Cell* in = &x.cell(row, 0);
  for (int b = 0; b < x.blocks; b++, w += Q4_BYTES, in += x.stride) {
    ahead(w + AHEAD);
    Grid g = grid4(w);
    Floats d = halves((const uint16_t*)(w + 256)), m = halves((const uint16_t*)(w + 288));
#pragma GCC unroll 8
    for (int at = 0; at < R; at += S) {
      Ints low[S], high[S];
      dots<S>(g, in + at, low, high);
      for (int r = 0; r < S; r++) {
        y[at + r] += d * joined(high[r], low[r], in[at + r]);
        y[at + r] += m * in[at + r].total;
      }
    }
  }
}

template <int R> INLINE void tile8(const uint8_t* w, const Rows& x, int row, Floats* y) {
  constexpr int S = R < SOME ? R : SOME;
  for (int r = 0; r < R; r++) y[r] = Floats{};
  const Cell* in = &x.cell(row, 0);
  for (int b = 0; b < x.blocks; b++, w += Q8_BYTES, in += x.stride) {
    Grid g = grid8(w);
    Floats d = halves((const uint16_t*)(w + 512));
#pragma GCC unroll 8
    for (int at = 0; at < R; at += S) {
      Ints low[S], high[S];
      dots<S>(g, in + at, low, high);
      for (int r = 0; r < S; r++) {  // the weights were stored with 128 added
        const Cell& c = in[at + r];
        y[at + r] += d * joined(high[r] - 128 * c.high, low[r] - 128 * c.low, c);
      }
    }
  }
}

template <int R> INLINE void tile32(const uint8_t* w, const Rows& x, int row, Floats* y) {
  for (int r = 0; r < R; r++) y[r] = Floats{};
  const float* in = x.floats + (size_t)row * x.k;
  for (int k = 0; k < x.k; k++) {
    Floats column = load((const float*)w + (size_t)k * LANES);
    for (int r = 0; r < R; r++) y[r] += column * in[(size_t)r * x.k + k];
  }
}

// y[r]: the 16 outputs of tile `t` for row `row` + r.
template <int R> static inline void tile(const Matrix& w, int t, const Rows& x, int row, Floats* y) {
  if (w.form == Q4) tile4<R>(w.tile(t), x, row, y);
  else if (w.form == Q8) tile8<R>(w.tile(t), x, row, y);
  else tile32<R>(w.tile(t), x, row, y);
}

// Tiles [first, first + T) for all rows, a few rows at a time: `done(row, y)` takes the T x 16 outputs of a row.
template <int T, int R, class Done> static inline void some_rows(const Matrix& w, int first, const Rows& x, int row, Done& done) {
  Floats y[T][R];
  for (int t = 0; t < T; t++) tile<R>(w, first + t, x, row, y[t]);
  for (int r = 0; r < R; r++) {
    Floats out[T];
    for (int t = 0; t < T; t++) out[t] = y[t][r];
    done(row + r, out);
  }
}
template <int T, class Done> static void project(const Matrix& w, int first, const Rows& x, int rows, Done done) {
  int row = 0;
  for (; row + 8 <= rows; row += 8) some_rows<T, 8>(w, first, x, row, done);
  if (row + 4 <= rows) some_rows<T, 4>(w, first, x, row, done), row += 4;
  if (row + 2 <= rows) some_rows<T, 2>(w, first, x, row, done), row += 2;
  if (row < rows) some_rows<T, 1>(w, first, x, row, done);
}
