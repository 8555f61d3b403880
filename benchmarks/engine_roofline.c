/* The machine's own limits, by as many threads as it has cores, all at once: one JSON object on stdout.
 *   cc -O3 -march=native -pthread engine_roofline.c -o roofline && ./roofline THREADS BYTES SECONDS
 * read_b_s  bytes read per second from a buffer of BYTES (each thread its share, again and again; it may lie in a cache
 *           that is large enough, as the weights of the engine would)
 * int8_mac_s, fp32_mac_s  multiply-adds per second on registers alone
 * Each is the median of the passes that SECONDS hold, the threads' rates added up. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

enum { MOST_PASSES = 20000, UNROLL = 12, INNER = 20000 };
typedef double (*pass_fn)(const uint8_t *, size_t); /* amount done in one pass */

struct job {
    pass_fn pass;
    const uint8_t *data;
    size_t bytes;
    double seconds, rate;
    pthread_barrier_t *start;
};
static volatile int64_t sink;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

#if defined(__AVX512F__)
static double read_pass(const uint8_t *p, size_t n) {
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i + 256 <= n; i += 256) {
        a = _mm512_xor_si512(a, _mm512_load_si512(p + i));
        b = _mm512_xor_si512(b, _mm512_load_si512(p + i + 64));
        c = _mm512_xor_si512(c, _mm512_load_si512(p + i + 128));
        d = _mm512_xor_si512(d, _mm512_load_si512(p + i + 192));
    }
    sink += _mm512_reduce_add_epi64(_mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d)));
    return (double)n;
}
#else
static double read_pass(const uint8_t *p, size_t n) {
    const uint64_t *q = (const uint64_t *)p;
    uint64_t sum[8] = {0};
    for (size_t i = 0; i + 8 <= n / 8; i += 8)
        for (int k = 0; k < 8; k++) sum[k] ^= q[i + k];
    for (int k = 0; k < 8; k++) sink += (int64_t)sum[k];
    return (double)n;
}
#endif

/* Registers that the compiler may neither fold nor forget. */
#define KEEP(x) __asm__ volatile("" : "+v"(x))
/* Unrolled before all else: else the sums stay in memory, and the rate comes out at half or less of the true one. */
#define EACH _Pragma("GCC unroll 16")

#if defined(__AVX512VNNI__)
#define ISA "avx512-vnni vpdpbusd"
static double int8_pass(const uint8_t *p, size_t n) {
    (void)n;
    __m512i acc[UNROLL], x = _mm512_loadu_si512(p), w = _mm512_loadu_si512(p + 64);
    EACH for (int k = 0; k < UNROLL; k++) acc[k] = _mm512_setzero_si512();
    for (int i = 0; i < INNER; i++)
        EACH for (int k = 0; k < UNROLL; k++) {
            acc[k] = _mm512_dpbusd_epi32(acc[k], x, w);
            KEEP(acc[k]);
        }
    EACH for (int k = 0; k < UNROLL; k++) sink += _mm512_reduce_add_epi32(acc[k]);
    return 64.0 * UNROLL * INNER;
}
#elif defined(__AVX2__)
#define ISA "avx2 vpmaddubsw"
static double int8_pass(const uint8_t *p, size_t n) {
    (void)n;
    __m256i acc[UNROLL], x = _mm256_loadu_si256((const void *)p), w = _mm256_loadu_si256((const void *)(p + 32));
    const __m256i one = _mm256_set1_epi16(1);
    EACH for (int k = 0; k < UNROLL; k++) acc[k] = _mm256_setzero_si256();
    for (int i = 0; i < INNER; i++)
        EACH for (int k = 0; k < UNROLL; k++) {
            __m256i pair = _mm256_maddubs_epi16(x, w);
            KEEP(pair);
            acc[k] = _mm256_add_epi32(acc[k], _mm256_madd_epi16(pair, one));
            KEEP(acc[k]);
        }
    int32_t out[8];
    EACH for (int k = 0; k < UNROLL; k++) {
        _mm256_storeu_si256((void *)out, acc[k]);
        for (int j = 0; j < 8; j++) sink += out[j];
    }
    return 32.0 * UNROLL * INNER;
}
#else
#define ISA "plain C"
static double int8_pass(const uint8_t *p, size_t n) {
    (void)n;
    int32_t acc[64] = {0};
    for (int i = 0; i < INNER; i++) {
        const int8_t *w = (const int8_t *)p + 64 * (i % 8);
        for (int k = 0; k < 64; k++) acc[k] += p[k] * w[k];
        __asm__ volatile("" ::: "memory");
    }
    for (int k = 0; k < 64; k++) sink += acc[k];
    return 64.0 * INNER;
}
#endif

#if defined(__AVX512F__)
#define LANES 16
typedef __m512 vec;
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define SET(x) _mm512_set1_ps(x)
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
typedef __m256 vec;
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define SET(x) _mm256_set1_ps(x)
#endif

#ifdef LANES
static double fp32_pass(const uint8_t *p, size_t n) {
    (void)n;
    vec acc[UNROLL], x = SET(0.5f + p[0]), w = SET(0.25f);
    EACH for (int k = 0; k < UNROLL; k++) acc[k] = SET((float)k);
    for (int i = 0; i < INNER; i++)
        EACH for (int k = 0; k < UNROLL; k++) {
            acc[k] = FMA(x, w, acc[k]);
            KEEP(acc[k]);
        }
    float out[LANES];
    EACH for (int k = 0; k < UNROLL; k++) {
        memcpy(out, &acc[k], sizeof out);
        sink += (int64_t)out[0];
    }
    return (double)LANES * UNROLL * INNER;
}
#else
static double fp32_pass(const uint8_t *p, size_t n) {
    (void)n;
    float acc[16] = {0}, x = 0.5f + p[0], w = 0.25f;
    for (int i = 0; i < INNER; i++) {
        for (int k = 0; k < 16; k++) acc[k] += x * w;
        __asm__ volatile("" ::: "memory");
    }
    for (int k = 0; k < 16; k++) sink += (int64_t)acc[k];
    return 16.0 * INNER;
}
#endif

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *work(void *raw) {
    struct job *job = raw;
    double *rates = malloc(MOST_PASSES * sizeof *rates), end;
    int passes = 0;
    job->pass(job->data, job->bytes); /* touch it once */
    pthread_barrier_wait(job->start);
    end = now_s() + job->seconds;
    while (passes < MOST_PASSES && (passes == 0 || now_s() < end)) {
        double began = now_s(), done = job->pass(job->data, job->bytes);
        rates[passes++] = done / (now_s() - began);
    }
    qsort(rates, passes, sizeof *rates, by_value);
    job->rate = rates[passes / 2];
    free(rates);
    return NULL;
}

static double measured(pass_fn pass, const uint8_t *data, size_t bytes, int threads, double seconds) {
    pthread_t ids[threads];
    struct job jobs[threads];
    pthread_barrier_t start;
    size_t share = bytes / threads / 256 * 256;
    double total = 0;
    pthread_barrier_init(&start, NULL, threads);
    for (int i = 0; i < threads; i++) {
        jobs[i] = (struct job){pass, data + i * share, share, seconds, 0, &start};
        pthread_create(&ids[i], NULL, work, &jobs[i]);
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        total += jobs[i].rate;
    }
    return total;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: %s THREADS BYTES SECONDS\n", argv[0]), 2;
    int threads = atoi(argv[1]);
    size_t bytes = strtoull(argv[2], NULL, 10);
    double seconds = atof(argv[3]);
    uint8_t *data = aligned_alloc(4096, (bytes + 8191) / 4096 * 4096);
    if (threads < 1 || bytes < 4096u * threads || !data) return fprintf(stderr, "bad size\n"), 2;
    for (size_t i = 0; i < bytes; i++) data[i] = (uint8_t)(i * 2654435761u >> 24) & 0x7f;
    printf("{\"isa\": \"%s\", \"threads\": %d, \"read_b_s\": %.6g, ", ISA, threads,
           measured(read_pass, data, bytes, threads, seconds));
    printf("\"int8_mac_s\": %.6g, ", measured(int8_pass, data, bytes, threads, seconds));
    printf("\"fp32_mac_s\": %.6g}\n", measured(fp32_pass, data, bytes, threads, seconds));
    return 0;
}
