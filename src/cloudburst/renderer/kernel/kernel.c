/* Pixel kernel of the renderer: zoom, blend, overlay and copy of planes with 8 bits per sample.
 *
 * The file uses integers only and calls no library, so that each compiler and each instruction set
 * produces the same bytes, and one shared library per processor serves glibc and musl. The caller
 * (library.py) has checked addresses, sizes and rectangles.
 *
 * Numbers: "Q6" means that a value is stored as an integer multiple of 2^-6.
 */
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define API __declspec(dllexport)
#else
#define API __attribute__((visibility("default")))
#endif
#define INLINE static inline __attribute__((always_inline))

/* ---- Vectors of int16, on which the zoom is built --------------------------------------------
 *
 * LANES    samples of one vector; expand and narrow handle PAIR = 2 * LANES or LANES samples
 * multiply the upper 16 bits of 2 * a * b, rounded down: for a in Q8 and b in Q13 a product in Q6
 * expand   PAIR bytes b as (b - 128) in Q8
 * clip     limits values in Q6 to the range of a byte, -128 to 127, and returns them in Q8
 * narrow   stores values in Q6, to which OFFSET was added, as bytes, limited to 0 to 255
 */
#if defined(__AVX2__) && !defined(KERNEL_PORTABLE)
#include <immintrin.h>
enum { LANES = 16 };
typedef __m256i vector;
/* x86 has no doubling multiplication: there, weights are stored twice as large. */
enum { WEIGHT_FACTOR = 2 };
INLINE vector load(const int16_t *from) { return _mm256_loadu_si256((const __m256i *)from); }
INLINE void store(int16_t *to, vector a) { _mm256_storeu_si256((__m256i *)to, a); }
INLINE vector fill(int16_t value) { return _mm256_set1_epi16(value); }
INLINE vector add(vector a, vector b) { return _mm256_add_epi16(a, b); }
INLINE vector multiply(vector a, vector b) { return _mm256_mulhi_epi16(a, b); }
INLINE void expand(const uint8_t *from, vector *low, vector *high) {
    /* The two unpacks work on halves of 128 bits: low has samples 0-7 and 16-23. */
    vector bytes = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)from),
                                    _mm256_set1_epi8((char)0x80));
    *low = _mm256_unpacklo_epi8(_mm256_setzero_si256(), bytes);
    *high = _mm256_unpackhi_epi8(_mm256_setzero_si256(), bytes);
}
INLINE vector clip(vector a) {
    a = _mm256_max_epi16(a, _mm256_set1_epi16(-128 * 64));
    return _mm256_slli_epi16(_mm256_min_epi16(a, _mm256_set1_epi16(127 * 64)), 2);
}
INLINE void store_pair(int16_t *to, vector low, vector high) {
    store(to, _mm256_permute2x128_si256(low, high, 0x20));
    store(to + LANES, _mm256_permute2x128_si256(low, high, 0x31));
}
INLINE void narrow(uint8_t *to, vector a) {
    a = _mm256_srai_epi16(a, 6);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storeu_si128((__m128i *)to, bytes);
}
#elif defined(__SSE2__) && !defined(KERNEL_PORTABLE)
#include <emmintrin.h>
enum { LANES = 8 };
typedef __m128i vector;
enum { WEIGHT_FACTOR = 2 };
INLINE vector load(const int16_t *from) { return _mm_loadu_si128((const __m128i *)from); }
INLINE void store(int16_t *to, vector a) { _mm_storeu_si128((__m128i *)to, a); }
INLINE vector fill(int16_t value) { return _mm_set1_epi16(value); }
INLINE vector add(vector a, vector b) { return _mm_add_epi16(a, b); }
INLINE vector multiply(vector a, vector b) { return _mm_mulhi_epi16(a, b); }
INLINE void expand(const uint8_t *from, vector *low, vector *high) {
    vector bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i *)from), _mm_set1_epi8((char)0x80));
    *low = _mm_unpacklo_epi8(_mm_setzero_si128(), bytes);
    *high = _mm_unpackhi_epi8(_mm_setzero_si128(), bytes);
}
INLINE vector clip(vector a) {
    a = _mm_max_epi16(a, _mm_set1_epi16(-128 * 64));
    return _mm_slli_epi16(_mm_min_epi16(a, _mm_set1_epi16(127 * 64)), 2);
}
INLINE void store_pair(int16_t *to, vector low, vector high) {
    store(to, low);
    store(to + LANES, high);
}
INLINE void narrow(uint8_t *to, vector a) {
    a = _mm_srai_epi16(a, 6);
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(a, a));
}
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(KERNEL_PORTABLE)
#include <arm_neon.h>
enum { LANES = 8 };
typedef int16x8_t vector;
enum { WEIGHT_FACTOR = 1 };
INLINE vector load(const int16_t *from) { return vld1q_s16(from); }
INLINE void store(int16_t *to, vector a) { vst1q_s16(to, a); }
INLINE vector fill(int16_t value) { return vdupq_n_s16(value); }
INLINE vector add(vector a, vector b) { return vaddq_s16(a, b); }
INLINE vector multiply(vector a, vector b) { return vqdmulhq_s16(a, b); }
INLINE void expand(const uint8_t *from, vector *low, vector *high) {
    uint8x16_t bytes = veorq_u8(vld1q_u8(from), vdupq_n_u8(0x80));
    *low = vreinterpretq_s16_u8(vzip1q_u8(vdupq_n_u8(0), bytes));
    *high = vreinterpretq_s16_u8(vzip2q_u8(vdupq_n_u8(0), bytes));
}
INLINE vector clip(vector a) {
    return vshlq_n_s16(vminq_s16(vmaxq_s16(a, vdupq_n_s16(-128 * 64)), vdupq_n_s16(127 * 64)), 2);
}
INLINE void store_pair(int16_t *to, vector low, vector high) {
    store(to, low);
    store(to + LANES, high);
}
INLINE void narrow(uint8_t *to, vector a) { vst1_u8(to, vqshrun_n_s16(a, 6)); }
#else /* other processors; KERNEL_PORTABLE selects it for tests */
enum { LANES = 8 };
typedef struct {
    int16_t lane[LANES];
} vector;
enum { WEIGHT_FACTOR = 1 };
#define EACH for (int i = 0; i < LANES; i++)
INLINE vector load(const int16_t *from) {
    vector a;
    EACH a.lane[i] = from[i];
    return a;
}
INLINE void store(int16_t *to, vector a) { EACH to[i] = a.lane[i]; }
INLINE vector fill(int16_t value) {
    vector a;
    EACH a.lane[i] = value;
    return a;
}
INLINE vector add(vector a, vector b) {
    EACH a.lane[i] = (int16_t)(a.lane[i] + b.lane[i]);
    return a;
}
INLINE vector multiply(vector a, vector b) {
    EACH a.lane[i] = (int16_t)((a.lane[i] * b.lane[i]) >> 15);
    return a;
}
INLINE void expand(const uint8_t *from, vector *low, vector *high) {
    EACH low->lane[i] = (int16_t)((from[i] - 128) * 256);
    EACH high->lane[i] = (int16_t)((from[i + LANES] - 128) * 256);
}
INLINE vector clip(vector a) {
    EACH {
        int16_t v = a.lane[i] < -128 * 64 ? -128 * 64 : a.lane[i];
        a.lane[i] = (int16_t)((v > 127 * 64 ? 127 * 64 : v) * 4);
    }
    return a;
}
INLINE void store_pair(int16_t *to, vector low, vector high) {
    store(to, low);
    store(to + LANES, high);
}
INLINE void narrow(uint8_t *to, vector a) {
    EACH {
        int v = a.lane[i] >> 6;
        to[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}
#undef EACH
#endif

/* ---- Zoom ------------------------------------------------------------------------------------
 *
 * Keys' cubic convolution with a = -0.5 (Catmull-Rom), as in Pillow's BICUBIC; columns first, then
 * rows. Beyond the edges of the plane, its outermost samples are repeated.
 *
 * Rows are handled in bands that stay in the cache. The first pass weighs four source rows per row
 * of the band. The second pass handles LANES neighbouring samples at once: the window is not
 * larger than the plane, so the first source sample of each advances by 0 or 1. With the drift,
 * the number of times it advanced by 0, sample x reads source samples x - drift(x) + 0..3. All
 * lanes therefore read 4 + drift(last) consecutive vectors; samples that a lane does not use have
 * weight 0.
 *
 * Pillow rounds the result of the first pass to whole numbers and this kernel to 1/64, so that the
 * results differ by at most 0.625 (half, times the sum of the absolute weights, 1.25) plus 0.25 for
 * the precision of weights, products and Pillow's positions: less than 1 before the last rounding,
 * and never more than 1 after it.
 */
enum {
    MAX_WIDTH = 4096,        /* samples of a row */
    BAND = 16,               /* rows; measured: 8 are 4 % slower, 4 are 11 % slower */
    PAIR = 2 * LANES,
    PADDING = 32,            /* samples beside a row; the second pass reads up to 2 * LANES more */
    MAX_TAPS = 4 + LANES / 2, /* at the largest zoom, 2, every second sample advances by 0 */
    MAX_BLOCKS = MAX_WIDTH / LANES,
    ONE = 1 << 13,           /* sum of the weights of a sample, in Q13 */
    OFFSET = 128 * 64 + 32 + 4 /* -128 of expand; half of a unit to round; the mean loss of eight
                                  products that are rounded down: 8 / 2 */
};

typedef struct {
    int32_t first;      /* first of the four source samples; may be outside the plane */
    int16_t weights[4]; /* Q13 */
} Taps;

typedef struct {
    int32_t start; /* first source sample that the block reads */
    int32_t taps;  /* number of vectors that it reads */
    int16_t weights[MAX_TAPS][LANES];
} Block;

typedef struct {
    int16_t rows[BAND][PADDING + MAX_WIDTH + PADDING]; /* Q8, less 128 */
    Block blocks[MAX_BLOCKS];
} Scratch;

/* Taps of a sample; start and step are in Q32 of source samples. */
static Taps taps_of(int64_t start, int64_t step, int32_t sample) {
    const int64_t at = start + (((2 * (int64_t)sample + 1) * step) >> 1) - ((int64_t)1 << 31);
    const int64_t t = (at & 0xffffffff) >> 12; /* Q20 */
    const int64_t t2 = (t * t) >> 20, t3 = (t2 * t) >> 20;
    const int64_t twice[4] = {
        -t + 2 * t2 - t3, (2 << 20) - 5 * t2 + 3 * t3, t + 4 * t2 - 3 * t3, t3 - t2};
    Taps taps = {.first = (int32_t)(at >> 32) - 1};
    int32_t sum = 0;
    for (int k = 0; k < 4; k++) {
        taps.weights[k] = (int16_t)((twice[k] + 128) >> 8);
        sum += taps.weights[k];
    }
    taps.weights[t < 1 << 19 ? 1 : 2] += (int16_t)(ONE - sum); /* so that flat areas stay flat */
    return taps;
}

/* Number of blocks, prepared for all samples of a row. */
static int32_t prepare_blocks(Block *blocks, int32_t width, int64_t left, int64_t step) {
    int32_t count = 0;
    for (int32_t x = 0; x < width; x += LANES, count++) {
        Block *block = &blocks[count];
        Taps lanes[LANES];
        int32_t drift = 0;
        for (int i = 0; i < LANES; i++) {
            lanes[i] = taps_of(left, step, x + i < width ? x + i : width - 1);
            drift = x + i < width ? i - (lanes[i].first - lanes[0].first) : drift;
        }
        block->start = lanes[0].first - drift;
        block->taps = 4 + drift;
        for (int j = 0; j < block->taps; j++)
            for (int i = 0; i < LANES; i++) block->weights[j][i] = 0;
        for (int i = 0; i < LANES && x + i < width; i++) {
            const int32_t skipped = lanes[i].first - block->start - i;
            for (int k = 0; k < 4; k++)
                block->weights[skipped + k][i] = (int16_t)(lanes[i].weights[k] * WEIGHT_FACTOR);
        }
    }
    return count;
}

INLINE int32_t limit(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

/* First pass: PAIR samples of a row of the band from four source rows. */
INLINE void weigh_columns(const uint8_t *const rows[4], const vector weights[4], int16_t *to) {
    vector low, high, a, b;
    expand(rows[0], &a, &b);
    low = multiply(a, weights[0]);
    high = multiply(b, weights[0]);
    for (int k = 1; k < 4; k++) {
        expand(rows[k], &a, &b);
        low = add(low, multiply(a, weights[k]));
        high = add(high, multiply(b, weights[k]));
    }
    store_pair(to, clip(low), clip(high));
}

/* First pass: samples from begin to end of a row of the band, and the padding beside it. */
static void weigh_source_rows(const uint8_t *source, ptrdiff_t stride, int32_t width,
                              int32_t height, Taps taps, int32_t begin, int32_t end, int16_t *row) {
    const uint8_t *rows[4];
    vector weights[4];
    for (int k = 0; k < 4; k++) {
        rows[k] = source + limit(taps.first + k, 0, height - 1) * stride;
        weights[k] = fill((int16_t)(taps.weights[k] * WEIGHT_FACTOR));
    }
    if (width < PAIR) {
        uint8_t copies[4][PAIR] = {{0}};
        for (int k = 0; k < 4; k++)
            for (int32_t x = 0; x < width; x++) copies[k][x] = rows[k][x];
        const uint8_t *const starts[4] = {copies[0], copies[1], copies[2], copies[3]};
        weigh_columns(starts, weights, row);
    } else {
        for (int32_t x = begin; x < end; x += PAIR) {
            const int32_t at = x + PAIR <= width ? x : width - PAIR;
            const uint8_t *const starts[4] = {rows[0] + at, rows[1] + at, rows[2] + at, rows[3] + at};
            weigh_columns(starts, weights, row + at);
        }
    }
    if (begin == 0)
        for (int x = 1; x <= PADDING; x++) row[-x] = row[0];
    if (end == width)
        for (int x = 0; x < PADDING; x++) row[width + x] = row[width - 1];
}

/* Second pass: one block of LANES samples in all rows of a band. */
INLINE void weigh_block(const int taps, const Block *block, const int16_t *row, ptrdiff_t row_stride,
                        int32_t rows, uint8_t *to, ptrdiff_t stride) {
    vector weights[MAX_TAPS];
    for (int j = 0; j < taps; j++) weights[j] = load(block->weights[j]);
    for (int32_t y = 0; y < rows; y++, row += row_stride, to += stride) {
        vector sum = fill(OFFSET);
        for (int j = 0; j < taps; j++) sum = add(sum, multiply(load(row + j), weights[j]));
        narrow(to, sum);
    }
}

static void weigh_band(const Scratch *scratch, int32_t blocks, int32_t rows, int32_t width,
                       uint8_t *target, ptrdiff_t stride) {
    const ptrdiff_t row_stride = PADDING + MAX_WIDTH + PADDING;
    for (int32_t i = 0; i < blocks; i++) {
        const Block *block = &scratch->blocks[i];
        const int16_t *row = scratch->rows[0] + PADDING + block->start;
        const int32_t x = i * LANES;
        uint8_t part[BAND * LANES]; /* the last block, if the row ends within it */
        const int whole = x + LANES <= width;
        uint8_t *to = whole ? target + x : part;
        const ptrdiff_t to_stride = whole ? stride : LANES;
        switch (block->taps) {
        case 4: weigh_block(4, block, row, row_stride, rows, to, to_stride); break;
        case 5: weigh_block(5, block, row, row_stride, rows, to, to_stride); break;
        case 6: weigh_block(6, block, row, row_stride, rows, to, to_stride); break;
        default: weigh_block(block->taps, block, row, row_stride, rows, to, to_stride);
        }
        for (int32_t y = 0; !whole && y < rows; y++)
            for (int32_t k = 0; k < width - x; k++) target[y * stride + x + k] = part[y * LANES + k];
    }
}

API size_t kernel_scratch_size(void) { return sizeof(Scratch) + 63; }

/* Fill the target, of the same size as the source, with the window that starts at (left, top).
 * left, top and step, the distance of two samples of the target, are in Q32 of source samples;
 * 0.5 <= step <= 1. width <= MAX_WIDTH. scratch has kernel_scratch_size() bytes. */
API void kernel_zoom(const uint8_t *source, ptrdiff_t source_stride, uint8_t *target,
                     ptrdiff_t target_stride, int32_t width, int32_t height, int64_t left,
                     int64_t top, int64_t step, void *memory) {
    Scratch *scratch = (Scratch *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
    const int32_t blocks = prepare_blocks(scratch->blocks, width, left, step);
    const int32_t begin = limit(taps_of(left, step, 0).first, 0, width - 1);
    const int32_t end = limit(taps_of(left, step, width - 1).first + 4, 1, width);
    for (int32_t y = 0; y < height; y += BAND) {
        const int32_t rows = limit(height - y, 1, BAND);
        for (int32_t i = 0; i < rows; i++)
            weigh_source_rows(source, source_stride, width, height, taps_of(top, step, y + i), begin,
                              end, scratch->rows[i] + PADDING);
        weigh_band(scratch, blocks, rows, width, target + y * target_stride, target_stride);
    }
}

/* ---- Rectangles ------------------------------------------------------------------------------ */

/* Mean of a and b, weighed by 255 - mask and mask, rounded; the formula of Pillow's paste. */
INLINE uint8_t mix(uint8_t a, uint8_t b, uint8_t mask) {
    const uint16_t sum = (uint16_t)(a * (255 - mask) + b * mask + 128);
    return (uint8_t)((uint16_t)(sum + (sum >> 8)) >> 8);
}

/* Blend one value into a rectangle. The mask has width * height bytes. */
API void kernel_blend(uint8_t *restrict target, ptrdiff_t stride, int32_t width, int32_t height,
                      const uint8_t *restrict mask, uint8_t value) {
    for (int32_t y = 0; y < height; y++, target += stride, mask += width)
        for (int32_t x = 0; x < width; x++) target[x] = mix(target[x], value, mask[x]);
}

/* Blend a picture into a rectangle. The mask and the picture have width * height bytes. */
API void kernel_overlay(uint8_t *restrict target, ptrdiff_t stride, int32_t width, int32_t height,
                        const uint8_t *restrict mask, const uint8_t *restrict picture) {
    for (int32_t y = 0; y < height; y++, target += stride, mask += width, picture += width)
        for (int32_t x = 0; x < width; x++) target[x] = mix(target[x], picture[x], mask[x]);
}

/* Copy a rectangle. */
API void kernel_copy(const uint8_t *restrict source, ptrdiff_t source_stride,
                     uint8_t *restrict target, ptrdiff_t target_stride, int32_t width,
                     int32_t height) {
    for (int32_t y = 0; y < height; y++, source += source_stride, target += target_stride)
        for (int32_t x = 0; x < width; x++) target[x] = source[x];
}

/* ---- Properties of the library and of the processor ------------------------------------------ */

#ifndef KERNEL_SOURCE_HASH
#define KERNEL_SOURCE_HASH 0
#endif
/* First 64 bits of the SHA-256 of this file, which the compiler's command line contains. */
API uint64_t kernel_source_hash(void) { return KERNEL_SOURCE_HASH; }

/* Return 1 if the processor and the operating system support x86-64-v3. The cpuid instruction is
 * used directly because __builtin_cpu_supports always answers 0 when zig has compiled it. */
#if defined(__x86_64__)
#include <cpuid.h>
API int32_t kernel_supports_v3(void) {
    const unsigned fma = 1u << 12, movbe = 1u << 22, osxsave = 1u << 27, avx = 1u << 28,
                   f16c = 1u << 29, bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8,
                   lzcnt = 1u << 5, ymm_saved = 6;
    const unsigned basic = fma | movbe | osxsave | avx | f16c, more = bmi1 | avx2 | bmi2;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & basic) != basic) return 0;
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a & ymm_saved) != ymm_saved) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & more) != more) return 0;
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & lzcnt) != 0;
}
#else
API int32_t kernel_supports_v3(void) { return 0; }
#endif

#if defined(_WIN32)
/* Entry point of the library, instead of the one of the C run-time library. */
int __stdcall DllMainCRTStartup(void *module, unsigned long reason, void *reserved);
int __stdcall DllMainCRTStartup(void *module, unsigned long reason, void *reserved) {
    (void)module, (void)reason, (void)reserved;
    return 1;
}
#endif
