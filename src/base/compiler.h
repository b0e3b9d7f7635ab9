/* The GNU extensions that this tree uses, by name, in one place. */
#ifndef HD_BASE_COMPILER_H
#define HD_BASE_COMPILER_H

#define HD_LIKELY(x)   __builtin_expect(!!(x), 1)
#define HD_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HD_NORETURN    __attribute__((noreturn))
#define HD_UNUSED      __attribute__((unused))
/* Also where a build inlines nothing else (sanitizers): for what is one instruction or two. */
#define HD_ALWAYS_INLINE static inline __attribute__((always_inline, unused))
#define HD_ALIGNED(n)    __attribute__((aligned(n)))

/** Number of elements of an array whose definition is in sight. */
#define HD_COUNT(a) (sizeof(a) / sizeof((a)[0]))

#endif
