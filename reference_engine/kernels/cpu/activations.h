// What a projection is multiplied with: floats in blocks of 32, each block as whole numbers and one scale.
// 16 bits keep a block to 1.5e-5 of its largest number. That changes one token in some ten thousand, and most of the
// error comes from the few blocks with large numbers: those above a threshold get 24 bits, as many as float32 has. 8
// bits everywhere, the usual choice, change most answers.
#pragma once
#include "lanes.h"

constexpr int BLOCK = 32, PLANES = 3;
constexpr float LARGEST = 127 * 65536;
constexpr float MIDDLE_WEIGHT = 7.5f;  // of 0 .. 15

// 32 numbers of a row: value = (high * 65536 + middle * 256 + low) * scale, three signed bytes; low is 0 in a block of
// 16 bits. With VNNI the planes high, middle, low lie one after the other. Else `middle * 256 + low` come first as
// 16-bit numbers, in each four the order 0 2 1 3 that multiply-and-add of pairs wants, then the high bytes.
struct alignas(64) Cell {
  int8_t planes[PLANES * BLOCK];
  float scale, middle_scale, high_scale;  // times 1, 256, 65536
  float total;        // the sum of the floats themselves, which an offset of the weights is multiplied with
  float shift;        // MIDDLE_WEIGHT times what rounding took from that sum: with it the error of a product is that of
                      // weights around zero, 2.4 times smaller
  int32_t high, low;  // the sums of the high bytes, and of the rest
  union {
    int32_t is_fine;  // 24 bits
    float rest;       // in the head's rows: what the high plane alone may be wrong by
  };
};

// Rows of `k` numbers: cells block by block, the rows of a block side by side, so that rows computed together are at
// fixed distances. `floats`, row by row, where the weights are float32.
struct Rows {
  int k = 0, blocks = 0, stride = 0;
  bool plain = false;
  Cell* cells = nullptr;
  float* floats = nullptr;

  void allot(int rows, int width, bool is_plain) {
    k = width, blocks = width / BLOCK, plain = is_plain, stride = rows | 1;
    if (plain) floats = room<float>((size_t)rows * k);
    else cells = room<Cell>((size_t)stride * blocks);
  }
  // An odd stride: blocks of a row at distances of a power of two would share a few lines of the first cache.
  void prepare(int rows) { stride = rows | 1; }
  Cell& cell(int row, int block) const { return cells[(size_t)block * stride + row]; }
  template <class T> static T* room(size_t n) { return (T*)aligned_alloc(64, (n * sizeof(T) + 127) / 64 * 64); }
  void give_back() { free(cells), free(floats); }
};

// What is left of a number without its high byte must fit two signed bytes, or one number of 16 bits.
#if defined(__AVX512VNNI__)
constexpr int HALFWAY = 128 * 257;
#else
constexpr int HALFWAY = 128 * 256;
#endif

INLINE void keep_half(Cell& to, int at, Ints high, Ints rest) {
#if defined(__AVX512VNNI__)
  Ints low = ((rest + 128) & 255) - 128, middle = (rest - low) >> 8;
  _mm_storeu_si128((__m128i*)(to.planes + at), _mm512_cvtepi32_epi8((__m512i)high));
  _mm_storeu_si128((__m128i*)(to.planes + BLOCK + at), _mm512_cvtepi32_epi8((__m512i)middle));
  _mm_storeu_si128((__m128i*)(to.planes + 2 * BLOCK + at), _mm512_cvtepi32_epi8((__m512i)low));
#else
  int16_t* out = (int16_t*)to.planes + at;
  for (int i = 0; i < LANES; i += 4)
    out[i] = rest[i], out[i + 1] = rest[i + 2], out[i + 2] = rest[i + 1], out[i + 3] = rest[i + 3];
  for (int i = 0; i < LANES; i++) to.planes[2 * BLOCK + at + i] = high[i];
#endif
}

// Store 32 numbers, held in two vectors, as block `block` of row `row`; in 24 bits if one is larger than `fine_above`.
INLINE void keep(const Rows& to, int row, int block, Floats a, Floats b, float fine_above, bool with_rest = false) {
  if (to.plain) {
    float* out = to.floats + (size_t)row * to.k + block * BLOCK;
    store(out, a), store(out + LANES, b);
    return;
  }
  Cell& cell = to.cell(row, block);
  float most = largest(larger(absolute(a), absolute(b)));
  float inverse = most > 0 ? LARGEST / most : 0, scale = most / LARGEST;
  const bool is_fine = most > fine_above;
  Ints wa, wb;
  if (is_fine) wa = nearest(a * inverse), wb = nearest(b * inverse);
  else wa = nearest(a * (inverse / 256)) * 256, wb = nearest(b * (inverse / 256)) * 256;
  Ints ha = (wa + HALFWAY) >> 16, hb = (wb + HALFWAY) >> 16, ra = wa - (ha << 16), rb = wb - (hb << 16);
  keep_half(cell, 0, ha, ra), keep_half(cell, LANES, hb, rb);
  cell.scale = scale, cell.middle_scale = scale * 256, cell.high_scale = scale * 65536, cell.total = sum(a + b);
  cell.high = sum(ha + hb), cell.low = sum(ra + rb), cell.is_fine = is_fine;
  cell.shift = MIDDLE_WEIGHT * sum(a - __builtin_convertvector(wa, Floats) * scale + (b - __builtin_convertvector(wb, Floats) * scale));
  if (!with_rest) return;
  Floats fa = __builtin_convertvector(wa, Floats), fb = __builtin_convertvector(wb, Floats);
  // Cauchy-Schwarz on what the high plane leaves, and the roundings of a sum of `blocks` products within |w| * |x|
  Floats la = __builtin_convertvector(ra, Floats), lb = __builtin_convertvector(rb, Floats);
  float left = sqrtf(sum(la * la + lb * lb)), whole_row = sqrtf(sum(fa * fa + fb * fb));
  cell.rest = scale * 1.00001f * (left + whole_row * (float)(to.blocks + 4) * 0x1p-22f);
}
