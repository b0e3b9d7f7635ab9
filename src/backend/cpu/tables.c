/* Tables that decode FP4 and FP8 codes to BF16 with the block's scale multiplied in. The product
 * is exact (few significant bits, a power of two) wherever it is a normal number. */
#include "backend/cpu/cpu.h"

void hd_cpu_tables_init(hd_cpu_tables *tables)
{
    for (unsigned scale = 0; scale < 256; scale++) {
        float s = hd_f32_from_e8m0((hd_e8m0)scale);
        for (unsigned code = 0; code < 16; code++) {
            hd_bf16 x = hd_bf16_from_f32(hd_f32_from_e2m1(code) * s);
            tables->fp4_bf16[scale][code] = tables->fp4_bf16[scale][code + 16] = x;
            tables->fp4_bytes[scale][0][code] = (uint8_t)x;
            tables->fp4_bytes[scale][1][code] = (uint8_t)(x >> 8);
        }
        for (unsigned code = 0; code < 128; code++) {
            hd_bf16 x = hd_bf16_from_f32(hd_f32_from_e4m3((hd_e4m3)code) * s);
            tables->fp8_bytes[scale][0][code] = (uint8_t)x;
            tables->fp8_bytes[scale][1][code] = (uint8_t)(x >> 8);
        }
    }
}
