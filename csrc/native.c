/* The line of a program that is not Python, as an address in its executable: the nearest return address into the program itself
 * on the stack of the calling thread, which libc's own frames (stdio) may lie before. Found by looking, not by unwinding: a word
 * that points behind a call instruction of the program. The controller puts a name to it. From any context. */
#include "shim.h"
#include "sys.h"
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#define WORDS_LOOKED_AT 1024
#define PAGE 4096ul
#define KNOWN 256
#define PATH_BYTES 239

static uintptr_t code_begin, code_end, load_base;
static struct { uintptr_t address; uint32_t text; } known[KNOWN];

/* Where the program's own code lies. */
static void find_code(void)
{
    const ElfW(Phdr) *part = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    load_base = _r_debug.r_map->l_addr;
    for (unsigned long n = part ? getauxval(AT_PHNUM) : 0; n; n--, part++)
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X) && !code_end) {
            code_begin = load_base + part->p_vaddr;
            code_end = code_begin + part->p_memsz;
        }
}

static int follows_a_call(uintptr_t address)
{
    const unsigned char *p = (const unsigned char *)address;
    if (address < code_begin + 8 || address >= code_end)
        return 0;
#if defined(__x86_64__)
    static const unsigned char lengths[] = {2, 3, 6, 7}; /* of call through a register or memory */
    if (p[-5] == 0xe8)
        return 1;
    for (unsigned i = 0; i < sizeof lengths; i++)
        if (p[-lengths[i]] == 0xff && (p[1 - lengths[i]] & 0x38) == 0x10)
            return 1;
    return 0;
#else
    uint32_t instruction;
    __builtin_memcpy(&instruction, p - 4, 4);
    return (instruction & 0xfc000000u) == 0x94000000u || (instruction & 0xfffffc1fu) == 0xd63f0000u;
#endif
}

/* Whether the page can be read: a stack may end anywhere, before a guard or nothing. The kernel reads the mask before it looks at
 * what to do with it. */
static int is_readable(uintptr_t page)
{
    return fl_sys(SYS_rt_sigprocmask, -1, page, 0, sizeof(uint64_t)) != -EFAULT;
}

static char *append_hex(char *out, uintptr_t value)
{
    int shift = 60;
    while (shift && !(value >> shift & 15))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *out++ = "0123456789abcdef"[value >> shift & 15];
    return out;
}

static uint32_t name(uintptr_t address)
{
    unsigned at = (address >> 2) % KNOWN;
    if (known[at].address == address)
        return known[at].text;
    static const char mark[] = "native\t";
    char text[sizeof mark + PATH_BYTES + 20];
    __builtin_memcpy(text, mark, sizeof mark - 1);
    long n = fl_sys(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", text + sizeof mark - 1, PATH_BYTES);
    char *end = text + sizeof mark - 1 + (n > 0 ? n : 0);
    *end++ = '\t';
    end = append_hex(end, address - load_base);
    uint32_t id = fl_text(text, (uint32_t)(end - text));
    known[at].address = 0; /* a signal handler may come here in between */
    known[at].text = id;
    known[at].address = address;
    return id;
}

/* The interned place of the program's nearest call, 0 if there is none in sight. `arguments` lie in the frame of the wrapper. */
uint32_t fl_native_stack(const long *arguments)
{
    if (!code_end)
        find_code();
    const uintptr_t *word = (const uintptr_t *)arguments;
    for (int i = 0; i < WORDS_LOOKED_AT; i++, word++) {
        if (i && !((uintptr_t)word % PAGE) && !is_readable((uintptr_t)word))
            return 0;
        if (*word - code_begin < code_end - code_begin && follows_a_call(*word))
            return name(*word);
    }
    return 0;
}
