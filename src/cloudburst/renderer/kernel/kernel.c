/* Pixel kernel of the renderer: zoom, blend, overlay and copy of planes with 8 bits per sample.
 *
 * The file uses integers only and calls no library, so that each compiler and each instruction set
 * produces the same bytes, and one shared library per processor serves glibc and musl. The caller
 * (library.py) has checked addresses, sizes and rectangles.
 *
 * Numbers: "Q7" means that a value is stored as an integer multiple of 2^-7.
 */
#include <stddef.h>
#include <stdint.h>

#define API __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

/* ---- Vectors of int16, on which the zoom is built --------------------------------------------
 *
 * LANES    samples of one vector
 * multiply the upper 16 bits of 2 * a * b, rounded down: for a in Q8 and b in Q14 a product in Q7
 * expand   LANES bytes b as (b - 128) in Q8
 * clip     limits values in Q7 to the range of a byte, -128 to 127, and returns them in Q8
 * narrow   stores values in Q7, less 128, as bytes: rounded down, and limited to 0 to 255
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
INLINE vector expand(const uint8_t *from) {
    vector samples = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)from));
    return _mm256_xor_si256(_mm256_slli_epi16(samples, 8), _mm256_set1_epi16(-32768));
}
INLINE vector clip(vector a) {
    return _mm256_min_epi16(_mm256_adds_epi16(a, a), _mm256_set1_epi16(127 * 256));
}
INLINE void narrow(uint8_t *to, vector a) {
    a = _mm256_srai_epi16(a, 7);
    __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storeu_si128((__m128i *)to, _mm_xor_si128(bytes, _mm_set1_epi8((char)0x80)));
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
INLINE vector expand(const uint8_t *from) {
    vector bytes = _mm_xor_si128(_mm_loadl_epi64((const __m128i *)from), _mm_set1_epi8((char)0x80));
    return _mm_unpacklo_epi8(_mm_setzero_si128(), bytes);
}
INLINE vector clip(vector a) {
    return _mm_min_epi16(_mm_adds_epi16(a, a), _mm_set1_epi16(127 * 256));
}
INLINE void narrow(uint8_t *to, vector a) {
    a = _mm_srai_epi16(a, 7);
    a = _mm_xor_si128(_mm_packs_epi16(a, a), _mm_set1_epi8((char)0x80));
    _mm_storel_epi64((__m128i *)to, a);
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
INLINE vector expand(const uint8_t *from) {
    return vreinterpretq_s16_u16(vshll_n_u8(veor_u8(vld1_u8(from), vdup_n_u8(0x80)), 8));
}
INLINE vector clip(vector a) { return vminq_s16(vqaddq_s16(a, a), vdupq_n_s16(127 * 256)); }
INLINE void narrow(uint8_t *to, vector a) {
    vst1_u8(to, veor_u8(vreinterpret_u8_s8(vqshrn_n_s16(a, 7)), vdup_n_u8(0x80)));
}
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
INLINE vector expand(const uint8_t *from) {
    vector a;
    EACH a.lane[i] = (int16_t)((from[i] - 128) * 256);
    return a;
}
INLINE vector clip(vector a) {
    EACH {
        int v = a.lane[i] < -128 * 128 ? -128 * 128 : a.lane[i];
        a.lane[i] = (int16_t)((v > 127 * 128 ? 127 * 128 : v) * 2);
    }
    return a;
}
INLINE void narrow(uint8_t *to, vector a) {
    EACH {
        int v = (a.lane[i] >> 7) + 128;
        to[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}
#undef EACH
#endif

/* ---- Zoom ------------------------------------------------------------------------------------
 *
 * Lanczos' filter with three lobes, as in Pillow's LANCZOS; columns first, then rows. Each sample
 * is a weighted sum of six source samples, or of up to ten where the picture is reduced: there the
 * filter is as much wider. As in Pillow, those beyond the edges of the plane have weight 0, and the
 * other weights are divided by their sum.
 *
 * Rows are handled in bands that stay in the cache. The first pass weighs the source rows of each
 * row of the band. The second pass handles LANES neighbouring samples at once: the first source
 * sample of each advances by 1, and by 0 or 2 for some. With the drift, the number of times it did
 * so, all lanes read taps + drift(last) consecutive vectors; samples that a lane does not use have
 * weight 0.
 *
 * Range: the sum of the absolute weights of a sample is at most 1.58 (1.54 where the support is not
 * cut), so that sums in Q7 are less than 1.58 * 128 * 128 + offset < 2^15. Partial sums may wrap
 * around.
 *
 * Precision: Pillow rounds the result of the first pass to whole numbers, an error of up to
 * 0.5 * 1.58 = 0.79 after the second pass. Each pass of this kernel adds less than 0.066: 0.024 for
 * six products that are rounded down (6 / 2 / 128), 0.039 for rounded weights (five errors of half
 * a unit, and their sum in the largest weight: 5 * 127.5 / 2^14), and 0.003 for the table of them.
 * Together: 0.79 + 0.066 * (1 + 1.58) < 0.97 before the last rounding. Pillow's positions, which
 * have 24 bits, add at most 0.04 for each axis at the far edges of 1920x1080. Both errors reach
 * these bounds in extreme pictures only; a difference of 2 has never been found.
 */
enum {
    MAX_WIDTH = 6400 + 64,           /* samples of a row: those of a window, and beside it */
    BAND = 16,                       /* rows; measured: 8 to 24 differ by less than 3 % */
    MAX_TAPS = 10,                   /* source samples of a sample, at the largest step, 1.55 */
    PADDING = 32,                    /* samples beside a row; the second pass reads 2 * LANES */
    MAX_READ = MAX_TAPS + LANES * 5 / 8, /* at step 1.55, most samples advance by 2 */
    MAX_BLOCKS = (4096 + LANES) / LANES,
    PHASES = 256,  /* positions between two samples for which the filter is tabulated */
    ONE = 1 << 14, /* sum of the weights of a sample, in Q14 */
};

typedef struct {
    int64_t start, step; /* Q32 of source samples */
    int32_t size;        /* of the source */
    int32_t taps;        /* source samples of a sample, an even number */
    int64_t narrowing;   /* Q30, distance in the filter of neighbouring source samples */
} Axis;

typedef struct {
    int32_t first;             /* first of the source samples; may be outside the plane */
    int16_t weights[MAX_TAPS]; /* Q14, less than 1 */
} Taps;

typedef struct {
    int32_t start; /* first source sample that the block reads */
    int32_t taps;  /* number of vectors that it reads */
    int16_t weights[MAX_READ][LANES];
} Block;

typedef struct {
    int16_t rows[BAND][PADDING + MAX_WIDTH + PADDING]; /* Q8, less 128; after the first pass */
    int16_t ring[MAX_TAPS][MAX_WIDTH]; /* Q8, less 128; source rows, each used several times */
    Block blocks[MAX_BLOCKS];
    int32_t filter[4 * PHASES + 2]; /* Q20, at distances in steps of 1/PHASES; 0 from 3 on */
} Scratch;

INLINE int32_t limit(int32_t value, int32_t low, int32_t high) {
    return value < low ? low : value > high ? high : value;
}

INLINE Scratch *aligned(void *memory) {
    return (Scratch *)(((uintptr_t)memory + 63) & ~(uintptr_t)63);
}

/* sin(pi * n / (3 * PHASES)) in Q30, for 0 <= n <= 3 * PHASES, by Taylor's series. */
static int64_t sine(int64_t n) {
    const int64_t pi = 3373259426; /* Q30 */
    const int64_t x = pi * (2 * n > 3 * PHASES ? 3 * PHASES - n : n) / (3 * PHASES);
    const int64_t square = (x * x) >> 30;
    int64_t term = x, sum = x;
    for (int k = 2; k <= 14; k += 2) {
        term = -((term * square) >> 30) / (k * (k + 1));
        sum += term;
    }
    return sum;
}

/* Tabulate the filter, sin(pi * x) * sin(pi * x / 3) * 3 / (pi * x)^2. */
static void prepare_filter(int32_t *filter) {
    const int64_t factor = 20398961; /* 3 / pi^2 * PHASES^2 in Q10 */
    filter[0] = 1 << 20;
    for (int64_t n = 1; n < 4 * PHASES + 2; n++) {
        filter[n] = 0;
        if (n >= 3 * PHASES) continue;
        const int64_t waves = (sine(3 * (n % PHASES)) * sine(n)) >> 30;
        const int64_t value = (waves * factor / (n * n)) >> 20;
        filter[n] = (int32_t)(n / PHASES % 2 ? -value : value);
    }
}

static Axis axis_of(int64_t start, int64_t step, int32_t size) {
    const int64_t one = (int64_t)1 << 32, wide = step > one ? step : one;
    return (Axis){start, step, size, 2 * (int32_t)((3 * wide + one - 1) >> 32),
                  ((int64_t)1 << 62) / wide};
}

/* Sample of the plane that is read for one beyond its edges: the first one, but the second one for
 * -1, and likewise at the end. See share_weight. */
INLINE int32_t inside(int32_t sample, int32_t size) {
    if (sample < 0) return limit(sample == -1, 0, size - 1);
    return sample < size ? sample : limit(size - 1 - (sample == size), 0, size - 1);
}

/* Make the largest weight less than 1, for x86, where int16 does not hold twice as much in Q14.
 * Weights from 1 to 1.3 occur where the support is cut, for the two outermost samples. Half of it
 * is moved to a sample beyond the edge that has the same value; see inside. Elsewhere the weight
 * exceeds the limit by one unit of Q14, which is without effect. */
static void share_weight(const Axis *axis, Taps *taps, int largest) {
    for (int k = 0; k < axis->taps; k++)
        if (k != largest && inside(taps->first + k, axis->size) == taps->first + largest) {
            taps->weights[k] = taps->weights[largest] / 2;
            taps->weights[largest] -= taps->weights[k];
            return;
        }
    taps->weights[largest] = ONE - 1;
}

static Taps taps_of(const int32_t *filter, const Axis *axis, int32_t sample) {
    const int64_t at =
        axis->start + (((2 * (int64_t)sample + 1) * axis->step) >> 1) - ((int64_t)1 << 31);
    const int32_t before = axis->taps / 2 - 1;
    const int32_t part = (int32_t)((at & 0xffffffff) >> 8); /* Q24, that is Q16 of phases */
    const int largest = before + (part >> 23);
    Taps taps = {.first = (int32_t)(at >> 32) - before};
    int32_t exact[MAX_TAPS], sum = 0; /* Q20 */
    for (int k = 0; k < axis->taps; k++) {
        const int64_t far = (int64_t)(k - before) * (1 << 24) - part;
        const int32_t t = (int32_t)(((far < 0 ? -far : far) * axis->narrowing) >> 30);
        const int32_t *low = filter + (t >> 16);
        exact[k] = low[0] + (((low[1] - low[0]) * (t & 0xffff)) >> 16);
    }
    for (int k = 0; k < axis->taps; k++) {
        if (taps.first + k < 0 || taps.first + k >= axis->size) exact[k] = 0;
        sum += exact[k];
    }
    const int64_t share = ((int64_t)1 << 44) / sum;
    int32_t rest = ONE;
    for (int k = 0; k < axis->taps; k++) {
        taps.weights[k] = (int16_t)((exact[k] * share + (1 << 29)) >> 30);
        rest -= taps.weights[k];
    }
    taps.weights[largest] += (int16_t)rest; /* so that flat areas stay flat */
    if (taps.weights[largest] >= ONE) share_weight(axis, &taps, largest);
    return taps;
}

/* Number of blocks, prepared for all samples of a row of the target. */
static int32_t prepare_blocks(Scratch *scratch, int32_t width, const Axis *axis) {
    int32_t count = 0;
    for (int32_t x = 0; x < width; x += LANES, count++) {
        Block *block = &scratch->blocks[count];
        Taps lanes[LANES];
        int32_t drift = 0;
        for (int i = 0; i < LANES; i++) {
            lanes[i] = taps_of(scratch->filter, axis, x + i < width ? x + i : width - 1);
            drift = x + i < width ? lanes[i].first - lanes[0].first - i : drift;
        }
        block->start = lanes[0].first + limit(drift, -LANES, 0);
        block->taps = axis->taps + (drift < 0 ? -drift : drift);
        for (int j = 0; j < block->taps; j++)
            for (int i = 0; i < LANES; i++) block->weights[j][i] = 0;
        for (int i = 0; i < LANES && x + i < width; i++) {
            const int32_t skipped = lanes[i].first - block->start - i;
            for (int k = 0; k < axis->taps; k++)
                block->weights[skipped + k][i] = (int16_t)(lanes[i].weights[k] * WEIGHT_FACTOR);
        }
    }
    return count;
}

/* Expand samples from begin to end of a source row; begin is a multiple of LANES. */
static void expand_row(const uint8_t *source, int32_t width, int32_t begin, int32_t end,
                       int16_t *to) {
    int32_t x = begin;
    for (; x < end && x + LANES <= width; x += LANES) store(to + x, expand(source + x));
    if (x < end) {
        uint8_t copy[LANES] = {0};
        for (int i = 0; x + i < width; i++) copy[i] = source[x + i];
        store(to + x, expand(copy));
    }
}

/* First pass: samples from begin to end of a row of the band, and the padding beside it. */
INLINE void weigh_rows(const int count, const Scratch *scratch, Taps taps, int32_t height,
                       int32_t width, int32_t begin, int32_t end, int16_t *row) {
    const int16_t *rows[MAX_TAPS];
    vector weights[MAX_TAPS];
    for (int k = 0; k < count; k++) {
        rows[k] = scratch->ring[inside(taps.first + k, height) % count];
        weights[k] = fill((int16_t)(taps.weights[k] * WEIGHT_FACTOR));
    }
    for (int32_t x = begin; x < end; x += LANES) {
        vector sum = multiply(load(rows[0] + x), weights[0]);
        for (int k = 1; k < count; k++) sum = add(sum, multiply(load(rows[k] + x), weights[k]));
        store(row + x, clip(sum));
    }
    if (begin == 0)
        for (int x = 1; x <= count / 2; x++) row[-x] = row[inside(-x, width)];
    if (end == width)
        for (int x = 0; x < count / 2; x++) row[width + x] = row[inside(width + x, width)];
}

/* Second pass: one block of LANES samples in all rows of a band. The offset rounds. */
INLINE void weigh_block(const int taps, const Block *block, int16_t offset, const int16_t *row,
                        ptrdiff_t row_stride, int32_t rows, uint8_t *to, ptrdiff_t stride) {
    vector weights[MAX_READ];
    for (int j = 0; j < taps; j++) weights[j] = load(block->weights[j]);
    for (int32_t y = 0; y < rows; y++, row += row_stride, to += stride) {
        vector sum = fill(offset);
#pragma GCC unroll 20 /* MAX_READ on processors with the longest vectors */
        for (int j = 0; j < taps; j++) sum = add(sum, multiply(load(row + j), weights[j]));
        narrow(to, sum);
    }
}

static void weigh_band(const Scratch *scratch, int32_t blocks, int16_t offset, int32_t rows,
                       int32_t width, uint8_t *target, ptrdiff_t stride) {
    const ptrdiff_t row_stride = PADDING + MAX_WIDTH + PADDING;
    for (int32_t i = 0; i < blocks; i++) {
        const Block *block = &scratch->blocks[i];
        const int16_t *row = scratch->rows[0] + PADDING + block->start;
        const int32_t x = i * LANES;
        uint8_t part[BAND * LANES]; /* the last block, if the row ends within it */
        const int whole = x + LANES <= width;
        uint8_t *to = whole ? target + x : part;
        const ptrdiff_t to_stride = whole ? stride : LANES;
#define WEIGH(taps) weigh_block(taps, block, offset, row, row_stride, rows, to, to_stride)
        switch (block->taps) {
        case 6: WEIGH(6); break;
        case 7: WEIGH(7); break;
        case 8: WEIGH(8); break;
        default: WEIGH(block->taps);
        }
#undef WEIGH
        for (int32_t y = 0; !whole && y < rows; y++)
            for (int32_t k = 0; x + k < width; k++) target[y * stride + x + k] = part[y * LANES + k];
    }
}

API size_t kernel_scratch_size(void) { return sizeof(Scratch) + 63; }

/* Prepare working memory of kernel_scratch_size() bytes, once, for any number of zooms. */
API void kernel_prepare_scratch(void *memory) { prepare_filter(aligned(memory)->filter); }

/* Fill the target with the window of the source that starts at (left, top). left, top and step, the
 * distance of two samples of the target, are in Q32 of source samples; 0.5 <= step <= 1.55. The
 * centres of all samples of the target are at least 0.05 samples inside the source, which has at
 * most MAX_WIDTH columns; the target has at most 4096. memory was prepared by
 * kernel_prepare_scratch. */
API void kernel_zoom(const uint8_t *source, ptrdiff_t source_stride, int32_t source_width,
                     int32_t source_height, uint8_t *target, ptrdiff_t target_stride,
                     int32_t width, int32_t height, int64_t left, int64_t top, int64_t step,
                     void *memory) {
    Scratch *scratch = aligned(memory);
    const Axis across = axis_of(left, step, source_width), down = axis_of(top, step, source_height);
    const int32_t blocks = prepare_blocks(scratch, width, &across);
    const int32_t first = taps_of(scratch->filter, &across, 0).first;
    const int32_t last = taps_of(scratch->filter, &across, width - 1).first + across.taps;
    const int32_t begin = limit(first, 0, source_width) / LANES * LANES;
    const int32_t end = limit(last, 0, source_width);
    /* Half of a unit to round, and the mean loss of the products of two passes, which are rounded
     * down by up to one unit. */
    const int16_t offset = (int16_t)(64 + across.taps);
    int32_t expanded = 0; /* source rows before this one are in the ring, or are not needed again */
    for (int32_t y = 0; y < height; y += BAND) {
        const int32_t rows = limit(height - y, 1, BAND);
        for (int32_t i = 0; i < rows; i++) {
            const Taps taps = taps_of(scratch->filter, &down, y + i);
            expanded = limit(expanded, taps.first, source_height);
            for (; expanded < limit(taps.first + down.taps, 0, source_height); expanded++)
                expand_row(source + expanded * source_stride, source_width, begin, end,
                           scratch->ring[expanded % down.taps]);
#define WEIGH(taps_)                                                                               \
    weigh_rows(taps_, scratch, taps, source_height, source_width, begin, end,                     \
               scratch->rows[i] + PADDING)
            if (down.taps == 6) WEIGH(6);
            else if (down.taps == 8) WEIGH(8);
            else WEIGH(10);
#undef WEIGH
        }
        weigh_band(scratch, blocks, offset, rows, width, target + y * target_stride,
                   target_stride);
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
