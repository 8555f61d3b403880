// One step of a Llama over the rows of many requests, from token ids to the best next tokens. See ../../README.md.
#include "head.h"
#include "pick.h"

// Row `j` of x: the embedding of its token, read across the tiles.
static void embed(Model& m, const Plan& plan, int j) {
  const int id = plan.ids[j], lane = id % LANES;
  float* x = m.x + (size_t)j * m.shape.hidden;
  const uint8_t* w = m.embedding.tile(id / LANES);
  for (int k = 0; k < m.shape.hidden; k++) {
    const int block = k / BLOCK, place = k % BLOCK, byte = place % 16 / 4 * 64 + lane * 4 + place % 4;
    if (m.embedding.form == F32) {
      x[k] = ((const float*)w)[(size_t)k * LANES + lane];
    } else if (m.embedding.form == Q4) {
      const uint8_t* at = w + block * Q4_BYTES;
      const int q = place < 16 ? at[byte] & 15 : at[byte] >> 4;
      x[k] = half(((const uint16_t*)(at + 256))[lane]) * (float)q + half(((const uint16_t*)(at + 288))[lane]);
    } else {
      const uint8_t* at = w + block * Q8_BYTES;
      x[k] = half(((const uint16_t*)(at + 512))[lane]) * (float)(at[byte + place / 16 * 256] - 128);
    }
  }
}

static void norm_row(const Model& m, const float* x, const float* weight, const Rows& to, int row, bool with_rest = false) {
  Floats square = Floats{};
  for (int k = 0; k < m.shape.hidden; k += LANES) { Floats v = load(x + k); square += v * v; }
  float scale = 1.0f / sqrtf(sum(square) / (float)m.shape.hidden + m.shape.rms_eps);
  for (int k = 0; k < m.shape.hidden; k += BLOCK)
    keep(to, row, k / BLOCK, load(weight + k) * (load(x + k) * scale),
         load(weight + k + LANES) * (load(x + k + LANES) * scale), with_rest);
}

// The norm of every row, ready to be multiplied. A single row is done by each thread for itself.
static const Rows& norm(Model& m, int rows, const float* weight, int worker) {
  if (rows == 1) {
    norm_row(m, m.x, weight, m.own[worker], 0);
    return m.own[worker];
  }
  m.crew.each(rows, 1, [&](int j) { norm_row(m, m.x + (size_t)j * m.shape.hidden, weight, m.normed, j); });
  return m.normed;
}

// How many neighbouring tasks a thread takes at once. With few rows it reads on through memory, and what it fetched ahead
// of the next task should be its own.
static int grain(const Model& m, int tasks, int rows) { return rows > 8 ? 1 : std::max(1, tasks / (2 * m.crew.size())); }

// Rotary position, halves apart, in place. Source: Su et al., arXiv 2104.09864.
INLINE void turn(const Model& m, float* head, int position, float scale) {
  const int half_dim = m.shape.head_dim / 2;
  const float *c = m.cosines + (size_t)position * half_dim, *s = m.sines + (size_t)position * half_dim;
  for (int i = 0; i < half_dim; i += LANES) {
    Floats a = load(head + i), b = load(head + half_dim + i), co = load(c + i), si = load(s + i);
    store(head + i, (a * co - b * si) * scale);
    store(head + half_dim + i, (b * co + a * si) * scale);
  }
}

INLINE size_t page_at(const Model& m, const Plan& plan, int j, int kv) {
  const int page = plan.tables[(size_t)plan.row_segment[j] * plan.width + plan.positions[j] / PAGE];
  return ((size_t)page * m.shape.kv_heads + kv) * PAGE * m.shape.head_dim;
}
// One head of queries, keys or values for all rows: queries are turned and kept, keys and values go to their pages.
static void project_head(Model& m, const Plan& plan, Layer& layer, const Rows& in, int head) {
  const Shape& s = m.shape;
  const int tiles = s.head_dim / LANES, dim = s.head_dim;
  const float scale = 1.0f / sqrtf((float)dim);
  auto done = [&](int j, const float* y) {
    float v[256];
    memcpy(v, y, dim * sizeof(float));
    const int position = plan.positions[j];
    if (head < s.heads) {
      turn(m, v, position, scale);
      memcpy(m.queries + ((size_t)j * s.heads + head) * dim, v, dim * sizeof(float));
      return;
    }
    const bool is_key = head < s.heads + s.kv_heads;
    if (is_key) turn(m, v, position, 1.0f);
    float* to = (is_key ? layer.keys : layer.values) + page_at(m, plan, j, (head - s.heads) % s.kv_heads);
    memcpy(to + (size_t)(position % PAGE) * dim, v, dim * sizeof(float));
  };
  if (tiles == 2) project<2>(layer.qkv, head * tiles, in, plan.rows, [&](int j, const Floats* o) { done(j, (const float*)o); });
  else if (tiles == 4) project<4>(layer.qkv, head * tiles, in, plan.rows, [&](int j, const Floats* o) { done(j, (const float*)o); });
  else if (tiles == 6) project<6>(layer.qkv, head * tiles, in, plan.rows, [&](int j, const Floats* o) { done(j, (const float*)o); });
  else project<8>(layer.qkv, head * tiles, in, plan.rows, [&](int j, const Floats* o) { done(j, (const float*)o); });
  if (head >= s.heads && head < s.heads + s.kv_heads) keep_ranges(m, plan, layer, head - s.heads);
}

// A few rows of one segment that attend together, for one kv head; or one row that picks its pages, which pick it is.
struct Block { int first, rows, segment, splits, pick = -1; };

static void finish_queries(Model& m, const Block& block, int kv, const Part* part, float* values) {
  const int shared = m.shape.heads / m.shape.kv_heads, dim = m.shape.head_dim;
  for (int i = 0; i < block.rows * shared; i++) {
    Floats scale = all(1.0f / part[i].weight);
    const int row = block.first + i / shared, head = kv * shared + i % shared;
    for (int d = 0; d < dim; d += BLOCK)
      keep(m.mixed, row, (head * dim + d) / BLOCK, load(values + i * dim + d) * scale,
           load(values + i * dim + d + LANES) * scale);
  }
}

static void attend_split(Model& m, const Plan& plan, const Layer& layer, const Block& block, int kv, int split,
                         Part* part, float* values) {
  const Shape& s = m.shape;
  const int shared = s.heads / s.kv_heads, n = block.rows * shared;
  const float* q[64];
  int seen[64];
  for (int i = 0; i < n; i++) {
    const int row = block.first + i / shared;
    q[i] = m.queries + ((size_t)row * s.heads + kv * shared + i % shared) * s.head_dim;
    seen[i] = plan.positions[row] + 1;
  }
  int pages = (plan.positions[block.first + block.rows - 1]) / PAGE + 1;
  const int32_t* table = plan.tables + (size_t)block.segment * plan.width;
  if (block.pick >= 0) {  // a shorter table that ends in the same page; tokens are counted along it
    for (int i = 0; i < n; i++) seen[i] -= (pages - m.budget.most) * PAGE;
    pages = m.budget.most, table = m.budget.list(block.pick, kv, s.kv_heads);
  }
  const int first = split * SPLIT_PAGES, last = std::min(pages, first + SPLIT_PAGES);
  const size_t at = (size_t)kv * PAGE * s.head_dim, stride = (size_t)s.kv_heads * PAGE * s.head_dim;
  for (int i = 0; i < n; i += MOST_QUERIES) {
    const int some = std::min(MOST_QUERIES, n - i);
    attend_for(some)(q + i, seen + i, table, first, last, layer.keys + at, layer.values + at, stride, s.head_dim, part + i,
                     values + (size_t)i * s.head_dim);
  }
}

static std::vector<Block> blocks_of(const Model& m, const Plan& plan, bool is_picking = false) {
  const int shared = m.shape.heads / m.shape.kv_heads, together = std::max(1, MOST_QUERIES / shared);
  auto picks = [&](int row) { return is_picking && m.budget.of[row] >= 0; };
  std::vector<Block> blocks;
  for (int g = 0; g < plan.segments; g++)
    for (int first = plan.segment_first[g], end = first + plan.segment_rows[g], rows; first < end; first += rows) {
      rows = 1;
      if (picks(first)) {
        blocks.push_back({first, 1, g, (m.budget.most + SPLIT_PAGES - 1) / SPLIT_PAGES, m.budget.of[first]});
        continue;
      }
      while (rows < together && first + rows < end && !picks(first + rows)) rows++;
      blocks.push_back({first, rows, g, plan.positions[first + rows - 1] / SPLIT + 1});
    }
  return blocks;
}

static void attention(Model& m, const Plan& plan, const Layer& layer, const std::vector<Block>& blocks, bool is_split) {
  const int kv_heads = m.shape.kv_heads, shared = m.shape.heads / kv_heads, dim = m.shape.head_dim;
  const int queries = std::max(1, MOST_QUERIES / shared) * shared;
  auto total = [&](const Block& block, int kv, auto&& split_of) {
    Part sum_[64];
    alignas(64) float mixed[64 * 128];
    for (int i = 0; i < block.rows * shared; i++) sum_[i] = {-1e30f, 0};
    memset(mixed, 0, sizeof(float) * block.rows * shared * dim);
    for (int split = 0; split < block.splits; split++) {
      auto [part, values] = split_of(split);
      for (int i = 0; i < block.rows * shared; i++) merge(sum_[i], mixed + i * dim, part[i], values + i * dim, dim);
    }
    finish_queries(m, block, kv, sum_, mixed);
  };
  if (!is_split) {
    m.crew.each((int)blocks.size() * kv_heads, 1, [&](int task) {
      const Block& block = blocks[task / kv_heads];
      Part part[64];
      alignas(64) float values[64 * 128];
      total(block, task % kv_heads, [&](int split) {
        attend_split(m, plan, layer, block, task % kv_heads, split, part, values);
        return std::pair<const Part*, const float*>(part, values);
      });
    });
    return;
  }
  int most = 0;
  for (const Block& block : blocks) most = std::max(most, block.splits);
  m.crew.each((int)blocks.size() * kv_heads * most, 1, [&](int task) {
    const int group = task / most, split = task % most, kv = group % kv_heads;
    const Block& block = blocks[group / kv_heads];
    if (split >= block.splits) return;
    const size_t at = (size_t)group * most * queries;
    attend_split(m, plan, layer, block, kv, split, &m.parts[at + split * queries], &m.part_values[(at + split * queries) * dim]);
    if (m.finished[group].fetch_add(1, std::memory_order_acq_rel) + 1 < block.splits) return;
    m.finished[group].store(0, std::memory_order_relaxed);  // whoever ends the last split adds all of them up
    total(block, kv, [&](int i) {
      return std::pair<const Part*, const float*>(&m.parts[at + i * queries], &m.part_values[(at + i * queries) * dim]);
    });
  });
}

static bool splits_of(Model& m, const std::vector<Block>& blocks) {
  const int kv_heads = m.shape.kv_heads, shared = m.shape.heads / kv_heads;
  if ((int)blocks.size() * kv_heads >= 4 * m.crew.size()) return false;
  int most = 0;
  for (const Block& block : blocks) most = std::max(most, block.splits);
  const size_t groups = blocks.size() * kv_heads, n = groups * most * std::max(1, MOST_QUERIES / shared) * shared;
  if (m.parts.size() < n) m.parts.resize(n), m.part_values.resize(n * m.shape.head_dim);
  if (m.finished_size < groups) {
    m.finished = std::make_unique<std::atomic<int>[]>(groups);
    m.finished_size = groups;
  }
  return true;
}

// x += w * in
template <class Hint> static void add_projection(Model& m, const Matrix& w, const Rows& in, int rows, Hint hint) {
  const int tiles = w.outputs / LANES, hidden = m.shape.hidden;
  m.crew.each((tiles + 1) / 2, grain(m, (tiles + 1) / 2, rows), [&](int task) {
    auto done = [&](int j, const Floats* y, int n) {
      float* x = m.x + (size_t)j * hidden + task * 2 * LANES;
      for (int t = 0; t < n; t++) store(x + t * LANES, load(x + t * LANES) + y[t]);
    };
    if (task * 2 + 1 < tiles) project<2>(w, task * 2, in, rows, [&](int j, const Floats* y) { done(j, y, 2); });
    else project<1>(w, task * 2, in, rows, [&](int j, const Floats* y) { done(j, y, 1); });
  }, hint);
}

// Tiles come as gate, gate, up, up: a task makes one whole block of activated gate times up.
template <class Hint> static void gate(Model& m, const Layer& layer, float threshold, const Rows& in, int rows, Hint hint) {
  m.crew.each(m.shape.mlp / BLOCK, grain(m, m.shape.mlp / BLOCK, rows), [&](int task) {
    project<4>(layer.gate_up, task * 4, in, rows, [&](int j, const Floats* y) {
      const int activation = m.neurons.activation;
      keep(m.inner, j, task, gated(activation, threshold, y[0]) * y[2], gated(activation, threshold, y[1]) * y[3]);
    });
  }, hint);
}

static void copy_page(Model& m, int from, int to, int layer) {
  const size_t page = (size_t)m.shape.kv_heads * PAGE * m.shape.head_dim;
  Layer& l = m.layers[layer];
  memcpy(l.keys + to * page, l.keys + from * page, page * sizeof(float));
  memcpy(l.values + to * page, l.values + from * page, page * sizeof(float));
  copy_ranges(m, from, to, layer);
}

static void step(Model& m, const Plan& plan) {
  const Shape& s = m.shape;
  prepare_picks(m, plan);
  const bool is_picking = !m.budget.rows.empty();
  const std::vector<Block> blocks = blocks_of(m, plan), few = is_picking ? blocks_of(m, plan, true) : blocks;
  const bool is_split = splits_of(m, blocks), is_few_split = splits_of(m, few);
  for (Rows* each : {&m.normed, &m.mixed, &m.inner}) each->prepare(plan.rows);
  m.last.prepare(plan.choices);
  m.neurons.prepare(plan.rows);
  prepare_head(m, plan);
  m.crew.run([&](int worker) {
    if (plan.copies)
      m.crew.each(s.layers, 1, [&](int layer) {
        for (int i = 0; i < plan.copies; i++) copy_page(m, plan.copy[2 * i], plan.copy[2 * i + 1], layer);
      });
    m.crew.each(plan.rows, 1, [&](int j) { embed(m, plan, j); });
    const int heads = s.heads + 2 * s.kv_heads, head_tiles = s.head_dim / LANES;
    auto coming = [&](const Matrix& w, int tiles) {  // what each thread reads first when it goes on
      const int tasks = w.outputs / LANES / tiles;
      return [&w, first = grain(m, tasks, plan.rows) * tiles](int who) { warm(w, who * first); };
    };
    for (Layer& layer : m.layers) {
      const Rows& in = norm(m, plan.rows, layer.attention_norm, worker);
      m.crew.each(heads, grain(m, heads, plan.rows), [&](int head) { project_head(m, plan, layer, in, head); },
                  coming(layer.out, 2));
      if (is_picking && &layer - m.layers.data() >= m.budget.dense_layers) {
        pick_pages(m, plan, layer);
        if (worker == 0) for (const Block& b : blocks) plan.unread[1] += unfetched(m, plan, b.segment, b.first, b.rows);
        attention(m, plan, layer, few, is_few_split);
      } else {
        attention(m, plan, layer, blocks, is_split);
      }
      add_projection(m, layer.out, m.mixed, plan.rows, coming(layer.gate_up, 4));
      const Rows& again = norm(m, plan.rows, layer.mlp_norm, worker);
      const int at = (int)(&layer - m.layers.data());
      if (!m.neurons.layers.empty()) {
        mlp_by_neuron(m.neurons, m.crew, at, again, m.inner, plan.rows, grain(m, s.mlp / BLOCK, plan.rows), m.x, worker);
        continue;
      }
      gate(m, layer, m.neurons.thresholds[at], again, plan.rows, coming(layer.down, 2));
      const Layer& next = &layer == &m.layers.back() ? layer : (&layer)[1];
      add_projection(m, layer.down, m.inner, plan.rows, coming(next.qkv, head_tiles));
    }
    run_head(m, plan, worker);
  });
  m.neurons.count(plan.rows, plan.left_neurons, plan.unread);
}

extern "C" {
Model* engine_new(const Shape* shape) { return new Model(*shape); }
void engine_free(Model* m) {
  for (Rows* rows : {&m->normed, &m->mixed, &m->inner, &m->last}) rows->give_back();
  for (Rows& rows : m->own) rows.give_back();
  m->neurons.give_back();
  free(m->x), free(m->queries);
  delete m;
}
static Matrix matrix(const uint8_t* data, int form, int outputs, int inputs, const uint16_t* norms = nullptr) {
  Matrix w;
  w.data = data, w.form = (Form)form, w.outputs = outputs, w.inputs = inputs, w.norms = norms;
  return w;
}
// part: 0 queries, keys and values, 1 out, 2 gate and up, 3 down
void engine_matrix(Model* m, int layer, int part, const uint8_t* data, int form, int outputs, int inputs) {
  Layer& l = m->layers[layer];
  Matrix* parts[] = {&l.qkv, &l.out, &l.gate_up, &l.down};
  *parts[part] = matrix(data, form, outputs, inputs);
}
void engine_layer(Model* m, int layer, const float* attention_norm, const float* mlp_norm, float* keys, float* values) {
  Layer& l = m->layers[layer];
  l.attention_norm = attention_norm, l.mlp_norm = mlp_norm, l.keys = keys, l.values = values;
}
// thresholds: one for each layer, 0 for none
void engine_gates(Model* m, int activation, const float* thresholds) {
  m->neurons.activation = activation;
  m->neurons.thresholds.assign(thresholds, thresholds + m->shape.layers);
}
// Instead of parts 2 and 3: gate in float32 tiles, up and down (mlp, hidden) neuron by neuron.
void engine_neurons(Model* m, int layer, const uint8_t* gate, const float* up, const float* down) {
  m->neurons.layers.resize(m->shape.layers);
  m->neurons.layers[layer] = {matrix(gate, F32, m->shape.mlp, m->shape.hidden), up, down};
}
void engine_ends(Model* m, const uint8_t* embedding, int embedding_form, const uint8_t* head, int head_form,
                 const uint16_t* norms, const float* norm, const float* cosines, const float* sines) {
  m->embedding = matrix(embedding, embedding_form, m->shape.vocab, m->shape.hidden);
  m->head = matrix(head, head_form, m->shape.vocab, m->shape.hidden, norms);
  m->norm = norm, m->cosines = cosines, m->sines = sines;
  m->allot();
}
// From the next step on, rows that may pick attend to `most` pages at most, but for the first `dense_layers`. The first
// call comes before any step, and no later one has fewer dense layers. 0 when there is no memory for it.
int engine_budget(Model* m, int most, int dense_layers) {
  const Shape& s = m->shape;
  m->budget.most = most, m->budget.dense_layers = dense_layers;
  return m->budget.allot(s.layers, (size_t)s.kv_heads * s.pages * 2 * s.head_dim, dense_layers);
}
void engine_step(Model* m, const Plan* plan) { step(*m, *plan); }
}
