// What a step works on: the shape, the weights, the cache and the buffers of up to `most_rows` rows.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>
#include "attention.h"
#include "crew.h"
#include "neurons.h"
#include "pages.h"
#include "weights.h"

struct Layer {
  const float *attention_norm, *mlp_norm;
  Matrix qkv, out, gate_up, down;
  float *keys, *values;
};

// In the order in which `native.py` lays it out.
struct Shape {
  int32_t hidden, layers, heads, kv_heads, head_dim, mlp, vocab, pages, most_rows, most_context, threads, is_certified;
  float rms_eps;
};

// The rows of one step. `tables`: (segments, width) page ids. Of the rows before a choice, `choice_rows`, those whose
// `logits_at` is not negative have their logits stored there. What is left out is counted: `left_neurons`, `left_pages`
// by row, `unread` once for the step: neurons, pages, and the rows that the certified head computed in full, or -1.
// `may_pick`, by row, is 1 where it need not attend to all pages (see pages.h).
struct Plan {
  int32_t rows, segments, width, choices, copies;
  const int32_t *ids, *positions, *row_segment, *segment_first, *segment_rows, *tables, *choice_rows, *logits_at, *copy;
  float* logits;
  int32_t *greedy, *left_neurons, *left_pages;
  int64_t* unread;
  const int32_t* may_pick;
};

struct Best { Floats value; Ints id; };                  // lane by lane
struct Maybe { int32_t choice, tile; float upper; };  // a tile that may hold the best output of a row

struct Model {
  Shape shape;
  std::vector<Layer> layers;
  Matrix head, embedding;
  const float *norm, *cosines, *sines;
  Crew crew;
  Neurons neurons;
  int qkv_width;
  float *x, *queries;
  Rows normed, mixed, inner, last;
  std::vector<Rows> own;  // one row for each thread: for a single row all compute the same, which saves a barrier
  std::vector<std::vector<Best>> best;
  std::vector<std::vector<float>> floor_;
  std::vector<std::vector<Maybe>> maybe;
  std::vector<Part> parts;
  std::vector<float> part_values;
  std::unique_ptr<std::atomic<int>[]> finished;
  size_t finished_size = 0;
  PageBudget budget;
  std::vector<int64_t> counted;  // by thread: rows of the head computed in full

  explicit Model(const Shape& s) : shape(s), layers(s.layers), crew(s.threads) {
    neurons.hidden = s.hidden, neurons.mlp = s.mlp, neurons.thresholds.resize(s.layers);
    qkv_width = (s.heads + 2 * s.kv_heads) * s.head_dim;
    x = Rows::room<float>((size_t)s.most_rows * s.hidden);
    queries = Rows::room<float>((size_t)s.most_rows * s.heads * s.head_dim);
  }
  // After the weights are known: a buffer holds floats where the matrix it meets is float32.
  void allot() {
    const int rows = shape.most_rows;
    bool plain = layers[0].qkv.form == F32;
    normed.allot(rows, shape.hidden, plain);
    mixed.allot(rows, shape.heads * shape.head_dim, layers[0].out.form == F32);
    inner.allot(rows, shape.mlp, layers[0].down.form == F32);
    last.allot(rows, shape.hidden, head.form == F32);
    own.resize(crew.size());
    for (auto& row : own) row.allot(1, shape.hidden, plain);
    neurons.allot(rows, crew.size());
    best.resize(crew.size()), floor_.resize(crew.size()), maybe.resize(crew.size()), counted.resize(crew.size());
  }
};
