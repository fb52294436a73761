/* Calls the kernel with random sizes, strides and windows on memory of exactly the needed size, and
 * prints a checksum of the results. Compile it with -DKERNEL_FILE='"…/kernel.c"' and sanitizers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include KERNEL_FILE

static uint64_t state = 88172645463325252u;
static uint32_t below(uint32_t limit_value) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* Marsaglia's xorshift */
    return (uint32_t)(state >> 32) % limit_value;
}

static uint8_t *random_bytes(size_t size) {
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i++) bytes[i] = (uint8_t)below(below(4) ? 256 : 2) * 255;
    return bytes;
}

/* Start of a window of length * step within a plane, or up to 0.2 samples outside; in Q32. */
static int64_t start_of(int32_t size, int32_t length, int64_t step) {
    const int64_t one = (int64_t)1 << 32, room = size * one - length * step, over = one / 5;
    const int64_t at = -over + (int64_t)((double)(room + 2 * over) * below(1001) / 1000);
    return below(3) ? at : below(2) ? -over : room + over;
}

/* Number of samples of a plane that just contains a window of length * step. */
static int32_t part_of(int32_t length, int64_t step) {
    return (int32_t)((length * step + ((int64_t)1 << 32) - 1) >> 32);
}

int main(int count, char **arguments) {
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    const int rounds = count > 1 ? atoi(arguments[1]) : 1000;
    for (int round = 0; round < rounds; round++) {
        const int32_t limit_w = round % 50 == 49 ? 4096 : 90;
        int32_t w = 1 + (int32_t)below((uint32_t)limit_w), h = 1 + (int32_t)below(40);
        if (round == 0) w = 4096;
        const int64_t half = (int64_t)1 << 31;
        const int64_t largest = 31 * half / 10, smaller = below(1 << 30);
        const int64_t steps[] = {2 * half, half, largest, largest - smaller};
        const int64_t step = below(2) ? 2 * half - smaller : steps[below(4)];
        /* The source may be as small as the window, or larger; rows have up to 64 more samples. */
        const int32_t kind = (int32_t)below(6);
        const int32_t more_w = kind == 1 ? (int32_t)below(65) : 0;
        const int32_t more_h = kind == 1 ? (int32_t)below(200) : 0;
        const int32_t least_w = part_of(w, step), least_h = part_of(h, step);
        const int32_t from_w = kind == 0 || least_w > w ? least_w + more_w : w + more_w;
        const int32_t from_h = kind == 0 || least_h > h ? least_h + more_h : h + more_h;
        const ptrdiff_t from_stride = from_w + (int32_t)below(20);
        const ptrdiff_t to_stride = w + (int32_t)below(20);
        const size_t from_size = (size_t)(from_stride * (from_h - 1) + from_w);
        const size_t to_size = (size_t)(to_stride * (h - 1) + w);
        uint8_t *from = random_bytes(from_size), *to = random_bytes(to_size);
        uint8_t *mask = random_bytes((size_t)(w * h)), *picture = random_bytes((size_t)(w * h));
        /* The size depends on the instruction set, which must not change the random numbers. */
        uint8_t *scratch = malloc(kernel_scratch_size());
        for (size_t i = 0; i < kernel_scratch_size(); i++) scratch[i] = (uint8_t)(i * 37);
        kernel_prepare_scratch(scratch);
        const int64_t left = start_of(from_w, w, step), top = start_of(from_h, h, step);
        kernel_zoom(from, from_stride, from_w, from_h, to, to_stride, w, h, left, top, step,
                    scratch);
        for (size_t i = 0; i < to_size; i++) sum = (sum ^ to[i]) * 1099511628211u;
        kernel_blend(to, to_stride, w, h, mask, (uint8_t)below(256));
        const int32_t both_w = from_w < w ? from_w : w, both_h = from_h < h ? from_h : h;
        kernel_overlay(from, from_stride, both_w, both_h, mask, picture);
        const int32_t part_w = 1 + (int32_t)below((uint32_t)both_w);
        kernel_copy(from, from_stride, to, to_stride, part_w, both_h);
        for (size_t i = 0; i < to_size; i++) sum = (sum ^ to[i]) * 1099511628211u;
        free(from), free(to), free(scratch), free(mask), free(picture);
    }
    printf("%016llx\n", (unsigned long long)sum);
    return 0;
}
