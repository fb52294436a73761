/* Writer of B pictures that hold motion vectors and nothing else (ITU-T H.264, CABAC).
 *
 * A picture is one slice. Each macroblock takes one reference picture, or the mean of both, at
 * vectors in quarter samples, and has no residual. As kernel.c, the file uses integers only and
 * calls no library; the caller (library.py) has checked the arguments. Sections and tables are
 * those of the standard.
 */
#include <stddef.h>
#include <stdint.h>

#define API __attribute__((visibility("default")))

enum {
    LISTS = 2,        /* list 0 takes the later reference picture, list 1 the earlier one */
    AXES = 2,         /* across and down */
    BLOCK_SIZE = 16,  /* samples on a side of a macroblock */
    MAX_BLOCKS = 256, /* macroblocks of a row or a column: 4096 samples */
};

/* ---- Bits, and the arithmetic coder (9.3.4) ------------------------------------------------- */

/* Part of the interval that the less probable value of a bin has, by the state of its context and
 * the upper bits of the range (table 9-44). */
static const uint8_t LPS_RANGE[64][4] = {
    {128, 176, 208, 240}, {128, 167, 197, 227}, {128, 158, 187, 216}, {123, 150, 178, 205},
    {116, 142, 169, 195}, {111, 135, 160, 185}, {105, 128, 152, 175}, {100, 122, 144, 166},
    {95, 116, 137, 158},  {90, 110, 130, 150},  {85, 104, 123, 142},  {81, 99, 117, 135},
    {77, 94, 111, 128},   {73, 89, 105, 122},   {69, 85, 100, 116},   {66, 80, 95, 110},
    {62, 76, 90, 104},    {59, 72, 86, 99},     {56, 69, 81, 94},     {53, 65, 77, 89},
    {51, 62, 73, 85},     {48, 59, 69, 80},     {46, 56, 66, 76},     {43, 53, 63, 72},
    {41, 50, 59, 69},     {39, 48, 56, 65},     {37, 45, 54, 62},     {35, 43, 51, 59},
    {33, 41, 48, 56},     {32, 39, 46, 53},     {30, 37, 43, 50},     {29, 35, 41, 48},
    {27, 33, 39, 45},     {26, 31, 37, 43},     {24, 30, 35, 41},     {23, 28, 33, 39},
    {22, 27, 32, 37},     {21, 26, 30, 35},     {20, 24, 29, 33},     {19, 23, 27, 31},
    {18, 22, 26, 30},     {17, 21, 25, 28},     {16, 20, 23, 27},     {15, 19, 22, 25},
    {14, 18, 21, 24},     {14, 17, 20, 23},     {13, 16, 19, 22},     {12, 15, 18, 21},
    {12, 14, 17, 20},     {11, 14, 16, 19},     {11, 13, 15, 18},     {10, 12, 15, 17},
    {10, 12, 14, 16},     {9, 11, 13, 15},      {9, 11, 12, 14},      {8, 10, 12, 14},
    {8, 9, 11, 13},       {7, 9, 11, 12},       {7, 9, 10, 12},       {7, 8, 10, 11},
    {6, 8, 9, 11},        {6, 7, 9, 10},        {6, 7, 8, 9},         {2, 2, 2, 2}};

static const uint8_t AFTER_LPS[64] = { /* state after the less probable value (table 9-45) */
    0,  0,  1,  2,  2,  4,  4,  5,  6,  7,  8,  9,  9,  11, 11, 12, 13, 13, 15, 15, 16, 16,
    18, 18, 19, 19, 21, 21, 22, 22, 23, 24, 24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30,
    31, 32, 32, 33, 33, 33, 34, 34, 35, 35, 35, 36, 36, 36, 37, 37, 37, 38, 38, 63};

typedef struct {
    uint8_t state;  /* pStateIdx, the index of both tables: how sure the value is */
    uint8_t likely; /* valMPS, the more probable value */
} Context;

enum { CONTEXTS = 78 }; /* the index of a context is its ctxIdx; not all are used */

typedef struct {
    uint8_t *out;
    size_t room, size;    /* bytes beyond the room are counted, but not stored */
    uint32_t byte;        /* bits of the next byte, after a 1 that tells their number */
    uint32_t zeros;       /* number of zero bytes before it */
    uint32_t low, range;  /* the interval of the arithmetic coder */
    uint32_t outstanding; /* bits that are not known before the next one is */
    uint32_t started;     /* 0 until the first bit, which is not written */
    Context contexts[CONTEXTS];
} Coder;

static void put_byte(Coder *c, uint8_t byte) {
    if (c->zeros == 2 && byte < 4) { /* emulation prevention (7.4.1) */
        if (c->size < c->room) c->out[c->size] = 3;
        c->size++;
        c->zeros = 0;
    }
    if (c->size < c->room) c->out[c->size] = byte;
    c->size++;
    c->zeros = byte ? 0 : c->zeros + 1;
}

static void put(Coder *c, uint32_t value, int count) {
    while (count--) {
        c->byte = c->byte << 1 | (value >> count & 1);
        if (c->byte < 256) continue;
        put_byte(c, (uint8_t)c->byte);
        c->byte = 1;
    }
}

/* Write a bit, and the outstanding ones, which are its opposite (PutBit). */
static void put_settled(Coder *c, uint32_t bit) {
    if (c->started) put(c, bit, 1);
    c->started = 1;
    for (; c->outstanding; c->outstanding--) put(c, !bit, 1);
}

/* Take the highest bit out of the lower end of the interval; half is its value. If the interval
 * contains the half, the bit is outstanding. */
static void settle(Coder *c, uint32_t half) {
    if (c->low >= half) {
        put_settled(c, 1);
        c->low -= half;
    } else if (c->low < half / 2) {
        put_settled(c, 0);
    } else {
        c->outstanding++;
        c->low -= half / 2;
    }
}

/* Double the interval until its range has 9 bits again (RenormE). */
static void renormalize(Coder *c) {
    for (; c->range < 256; c->range <<= 1) {
        settle(c, 512);
        c->low <<= 1;
    }
}

/* Code a bin, which is a binary decision, by its context (EncodeDecision). */
static void code(Coder *c, int context, uint32_t bin) {
    Context *now = &c->contexts[context];
    const uint32_t lps = LPS_RANGE[now->state][c->range >> 6 & 3];
    c->range -= lps;
    if (bin == now->likely) {
        now->state += now->state < 62;
    } else {
        c->low += c->range;
        c->range = lps;
        now->likely ^= now->state == 0;
        now->state = AFTER_LPS[now->state];
    }
    renormalize(c);
}

static void code_evenly(Coder *c, uint32_t bin) { /* with equal probabilities (EncodeBypass) */
    c->low = (c->low << 1) + (bin ? c->range : 0);
    settle(c, 1024);
}

static void code_end(Coder *c, int is_end) { /* end_of_slice_flag, and the stop bit */
    c->range -= 2;
    if (is_end) {
        c->low += c->range;
        c->range = 2;
    }
    renormalize(c);
    if (is_end) {
        put_settled(c, c->low >> 9 & 1);
        put(c, (c->low >> 7 & 3) | 1, 2);
        while (c->byte != 1) put(c, 0, 1);
    }
}

/* ---- Slice header and contexts -------------------------------------------------------------- */

/* First contexts of mb_skip_flag, mb_type, mvd_lX, ref_idx_lX and coded_block_pattern. */
enum { SKIP = 24, TYPE = 27, ACROSS = 40, DOWN = 47, REFERENCE = 54, LUMA = 73, CHROMA = 77 };
/* Quantizer of the parameter sets. As there is no residual, it only decides the first states of the
 * contexts. */
enum { QUANTIZER = 26 };

static const int8_t STARTS[CONTEXTS][2] = { /* tables 9-14 to 9-18, cabac_init_idc 0: m, n */
    [SKIP] = {18, 64},   {9, 43},    {29, 0},
    [TYPE] = {26, 67},   {16, 90},   {9, 104},   {-46, 127}, {-20, 104}, {1, 67},
    [ACROSS] = {-3, 69}, {-6, 81},   {-11, 96},  {6, 55},    {7, 67},    {-5, 86},  {2, 88},
    [DOWN] = {0, 58},    {-3, 76},   {-10, 94},  {5, 54},    {4, 69},    {-3, 81},  {0, 88},
    [REFERENCE] = {-7, 67}, {-5, 74}, {-4, 74},  {-5, 80},   {-7, 72},
    [LUMA] = {-27, 126}, {-28, 98},  {-25, 101}, {-23, 67},
    [CHROMA] = {-28, 82}};

static void start_slice(Coder *c, uint32_t frame_number, uint32_t order) { /* 7.3.3, 9.3.1.1 */
    put(c, 0x01, 8);         /* nal_ref_idc 0: no other picture refers to it; nal_unit_type 1 */
    put(c, 0x4f, 7);         /* first_mb_in_slice 0, slice_type 6 (B), pic_parameter_set_id 0 */
    put(c, frame_number, 4); /* frame_num, of 4 bits in the parameter sets of this package */
    put(c, order, 5);        /* pic_order_cnt_lsb */
    put(c, 0xd2, 8);         /* spatial prediction; num_ref_idx_l0_active_minus1 and l1: 1 */
    put(c, 0x1a, 7);         /* no modification of the lists; cabac_init_idc 0, slice_qp_delta 0, */
                             /* disable_deblocking_filter_idc 1 */
    while (c->byte != 1) put(c, 1, 1);
    for (int i = SKIP; i < CONTEXTS; i++) {
        const int state = (STARTS[i][0] * QUANTIZER >> 4) + STARTS[i][1];
        c->contexts[i].likely = state > 63;
        c->contexts[i].state = (uint8_t)(state > 63 ? state - 64 : 63 - state);
    }
    c->low = c->outstanding = c->started = 0;
    c->range = 510;
}

/* ---- Choice of vectors ------------------------------------------------------------------------
 *
 * A zoom or a pan moves all macroblocks of a column by the same distance across, and those of a
 * row by the same distance down. So vectors are chosen for each column and each row, those of both
 * lists together. The nearest quarter samples are not the best: their filter blurs, while the mean
 * of two pictures at whole samples, one a little too far to the left and one a little too far to
 * the right, is sharper. The best pair has the least mean square error for samples whose
 * correlation falls with their distance.
 *
 * Positions and distances are in 1/16 samples. The fraction of a position, one of FRACTIONS,
 * decides how good each of its CANDIDATES is. The fraction of a vector in quarter samples is its
 * phase, one of PHASES, which decides its filter. */
enum { FRACTIONS = 16, CANDIDATES = 4, PHASES = 4, TAPS = 6 };

/* Correlation of samples by their distance, in 2^-14, if the power of a frequency f is in
 * proportion to 1 / (f * f + 1/4), up to half the sampling rate. Photographs are about so. */
static const int16_t LIKENESS[] = {
    16384, 16356, 16274, 16139, 15952, 15717, 15436, 15116, 14759, 14371, 13958, 13525, 13078,
    12623, 12164, 11707, 11256, 10817, 10392, 9986, 9599, 9235, 8894, 8576, 8283, 8013, 7764,
    7536, 7327, 7134, 6955, 6787, 6628, 6476, 6328, 6181, 6036, 5889, 5739, 5587, 5431, 5271,
    5108, 4941, 4773, 4603, 4434, 4265, 4100, 3938, 3782, 3632, 3489, 3355, 3230, 3114, 3008,
    2911, 2823, 2744, 2672, 2608, 2549, 2495, 2444, 2396, 2349, 2302, 2255, 2206, 2155, 2101,
    2044, 1984, 1921, 1856, 1788, 1719, 1649, 1578, 1509, 1440, 1374, 1312, 1252, 1197, 1147,
    1102, 1062, 1027, 997, 972, 951, 933, 919, 907, 897, 888, 879, 869, 858, 846, 831, 814, 794,
    771, 746, 718, 688, 657, 624, 591, 557, 524, 492, 462, 434, 409, 387, 368, 352, 340, 331,
    325, 322, 321, 322, 325, 328, 332, 335, 338, 340, 340, 338, 334, 327, 318, 307, 294, 279,
    262, 244, 226, 207, 188, 170, 153, 138, 124, 113, 104, 97, 93, 91, 92, 95, 99, 105, 112,
    119, 127, 134, 140, 146, 150, 152, 152, 150, 147, 141, 134, 124, 114, 102, 90, 77};

static const int8_t FILTERS[PHASES][TAPS] = { /* in 1/64, from 2 samples before (8.4.2.2.1) */
    {0, 0, 64, 0, 0, 0}, {1, -5, 52, 20, -5, 1}, {2, -10, 40, 40, -10, 2}, {1, -5, 20, 52, -5, 1}};

typedef struct { /* mean product of a filtered sample, if the mean square of samples is 2^14: */
    int32_t power[PHASES];              /* with itself, */
    int32_t hit[FRACTIONS][CANDIDATES]; /* with the wanted sample, */
    int32_t both[FRACTIONS][FRACTIONS][CANDIDATES][CANDIDATES]; /* with that of the other list */
} Products;

/* Vector of a candidate, in quarter samples: two are not above the position, and two are above. */
static int32_t quarters(int32_t position, int candidate) { return (position >> 2) + candidate - 1; }

/* Distance of a sample that the filter of a candidate reads from the position. */
static int32_t tap_place(int32_t fraction, int candidate, int tap) {
    return ((quarters(fraction, candidate) >> 2) + tap - 2) * 16 - fraction;
}

static int32_t likeness(int32_t distance) { return LIKENESS[distance < 0 ? -distance : distance]; }

/* Product of the samples of candidates c and d at positions f and g. */
static int32_t product(int32_t f, int c, int32_t g, int d) {
    const int8_t *one = FILTERS[quarters(f, c) & 3], *other = FILTERS[quarters(g, d) & 3];
    int32_t sum = 0; /* less than 2^28, because the filters have absolute sums of at most 104 */
    for (int i = 0; i < TAPS; i++)
        for (int k = 0; k < TAPS; k++)
            sum += one[i] * other[k] * likeness(tap_place(f, c, i) - tap_place(g, d, k));
    return sum >> 12;
}

static void prepare_products(Products *products) {
    for (int32_t f = 0; f < FRACTIONS; f++)
        for (int c = 0; c < CANDIDATES; c++) {
            const int phase = quarters(f, c) & 3;
            int32_t sum = 0;
            for (int i = 0; i < TAPS; i++) sum += FILTERS[phase][i] * likeness(tap_place(f, c, i));
            products->hit[f][c] = sum >> 6;
            products->power[phase] = product(f, c, f, c);
            for (int32_t g = 0; g < FRACTIONS; g++)
                for (int d = 0; d < CANDIDATES; d++)
                    products->both[f][g][c][d] = product(f, c, g, d);
        }
}

typedef struct { /* column or row of macroblocks; vectors in quarter samples */
    int32_t both[LISTS];  /* vectors for the mean of both pictures */
    int32_t alone[LISTS]; /* vector if a picture is taken alone */
    int32_t lost[LISTS];  /* quarter samples that lie outside of the picture, times its weight */
} Line;

/* Error, in 2^-26 of the power, for which the vectors of the last line are kept: 0.1 %. Changes of
 * vectors cost bytes. */
enum { KEPT_FOR = 1 << 16 };

/* Choose the vectors of both lists for their positions. vectors contains those of the last line. */
static void choose(const Products *products, const int32_t *weights, const int32_t *positions,
                   int32_t *vectors) {
    const int32_t f = positions[0] & 15, g = positions[1] & 15, last[] = {vectors[0], vectors[1]};
    const int64_t p = weights[0], q = weights[1];
    int64_t least = INT64_MAX;
    for (int c = 0; c < CANDIDATES; c++)
        for (int d = 0; d < CANDIDATES; d++) {
            const int32_t m = quarters(positions[0], c), n = quarters(positions[1], d);
            const int64_t error = p * p * products->power[m & 3] + q * q * products->power[n & 3] +
                                  2 * p * q * products->both[f][g][c][d] -
                                  128 * (p * products->hit[f][c] + q * products->hit[g][d]) -
                                  (m == last[0] && n == last[1] ? KEPT_FOR : 0);
            if (error >= least) continue;
            least = error; /* without the power of the wanted sample, which is the same for all */
            vectors[0] = m;
            vectors[1] = n;
        }
}

/* Prepare the columns or the rows; size is their side of the picture. motion has two numbers for
 * each list, in 2^-32 samples: how far the picture has moved at its left or upper edge, and how
 * much more for each sample. */
static void prepare_lines(const Products *products, const int32_t *weights, int32_t size,
                          const int64_t *motion, Line *lines) {
    for (int32_t i = 0; i * BLOCK_SIZE < size; i++) {
        const int32_t start = i * BLOCK_SIZE;
        const int32_t end = start + BLOCK_SIZE < size ? start + BLOCK_SIZE : size;
        Line *line = &lines[i];
        int32_t positions[LISTS];
        for (int k = 0; k < LISTS; k++) {
            const int64_t centre = motion[2 * k] + motion[2 * k + 1] * (start + BLOCK_SIZE / 2);
            positions[k] = (int32_t)((centre + (1 << 27)) >> 28);
            const int32_t vector = (positions[k] + 2) >> 2;
            const int32_t before = -(start * 4 + vector), after = (end - size) * 4 + vector;
            const int32_t lost = before > after ? before : after;
            line->alone[k] = vector;
            line->lost[k] = (lost > 0 ? lost : 0) * weights[k];
            line->both[k] = i ? lines[i - 1].both[k] : 0;
        }
        choose(products, weights, positions, line->both);
    }
}

/* ---- Macroblocks ---------------------------------------------------------------------------- */

typedef struct { /* macroblock */
    int32_t vector[LISTS][AXES]; /* 0 if the list is not used */
    int32_t step[LISTS][AXES];   /* size of the difference from the prediction, 0 if skipped */
    uint8_t uses[LISTS];         /* 1 for a list that is used */
    uint8_t there, skipped;      /* 0 outside of the picture */
} Block;

static const Block OUTSIDE;

static int32_t median(int32_t a, int32_t b, int32_t c) {
    const int32_t low = a < b ? a : b, high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* Predict a vector from the macroblocks a on the left, b above, and c beside b (8.4.1.3). */
static void predict(int list, const Block *a, const Block *b, const Block *c, int32_t *vector) {
    const Block *only = b->there || c->there ? 0 : a;
    if (!only && a->uses[list] + b->uses[list] + c->uses[list] == 1)
        only = a->uses[list] ? a : b->uses[list] ? b : c;
    for (int i = 0; i < AXES; i++)
        vector[i] = only ? only->vector[list][i]
                         : median(a->vector[list][i], b->vector[list][i], c->vector[list][i]);
}

/* Code a difference from the prediction: unary up to 9, then Exp-Golomb of order 3 (9.3.2.3). near
 * is the sum of the sizes of those on the left and above. */
static void code_step(Coder *c, int base, int32_t near, int32_t step) {
    const int32_t size = step < 0 ? -step : step;
    int context = base + (near > 2) + (near > 32);
    for (int32_t i = 0; i < 9; i++) {
        code(c, context, i < size);
        if (i == size) break;
        context = base + (i < 3 ? 3 + i : 6);
    }
    if (size >= 9) {
        int32_t rest = size - 9;
        int order = 3;
        for (; rest >= 1 << order; order++) {
            code_evenly(c, 1);
            rest -= 1 << order;
        }
        code_evenly(c, 0);
        while (order--) code_evenly(c, (uint32_t)rest >> order & 1);
    }
    if (size) code_evenly(c, step < 0);
}

static void code_type(Coder *c, const Block *block, int context) { /* table 9-37 */
    const int both = block->uses[0] && block->uses[1];
    code(c, TYPE + context, 1);
    code(c, TYPE + 3, (uint32_t)both);
    if (!both) {
        code(c, TYPE + 5, block->uses[1]);
        return;
    }
    code(c, TYPE + 4, 0);
    for (int i = 0; i < 3; i++) code(c, TYPE + 5, 0);
}

/* Code a macroblock, of which vector and uses are set, and set the rest of it.
 *
 * A skipped one takes the vectors that are predicted, and the lowest reference index that its
 * neighbours use. With index 0, its vectors would also depend on how the later picture moves there
 * (8.4.1.2.2), which is not known here. So every macroblock uses index 1: both lists have both
 * pictures, list 1 in the opposite order (8.2.4.2.3), and index 1 of list 0 is the later one. */
static void code_block(Coder *c, Block *block, const Block *left, const Block *above,
                       const Block *beside) {
    int32_t guess[LISTS][AXES];
    int as_guessed = 1;
    for (int k = 0; k < LISTS; k++) {
        predict(k, left, above, beside, guess[k]);
        as_guessed &= block->uses[k] == (left->uses[k] | above->uses[k] | beside->uses[k]);
        for (int i = 0; i < AXES; i++)
            as_guessed &= !block->uses[k] || block->vector[k][i] == guess[k][i];
    }
    const int coded_left = left->there && !left->skipped;
    const int coded_above = above->there && !above->skipped;
    block->there = 1;
    block->skipped = (uint8_t)as_guessed;
    code(c, SKIP + coded_left + coded_above, block->skipped);
    if (block->skipped) return;
    code_type(c, block, coded_left + coded_above);
    for (int k = 0; k < LISTS; k++) {
        if (!block->uses[k]) continue;
        const int context = (coded_left && left->uses[k]) + 2 * (coded_above && above->uses[k]);
        code(c, REFERENCE + context, 1);
        code(c, REFERENCE + 4, 0);
    }
    for (int k = 0; k < LISTS; k++)
        for (int i = 0; i < AXES && block->uses[k]; i++) {
            const int32_t step = block->vector[k][i] - guess[k][i];
            code_step(c, i ? DOWN : ACROSS, left->step[k][i] + above->step[k][i], step);
            block->step[k][i] = step < 0 ? -step : step;
        }
    code(c, LUMA + left->there + 2 * above->there, 0); /* coded_block_pattern is 0 everywhere */
    code(c, LUMA + 1 + 2 * above->there, 0);
    code(c, LUMA + left->there + 2, 0);
    code(c, LUMA + 3, 0);
    code(c, CHROMA, 0);
}

/* ---- Pictures ------------------------------------------------------------------------------- */

/* How much of a macroblock may lie outside of a reference picture, in quarter samples times the
 * weight of that picture; otherwise the other one is taken alone. More would be seen at the edges.
 * It is one sample at the full weight of 64. */
enum { MAX_LOST = 4 * 64 };

typedef struct {
    Products products;
    Coder coder;
    Line columns[MAX_BLOCKS], rows[MAX_BLOCKS];
    Block blocks[2][MAX_BLOCKS + 2]; /* two rows by turns, with a block outside at each end */
} Writer;

API size_t vectors_size(void) { return sizeof(Writer); }

/* Prepare memory of vectors_size() bytes, once, for any number of pictures. */
API void vectors_prepare(Writer *writer) { prepare_products(&writer->products); }

/* Set uses and vector of a macroblock; taken is its byte of still, see vectors_write. */
static void place(Block *block, int taken, const int32_t *weights, const Line *column,
                  const Line *row) {
    int32_t lost[LISTS];
    for (int k = 0; k < LISTS; k++)
        lost[k] = column->lost[k] > row->lost[k] ? column->lost[k] : row->lost[k];
    const int32_t most = lost[0] > lost[1] ? lost[0] : lost[1];
    const int cut = most > MAX_LOST && lost[0] != lost[1];
    const int alone = taken ? (taken & 3) != 3 : cut || !weights[0] || !weights[1];
    for (int k = 0; k < LISTS; k++) {
        block->uses[k] = taken ? taken >> k & 1 : cut ? lost[k] < most : weights[k] > 0;
        if (!block->uses[k] || taken & 4) continue;
        block->vector[k][0] = alone ? column->alone[k] : column->both[k];
        block->vector[k][1] = alone ? row->alone[k] : row->both[k];
    }
}

/* Write the NAL unit of a B picture, without a start code, and return its size. If that is more
 * than room, only a part of it was written.
 *
 * frame_number and order are the values of the slice header. weight is that of the earlier picture,
 * in 1/64; with 0 or 64, one picture is taken alone, but the other one at edges that it lacks.
 * across and down have the motion of the columns and rows from this picture to the later one, and
 * to the earlier one; see prepare_lines. still has a byte for each macroblock: 0 if both pictures
 * are taken as they move, else the sum of 1 for the later picture, 2 for the earlier one, and 4 for
 * vectors of 0. */
API size_t vectors_write(uint32_t frame_number, uint32_t order, int32_t width, int32_t height,
                         int32_t weight, const int64_t *across, const int64_t *down,
                         const uint8_t *still, Writer *writer, uint8_t *out, size_t room) {
    const int32_t columns = (width + BLOCK_SIZE - 1) / BLOCK_SIZE;
    const int32_t rows = (height + BLOCK_SIZE - 1) / BLOCK_SIZE;
    const int32_t weights[LISTS] = {64 - weight, weight};
    Coder *c = &writer->coder;
    prepare_lines(&writer->products, weights, width, across, writer->columns);
    prepare_lines(&writer->products, weights, height, down, writer->rows);
    c->out = out;
    c->room = room;
    c->size = 0;
    c->byte = 1;
    c->zeros = 0;
    start_slice(c, frame_number, order);
    for (int32_t x = 0; x < columns + 2; x++) writer->blocks[0][x] = writer->blocks[1][x] = OUTSIDE;
    for (int32_t y = 0; y < rows; y++) {
        Block *row = writer->blocks[y & 1] + 1;
        const Block *above = writer->blocks[~y & 1] + 1;
        for (int32_t x = 0; x < columns; x++) {
            Block block = OUTSIDE;
            place(&block, still[y * columns + x], weights, &writer->columns[x], &writer->rows[y]);
            code_block(c, &block, row + x - 1, above + x,
                       above[x + 1].there ? above + x + 1 : above + x - 1);
            row[x] = block;
            code_end(c, y == rows - 1 && x == columns - 1);
        }
    }
    return c->size;
}
