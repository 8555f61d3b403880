// What a projection is multiplied with: floats in blocks of 32, each block as whole numbers and one scale.
// The whole numbers have 24 bits with their sign: a block is then kept to 6e-8 of its largest number, which is what
// float32 itself does. 16 bits (1.5e-5) change one token in some ten thousand, 8 bits (4e-3) most answers.
#pragma once
#include "lanes.h"

constexpr int BLOCK = 32, PLANES = 3;
constexpr float LARGEST = 127 * 65536;

// 32 numbers of a row: value = (high * 65536 + middle * 256 + low) * scale, the three signed bytes.
// With VNNI the planes high, middle, low lie one after the other. Else `middle * 256 + low` come first as 16-bit numbers,
// in each four the order 0 2 1 3 that multiply-and-add of pairs wants, then the high bytes.
struct alignas(64) Cell {
  int8_t planes[PLANES * BLOCK];
  float scale, total;     // total: the sum of the floats themselves
  int32_t high, low;      // the sums of the high bytes, and of the rest
  float high_scale, rest; // 65536 * scale; what the high plane alone may be wrong by (only for the head)
};

// Rows of `k` numbers in groups of 8 (fewer where there are fewer): the cells of a group block by block, so that rows that
// are computed together are read on through memory. `floats`, row by row, where the weights are float32.
constexpr int GROUP = 8;
struct Rows {
  int k = 0, blocks = 0, stride = GROUP;
  bool plain = false;
  Cell* cells = nullptr;
  float* floats = nullptr;

  void allot(int rows, int width, bool is_plain) {
    k = width, blocks = width / BLOCK, plain = is_plain, prepare(rows);
    if (plain) floats = room<float>((size_t)rows * k);
    else cells = room<Cell>((size_t)(rows + GROUP - 1) / GROUP * GROUP * blocks);
  }
  void prepare(int rows) { stride = rows < GROUP ? rows : GROUP; }
  Cell& cell(int row, int block) const {
    return cells[((size_t)(row / GROUP) * blocks + block) * stride + row % GROUP];
  }
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

// Store 32 numbers, held in two vectors, as block `block` of row `row`.
INLINE void keep(const Rows& to, int row, int block, Floats a, Floats b, bool with_rest = false) {
  if (to.plain) {
    float* out = to.floats + (size_t)row * to.k + block * BLOCK;
    store(out, a), store(out + LANES, b);
    return;
  }
  Cell& cell = to.cell(row, block);
  float most = largest(larger(absolute(a), absolute(b)));
  float inverse = most > 0 ? LARGEST / most : 0, scale = most / LARGEST;
  Ints wa = nearest(a * inverse), wb = nearest(b * inverse);
  Ints ha = (wa + HALFWAY) >> 16, hb = (wb + HALFWAY) >> 16, ra = wa - (ha << 16), rb = wb - (hb << 16);
  keep_half(cell, 0, ha, ra), keep_half(cell, LANES, hb, rb);
  cell.scale = scale, cell.total = sum(a + b), cell.high_scale = scale * 65536.0f;
  cell.high = sum(ha + hb), cell.low = sum(ra + rb);
  if (!with_rest) return;
  Floats fa = __builtin_convertvector(wa, Floats), fb = __builtin_convertvector(wb, Floats);
  // Cauchy-Schwarz on what the high plane leaves, and the roundings of a sum of `blocks` products within |w| * |x|
  Floats la = __builtin_convertvector(ra, Floats), lb = __builtin_convertvector(rb, Floats);
  float left = sqrtf(sum(la * la + lb * lb)), whole_row = sqrtf(sum(fa * fa + fb * fb));
  cell.rest = scale * 1.00001f * (left + whole_row * (float)(to.blocks + 4) * 0x1p-22f);
}
