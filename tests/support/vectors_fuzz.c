/* Writes B pictures of random sizes, movements and still macroblocks into memory of exactly the room
 * that is named, and prints a checksum of them. Compile it with -DKERNEL_FILE='"…/vectors.c"' and
 * sanitizers. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include KERNEL_FILE

static uint64_t state = 88172645463325252u;
static uint32_t below(uint32_t limit) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17; /* Marsaglia's xorshift */
    return (uint32_t)(state >> 32) % limit;
}

/* Up to 64 samples, often few of them, in 2^-32 samples. */
static int64_t movement(void) {
    const int64_t parts = below(1u << 31), factor = below(2) ? 128 : 1;
    const int64_t moved = (below(2) ? parts : -parts) * factor;
    return moved >> (below(3) * 6 + 1);
}

int main(int count, char **arguments) {
    uint64_t sum = 14695981039346656037u; /* FNV-1a */
    const int rounds = count > 1 ? atoi(arguments[1]) : 1000;
    Writer *writer = malloc(vectors_size());
    vectors_prepare(writer);
    for (int round = 0; round < rounds; round++) {
        const int32_t largest = round % 50 ? 400 : 4096;
        const int32_t width = 1 + (int32_t)below((uint32_t)largest);
        const int32_t height = round ? 1 + (int32_t)below(4096u * 400 / (uint32_t)largest / 4) : 4096;
        const size_t blocks = (size_t)((width + 15) / 16) * (size_t)((height + 15) / 16);
        int64_t across[4], down[4];
        for (int list = 0; list < 2; list++) {
            across[2 * list] = movement(), down[2 * list] = movement();
            across[2 * list + 1] = movement() / width;
            down[2 * list + 1] = movement() / height;
        }
        uint8_t *still = malloc(blocks);
        const uint32_t moving = below(2) ? 3 : 1000;
        for (size_t i = 0; i < blocks; i++)
            still[i] = below(moving) ? 0 : (uint8_t)(1 + below(7));
        const uint32_t order = below(32), number = below(16);
        const int32_t weight = (int32_t)below(65);
        const size_t room = below(4) ? 1000 + 16 * blocks : below(100);
        uint8_t *out = malloc(room);
        const size_t size = vectors_write(number, order, width, height, weight, across, down, still,
                                          writer, out, room);
        if (room >= 1000 && size > room) return 1;
        for (size_t i = 0; i < (size < room ? size : room); i++) sum = (sum ^ out[i]) * 1099511628211u;
        free(out), free(still);
    }
    free(writer);
    printf("%016llx\n", (unsigned long long)sum);
    return 0;
}
