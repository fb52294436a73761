/* Decodes an H.264 stream with openh264, which shares no code with FFmpeg, and writes the planes of
 * its frames: openh264_decode FROM TO. An error of the decoder ends it. Compile it with -lopenh264. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wels/codec_api.h>

static void write_frame(FILE *to, unsigned char *planes[3], const SBufferInfo *info) {
    const SSysMEMBuffer *format = &info->UsrData.sSystemBuffer;
    if (info->iBufferStatus != 1) return;
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < format->iHeight >> (plane > 0); y++)
            fwrite(planes[plane] + y * format->iStride[plane > 0], 1,
                   (size_t)(format->iWidth >> (plane > 0)), to);
}

/* Position of the next start code, or the end. */
static long next_unit(const unsigned char *data, long from, long size) {
    for (long i = from; i + 3 <= size; i++)
        if (!memcmp(data + i, "\0\0\1", 3)) return i > from && !data[i - 1] ? i - 1 : i;
    return size;
}

int main(int count, char **names) {
    FILE *from = count == 3 ? fopen(names[1], "rb") : 0, *to = from ? fopen(names[2], "wb") : 0;
    if (!to) return 2;
    fseek(from, 0, SEEK_END);
    const long size = ftell(from);
    rewind(from);
    unsigned char *data = calloc((size_t)size + 8, 1);
    ISVCDecoder *decoder;
    SDecodingParam options = {.uiTargetDqLayer = 255, .eEcActiveIdc = ERROR_CON_DISABLE};
    options.sVideoProperty.eVideoBsType = VIDEO_BITSTREAM_AVC;
    if (fread(data, 1, (size_t)size, from) != (size_t)size || WelsCreateDecoder(&decoder) ||
        (*decoder)->Initialize(decoder, &options))
        return 2;
    for (long start = 0, end; start < size; start = end) {
        unsigned char *planes[3] = {0};
        SBufferInfo info = {0};
        end = next_unit(data, start + 4, size);
        if ((*decoder)->DecodeFrameNoDelay(decoder, data + start, (int)(end - start), planes, &info))
            return 1;
        write_frame(to, planes, &info);
    }
    int left = 0;
    (*decoder)->GetOption(decoder, DECODER_OPTION_NUM_OF_FRAMES_REMAINING_IN_BUFFER, &left);
    while (left-- > 0) {
        unsigned char *planes[3] = {0};
        SBufferInfo info = {0};
        if ((*decoder)->FlushFrame(decoder, planes, &info)) return 1;
        write_frame(to, planes, &info);
    }
    return fclose(to) != 0;
}
