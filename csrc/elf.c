/* libc's own functions, looked up in its dynamic symbol table by the GNU hash: default versions only. From any context: no lock, no
 * malloc, unlike dlsym. */
#include "shim.h"
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

struct image {
    uintptr_t base;
    const ElfW(Sym) *symbols;
    const char *strings;
    const uint32_t *hash;
    const uint16_t *versions;
};
static struct image libraries[4] FL_EARLY; /* libc; before glibc 2.34 also libpthread and librt */
static int n_libraries FL_EARLY;

static int is_libc(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *file = slash ? slash + 1 : name;
    return !strncmp(file, "libc.so", 7) || !strncmp(file, "libpthread.so", 13) || !strncmp(file, "librt.so", 8) ||
           !strncmp(file, "libc-2", 6);
}

static int read_image(const struct link_map *map, struct image *image)
{
    *image = (struct image){.base = map->l_addr};
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) { /* glibc has relocated these pointers */
        switch (d->d_tag) {
        case DT_SYMTAB: image->symbols = (const ElfW(Sym) *)d->d_un.d_ptr; break;
        case DT_STRTAB: image->strings = (const char *)d->d_un.d_ptr; break;
        case DT_GNU_HASH: image->hash = (const uint32_t *)d->d_un.d_ptr; break;
        case DT_VERSYM: image->versions = (const uint16_t *)d->d_un.d_ptr; break;
        }
    }
    return image->symbols && image->strings && image->hash;
}

static void *symbol_at(const struct image *image, uint32_t i, const char *name, uint64_t *size)
{
    const ElfW(Sym) *symbol = &image->symbols[i];
    if (symbol->st_shndx == SHN_UNDEF || strcmp(image->strings + symbol->st_name, name))
        return NULL;
    if (image->versions && (image->versions[i] & 0x8000)) /* an old version */
        return NULL;
    if (size)
        *size = symbol->st_size;
    void *address = (void *)(image->base + symbol->st_value);
    return ELF64_ST_TYPE(symbol->st_info) == STT_GNU_IFUNC ? ((void *(*)(void))address)() : address;
}

static void *find_in(const struct image *image, const char *name, uint32_t hash, uint64_t *size)
{
    uint32_t buckets = image->hash[0], first = image->hash[1], bloom = image->hash[2];
    const uint32_t *bucket = image->hash + 4 + bloom * (sizeof(uintptr_t) / 4), *chain = bucket + buckets;
    uint32_t i = bucket[hash % buckets];
    void *address;
    if (i < first)
        return NULL;
    for (;; i++) {
        uint32_t found = chain[i - first];
        if ((found | 1) == (hash | 1) && (address = symbol_at(image, i, name, size)))
            return address;
        if (found & 1)
            return NULL;
    }
}

static uint32_t gnu_hash(const char *name)
{
    uint32_t hash = 5381;
    for (const char *c = name; *c; c++)
        hash = hash * 33 + (unsigned char)*c;
    return hash;
}

/* The vDSO is no library of ours to relocate: its pointers are as the kernel has built them. */
void *fl_vdso_symbol(const char *name)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)getauxval(AT_SYSINFO_EHDR);
    struct image image = {0};
    if (!header)
        return NULL;
    const ElfW(Phdr) *segments = (const ElfW(Phdr) *)((const char *)header + header->e_phoff), *dynamic = NULL;
    for (int i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_LOAD && !image.base)
            image.base = (uintptr_t)header + segments[i].p_offset - segments[i].p_vaddr;
        if (segments[i].p_type == PT_DYNAMIC)
            dynamic = &segments[i];
    }
    if (!dynamic)
        return NULL;
    for (const ElfW(Dyn) *d = (const ElfW(Dyn) *)((const char *)header + dynamic->p_offset); d->d_tag != DT_NULL; d++) {
        switch (d->d_tag) {
        case DT_SYMTAB: image.symbols = (const ElfW(Sym) *)(image.base + d->d_un.d_ptr); break;
        case DT_STRTAB: image.strings = (const char *)(image.base + d->d_un.d_ptr); break;
        case DT_GNU_HASH: image.hash = (const uint32_t *)(image.base + d->d_un.d_ptr); break;
        }
    }
    return image.symbols && image.strings && image.hash ? find_in(&image, name, gnu_hash(name), NULL) : NULL;
}

void *fl_libc_function(const char *name, uint64_t *bytes)
{
    uint32_t hash = gnu_hash(name);
    for (int i = 0; i < n_libraries; i++) {
        void *found = find_in(&libraries[i], name, hash, bytes);
        if (found)
            return found;
    }
    return NULL;
}

void *fl_libc_symbol(const char *name) { return fl_libc_function(name, NULL); }

void *fl_symbol_of(const struct link_map *map, const char *name)
{
    struct image image;
    return read_image(map, &image) ? find_in(&image, name, gnu_hash(name), NULL) : NULL;
}

static long missing(long a, long b, long c, long d, long e, long f)
{
    (void)a, (void)b, (void)c, (void)d, (void)e, (void)f;
    errno = ENOSYS; /* this libc has no such function */
    return -1;
}

/* One after the other, in the order of enum fl_sym. No pointers: those would have to be relocated in every process. */
static const char names[] =
#define FL_SYM(symbol, ...) #symbol "\0"
#define FL_OWN(symbol, ...) #symbol "\0"
#include "ops.def"
    ;

/* A program may hold libc's variable in its own data (a copy relocation): then libc's is not kept up to date. */
static const char *single_threaded(const struct link_map *program)
{
    static const char name[] = "__libc_single_threaded";
    const char *copy = fl_symbol_of(program, name), *own = copy ? copy : fl_libc_symbol(name);
    return own ? own : "";
}

/* The function behind a symbol, asked for by its first call (arch/, fl_lazy). Somebody may have put another one there meanwhile. */
__attribute__((used)) fl_fn fl_resolve(unsigned sym);
fl_fn fl_resolve(unsigned sym)
{
    const char *name = names;
    for (unsigned i = 0; i < sym; i++)
        name += strlen(name) + 1;
    void *found = fl_libc_symbol(name);
    fl_fn function = found ? (fl_fn)fl_unpatched(found) : missing, lazy = fl_lazy_entry(sym);
    __atomic_compare_exchange_n(&fl_real[sym], &lazy, function, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return function;
}

void fl_find_libc(const struct link_map *maps);
void fl_find_libc(const struct link_map *maps)
{
    for (const struct link_map *map = maps; map && n_libraries < 4; map = map->l_next)
        if (is_libc(map->l_name))
            n_libraries += read_image(map, &libraries[n_libraries]);
    for (unsigned i = 0; i < FL_SYMBOLS; i++)
        fl_real[i] = fl_lazy_entry(i);
    fl_single_threaded = single_threaded(maps);
    fl_wrap_setup();
}
